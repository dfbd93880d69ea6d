// The drawer that shows what crosses the wire: requests with status and time, events, 429s in red. Reads entries only.
import { el, byId, icon } from "./dom.js";
import { api } from "./api.js";
import { formatted } from "./time.js";

const KEPT = 600;

const trouble = (entry) => entry.kind === "request" && (entry.status >= 400 || entry.status === 0);
const FILTERS = {
  all: () => true,
  requests: (entry) => entry.kind === "request",
  events: (entry) => entry.kind === "event",
  trouble,
};

function title(entry) {
  return entry.kind === "request" ? `${entry.method ?? ""} ${(entry.template ?? entry.route ?? entry.name ?? "").replace(/^\/api\/v\d+/, "")}` : (entry.name ?? "event");
}

/** Live requests come without their bodies; the transcript has them. */
async function whole(entry) {
  if (entry.kind === "event" || entry.body !== undefined || entry.answer !== undefined) return entry;
  const entries = await api.transcript(entry.n - 1).catch(() => []);
  return entries.find((one) => one.n === entry.n) ?? entry;
}

function row(entry) {
  const status = entry.kind === "request" ? el("span", { class: `status s${String(entry.status ?? 0)[0]}` }, entry.status ?? "–") : el("span", { class: "status event" }, "event");
  const took = entry.ms !== undefined && entry.ms !== null ? el("span", { class: "took" }, `${Math.round(entry.ms)} ms`) : null;
  const body = el("pre", { tabIndex: 0 });
  const details = el("details", { class: entry.status === 429 ? "entry limited" : trouble(entry) ? "entry trouble" : "entry" },
    el("summary", {}, el("time", {}, formatted(entry.at_ms, "T")), status, el("span", { class: "entry-title" }, title(entry).split(/(?=\/)/).flatMap((part) => [el("wbr"), part])), took), body);
  details.addEventListener("toggle", async () => {
    if (!details.open || body.textContent) return;
    const { route, query, bucket, body: sent, answer } = await whole(entry);
    body.textContent = JSON.stringify({ route, query, bucket, body: sent, answer }, null, 2);
  });
  return details;
}

export class Inspector {
  #entries = new Map();
  #rows = new Map();
  #last = 0;
  #lastAt = 0;
  // Every entry up to this number is here (or was, before it grew too old).
  #solid = 0;

  constructor() {
    this.panel = byId("inspector");
    this.box = byId("entries");
    this.filter = byId("inspector-filter");
    this.words = byId("inspector-words");
    byId("inspector-toggle").append(icon("pulse"));
    byId("inspector-close").append(icon("close"));
    byId("inspector-toggle").addEventListener("click", () => this.toggle());
    byId("inspector-close").addEventListener("click", () => this.toggle(false));
    byId("inspector-clear").addEventListener("click", () => this.#clear());
    this.filter.addEventListener("change", () => this.#draw());
    this.words.addEventListener("input", () => this.#draw());
  }

  get open() {
    return !this.panel.hidden;
  }

  toggle(open = this.panel.hidden) {
    this.panel.hidden = !open;
    document.body.classList.toggle("inspecting", open);
    byId("inspector-toggle").setAttribute("aria-expanded", String(open));
    if (open) this.catchUp();
  }

  /** Fetches what was missed: before the page was opened, or while the line was down. */
  async catchUp() {
    if (!this.open) return;
    const entries = await api.transcript(Math.max(this.#solid, this.#last - KEPT, 0)).catch(() => []);
    for (const entry of entries) this.push(entry);
    this.#solid = this.#last;
    this.#draw();
  }

  push(entry) {
    const known = this.#entries.get(entry.n);
    if (known?.at_ms === entry.at_ms) return;
    if (known || (entry.n < this.#last && entry.at_ms > this.#lastAt)) this.#restart();
    if (entry.n === this.#solid + 1) this.#solid = entry.n;
    if (entry.n > this.#last) [this.#last, this.#lastAt] = [entry.n, entry.at_ms];
    this.#entries.set(entry.n, entry);
    if (this.open && this.#wanted(entry)) this.#append(entry);
    while (this.#entries.size > KEPT) {
      const [oldest] = this.#entries.keys();
      this.#forget(oldest);
    }
  }

  #forget(number) {
    this.#entries.delete(number);
    this.#rows.get(number)?.remove();
    this.#rows.delete(number);
  }

  /** A sandbox that was started again counts from one again. */
  #restart() {
    this.#solid = this.#last = this.#lastAt = 0;
    this.#clear();
  }

  #wanted(entry) {
    const words = this.words.value.trim().toLowerCase();
    if (!FILTERS[this.filter.value](entry)) return false;
    return !words || title(entry).toLowerCase().includes(words) || String(entry.status ?? "").startsWith(words);
  }

  #append(entry) {
    const atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    const node = row(entry);
    this.#rows.set(entry.n, node);
    this.box.append(node);
    if (atEnd) this.box.scrollTop = this.box.scrollHeight;
    this.#count();
  }

  #count() {
    const limited = [...this.#entries.values()].filter((entry) => entry.status === 429).length;
    byId("inspector-count").textContent = `${this.#entries.size} entries${limited ? `, ${limited} × 429` : ""}`;
  }

  #draw() {
    this.#entries = new Map([...this.#entries].sort((a, b) => a[0] - b[0]));
    this.#rows.clear();
    this.box.replaceChildren();
    for (const entry of this.#entries.values()) if (this.#wanted(entry)) this.#append(entry);
    this.#count();
    this.box.scrollTop = this.box.scrollHeight;
  }

  #clear() {
    this.#entries.clear();
    this.#draw();
  }
}
