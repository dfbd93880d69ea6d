// One small floating panel beside whatever opened it. Closes on Escape, on a press elsewhere, on scrolling away.
import { byId } from "./dom.js";

/** Shows `content` near `anchor` (or at `point`); returns what closes it and gives the focus back. */
export function openPopover(anchor, content, point) {
  const panel = byId("popover");
  panel.replaceChildren(content);
  panel.hidden = false;
  place(panel, point ?? anchorPoint(anchor));

  const close = (refocus = true) => {
    if (panel.hidden || panel.firstChild !== content) return;
    panel.hidden = true;
    panel.replaceChildren();
    removeEventListener("pointerdown", outside, true);
    removeEventListener("keydown", keys, true);
    removeEventListener("resize", leave);
    if (refocus && anchor.isConnected) anchor.focus({ preventScroll: true });
  };
  const outside = (event) => !panel.contains(event.target) && close(false);
  const leave = () => close(false);
  const keys = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  };
  addEventListener("pointerdown", outside, true);
  addEventListener("keydown", keys, true);
  addEventListener("resize", leave);
  return close;
}

function anchorPoint(anchor) {
  const box = anchor.getBoundingClientRect();
  return { x: box.right, y: box.bottom + 4, top: box.top - 4, end: true };
}

function place(panel, { x, y, top, end }) {
  const { width, height } = panel.getBoundingClientRect();
  const left = Math.min(Math.max(8, end ? x - width : x), innerWidth - width - 8);
  const above = y + height > innerHeight - 8;
  panel.style.setProperty("left", `${left}px`);
  panel.style.setProperty("top", `${Math.max(8, above ? (top ?? y) - height : y)}px`);
}
