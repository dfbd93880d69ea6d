// Shows attachments. A changed picture is loaded and decoded first and then takes the old one's place, so a
// developing preview never flickers and never moves the page.
import { el, icon, fill } from "./dom.js";
import { openLightbox } from "./lightbox.js";
import { covered } from "./spoiler.js";

/** The sandbox's own files, by path, whatever host name the page was opened under; others unchanged. */
export function local(url) {
  if (!/^https?:/i.test(url ?? "")) return url ?? "";
  const parsed = new URL(url);
  return /^\/(ephemeral-)?attachments\/|^\/avatars\/|^\/files\//.test(parsed.pathname) ? parsed.pathname + parsed.search : url;
}

const TYPES = /\.(png|jpe?g|webp|gif|avif)$/i;
export const isPicture = (file) => (file.content_type ? /^image\/(png|jpeg|webp|gif|avif)/.test(file.content_type) : TYPES.test(file.filename ?? ""));

const isSpoiler = (file) => /^SPOILER_/.test(file.filename ?? "");

const sizeWords = (bytes) => (bytes >= 1048576 ? `${(bytes / 1048576).toFixed(1)} MiB` : `${Math.max(1, Math.round(bytes / 1024))} KiB`);

/** One frame on the page whose picture may change. */
class Frame {
  #url = "";
  #turn = 0;
  #shown = null;

  constructor(pictures, spoiler) {
    this.button = el("button", { class: "print", type: "button", on: { click: () => openLightbox(pictures(), this.index) } });
    if (spoiler) covered(this.button);
  }

  #shape(width, height) {
    if (!width || !height) return;
    this.button.style.setProperty("--ratio", `${width} / ${height}`);
    this.button.style.setProperty("--wide", `${width}px`);
    this.button.style.setProperty("--aspect", String(width / height));
  }

  async show(file, index) {
    this.index = index;
    const words = file.description || file.filename || "picture";
    this.button.setAttribute("aria-label", `Open ${words}`);
    const url = local(file.proxy_url && !file.url ? file.proxy_url : file.url);
    if (url === this.#url) return;
    this.#url = url;
    if (!this.#shown) this.#shape(file.width, file.height);
    const turn = ++this.#turn;
    const next = el("img", { alt: words, decoding: "async" });
    next.src = url;
    try {
      await next.decode();
    } catch {
      if (turn === this.#turn && !this.#shown) fill(this.button, el("span", { class: "lost" }, `${words} could not be loaded`));
      return;
    }
    if (turn !== this.#turn) return;
    this.#shape(file.width || next.naturalWidth, file.height || next.naturalHeight);
    this.#swap(next);
  }

  #swap(next) {
    const old = this.#shown;
    this.#shown = next;
    if (!old) return void this.button.replaceChildren(next);
    next.classList.add("arriving");
    this.button.append(next);
    const leave = () => {
      old.remove();
      next.classList.remove("arriving");
    };
    next.addEventListener("animationend", leave, { once: true });
    setTimeout(leave, 700);
  }
}

function card(file) {
  return el("a", { class: "file-card", href: local(file.url), download: file.filename, target: "_blank", rel: "noopener" },
    icon("file"), el("span", { class: "file-name" }, file.filename), el("span", { class: "file-size" }, sizeWords(file.size ?? 0)));
}

/** All attachments of one message. */
export class Pictures {
  #frames = [];
  #files = [];

  constructor() {
    this.element = el("div", { class: "attachments" });
  }

  update(files) {
    this.#files = files.filter(isPicture);
    const rest = files.filter((file) => !isPicture(file));
    while (this.#frames.length > this.#files.length) this.#frames.pop().button.remove();
    while (this.#frames.length < this.#files.length) this.#frames.push(new Frame(() => this.#files, isSpoiler(this.#files[this.#frames.length])));
    this.#files.forEach((file, index) => this.#frames[index].show(file, index));
    for (const old of this.element.querySelectorAll(":scope > .file-card")) old.remove();
    this.element.classList.toggle("many", this.#files.length > 1);
    for (const frame of this.#frames) if (!frame.button.isConnected) this.element.append(frame.button);
    this.element.append(...rest.map(card));
  }
}
