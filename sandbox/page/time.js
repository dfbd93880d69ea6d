// Shows moments, and keeps the relative ones ticking. One timer for the whole page.
import { el } from "./dom.js";

const STYLES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
  s: { dateStyle: "short", timeStyle: "short" },
  S: { dateStyle: "short", timeStyle: "medium" },
};
const UNITS = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** "in 40 seconds", "2 minutes ago". */
export function relativeWords(seconds) {
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
  return relative.format(Math.trunc(seconds / size), unit);
}

export const formatted = (ms, style) => new Intl.DateTimeFormat("en-GB", STYLES[style] ?? STYLES.f).format(ms);

const ticking = new Set();

function tick() {
  const now = Date.now();
  for (const node of ticking) {
    if (!node.isConnected && node.dataset.seen) ticking.delete(node);
    else if (node.isConnected) {
      node.dataset.seen = "1";
      const words = relativeWords(Math.round((Number(node.dataset.ms) - now) / 1000));
      if (node.textContent !== words) node.textContent = words;
    }
  }
}
setInterval(tick, 1000);

/** A Discord timestamp: `<t:seconds:style>`; style R goes on by itself. */
export function timestamp(seconds, style = "f") {
  const ms = seconds * 1000;
  const stamp = new Date(ms);
  if (Number.isNaN(stamp.getTime())) return el("span", {}, "an invalid time");
  const node = el("time", { class: "stamp", dateTime: stamp.toISOString(), title: formatted(ms, "F") });
  if (style === "R") {
    node.dataset.ms = String(ms);
    node.textContent = relativeWords(Math.round((ms - Date.now()) / 1000));
    ticking.add(node);
  } else node.textContent = formatted(ms, style);
  return node;
}

/** The day in words, for the line between two days. */
export function dayWords(ms) {
  const day = new Date(ms).toDateString();
  if (day === new Date().toDateString()) return "Today";
  if (day === new Date(Date.now() - 86400000).toDateString()) return "Yesterday";
  return formatted(ms, "D");
}
