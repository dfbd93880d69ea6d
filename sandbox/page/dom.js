// Makes elements. The only door from data to the document: text becomes text nodes, never markup.

/** An element with properties, `on` handlers, `data` attributes and children (strings become text). */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") for (const [name, handler] of Object.entries(value)) node.addEventListener(name, handler);
    else if (key === "data") Object.assign(node.dataset, value);
    else if (key === "vars") for (const [name, text] of Object.entries(value)) node.style.setProperty(name, text);
    else if (key === "class") node.className = value;
    else if (key in node && !key.startsWith("aria") && key !== "list" && key !== "form") node[key] = value;
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  add(node, children);
  return node;
}

/** Appends children, however nested; strings and numbers become text nodes, nothings are left out. */
export function add(node, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** Replaces what a node holds. */
export function fill(node, ...children) {
  node.replaceChildren();
  return add(node, children);
}

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  send: "M5 12h13M12 5l7 7-7 7",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  smile: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM9 10h.01M15 10h.01M8.5 14.5c2 2.2 5 2.2 7 0",
  reply: "M9 8L4 13l5 5M4 13h9a7 7 0 0 1 7 6",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13",
  apps: "M5 5h5v5H5zM14 5h5v5h-5zM5 14h5v5H5zM16.5 14v5M14 16.5h5",
  pulse: "M3 12h4l3-7 4 14 3-7h4",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  link: "M10 14L20 4M14 4h6v6M18 14v6H4V6h6",
  chevron: "M8 10l4 4 4-4",
  down: "M12 5v13M6 13l6 6 6-6",
  turn: "M20 11a8 8 0 0 0-14.5-4L4 9M4 4v5h5M4 13a8 8 0 0 0 14.5 4L20 15M20 20v-5h-5",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v6M12 7.5h.01",
  lamp: "M12 3v4M8.5 7h7l3 9.5h-13zM9.5 20h5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
};

/** A line icon of our own drawing; decoration only, so a label stands beside or on the control. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}
