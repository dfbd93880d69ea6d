// Covers what is marked as a spoiler until somebody presses it. Knows nothing of what lies below.

/** Covers `node`; the first press on it, or Enter, takes the cover away and does nothing else. */
export function covered(node) {
  const button = node instanceof HTMLButtonElement;
  node.classList.add("covered");
  const before = node.getAttribute("aria-label");
  node.setAttribute("aria-label", "Spoiler, press to show");
  if (!button) Object.assign(node, { tabIndex: 0, role: "button" });
  const open = (event) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    node.classList.remove("covered");
    node.removeEventListener("click", open, true);
    node.removeEventListener("keydown", open, true);
    if (before === null) node.removeAttribute("aria-label");
    else node.setAttribute("aria-label", before);
    if (!button) ["tabindex", "role"].forEach((name) => node.removeAttribute(name));
  };
  node.addEventListener("click", open, true);
  if (!button) node.addEventListener("keydown", open, true);
  return node;
}
