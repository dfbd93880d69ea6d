// Draws a markdown tree. Every word goes in as a text node, every link is http(s) and opens apart.
import { el } from "./dom.js";
import { parse, inline } from "./markdown.js";
import { withSigns } from "./emoji_icons.js";
import { timestamp } from "./time.js";

const TAGS = { bold: "strong", italic: "em", underline: "u", strike: "s" };

const MESSAGE_LINK = /^https:\/\/(?:\w+\.)?discord\.com\/channels\/(?:\d+|@me)\/(\d+)(?:\/(\d+))?\/?$/;

/** What a bare address of a place in here is called, as nobody reads its hundred characters; undefined for all others. */
function shortly(url, children) {
  const [, channel, message] = MESSAGE_LINK.exec(url) ?? [];
  if (channel && children.length === 1 && children[0] === url) return message ? "this message" : "this channel";
}

/** A link; one to a message stays on the page, which listens for `message-link`. */
export function safeLink(url, children) {
  const [, channel, message] = MESSAGE_LINK.exec(url) ?? [];
  if (channel) {
    const go = (event) => event.currentTarget.dispatchEvent(new CustomEvent("message-link", { bubbles: true, detail: { channel, message } }));
    return el("button", { type: "button", class: "message-link", on: { click: go } }, shortly(url, children) ?? children);
  }
  return /^https?:\/\//i.test(url) ? el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, children) : el("span", {}, children);
}

function spoiler(children) {
  const open = (event) => {
    const box = event.currentTarget;
    box.classList.add("open");
    box.removeAttribute("role");
    box.removeAttribute("aria-label");
  };
  const key = (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), open(event));
  return el("span", { class: "spoiler", role: "button", tabIndex: 0, "aria-label": "Hidden text, press to show", on: { click: open, keydown: key } }, children);
}

function leaf(node, names) {
  const me = (text, extra = "") => el("span", { class: `mention ${extra}` }, text);
  switch (node.kind) {
    case "code": return el("code", {}, node.text);
    case "user": return me(`@${names.personName(node.id)}`, node.id === names.me ? "mine" : "");
    case "role": return me(`@${names.roleName(node.id)}`);
    case "channel": return me(`#${names.channelName(node.id)}`);
    case "command": return me(node.text);
    case "everyone": return me(node.text);
    case "time": return timestamp(node.seconds, node.style);
    default: return node.text;
  }
}

function run(nodes, names) {
  return nodes.flatMap((node) => {
    if (typeof node === "string") return withSigns(node);
    if (node.kind === "link") return safeLink(node.url, run(node.children, names));
    if (node.kind === "spoiler") return spoiler(run(node.children, names));
    if (TAGS[node.kind]) return el(TAGS[node.kind], {}, run(node.children, names));
    return leaf(node, names);
  });
}

function block(node, names) {
  switch (node.kind) {
    case "fence": return el("pre", { tabIndex: 0 }, el("code", {}, node.text));
    case "heading": return el("p", { class: `heading level-${node.level}`, role: "heading", "aria-level": node.level + 2 }, run(node.children, names));
    case "small": return el("p", { class: "small" }, run(node.children, names));
    case "quote": return el("blockquote", {}, run(node.children, names));
    case "list": {
      const items = node.children.map((item) => el("li", { class: item.deep ? "deep" : undefined }, run(item.children, names)));
      return node.start === undefined ? el("ul", {}, items) : el("ol", { start: node.start }, items);
    }
    default: return el("p", {}, run(node.children, names));
  }
}

/** A message's text as elements. */
export const rich = (text, names) => parse(text ?? "").map((node) => block(node, names));

/** One line of it, for titles and previews. */
export const richLine = (text, names) => run(inline(text ?? ""), names);

/** The bare words, for announcements and reply lines. */
export function plain(text, names) {
  const words = (nodes) => nodes.map((node) => {
    if (typeof node === "string") return node;
    if (node.kind === "spoiler") return "(hidden)";
    if (node.kind === "link") return shortly(node.url, node.children) ?? words(node.children);
    if (node.kind === "time") return timestamp(node.seconds, node.style).textContent;
    return node.children ? words(node.children) : node.kind === "fence" ? node.text : String(leaf(node, names).textContent ?? leaf(node, names));
  }).join("");
  return parse(text ?? "").map((node) => (node.kind === "list" ? node.children.map((item) => words(item.children)).join(", ") : words([node]))).join(" ");
}
