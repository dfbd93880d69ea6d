// The files that wait to be sent with a message: picked, dropped or pasted.
import { el, fill, byId, icon } from "./dom.js";

export class Tray {
  files = [];
  #urls = [];

  constructor() {
    this.box = byId("tray");
  }

  add(list) {
    this.files.push(...list);
    this.#draw();
  }

  clear() {
    this.files = [];
    this.#draw();
  }

  #draw() {
    for (const url of this.#urls) URL.revokeObjectURL(url);
    this.#urls = [];
    const chip = (file) => {
      const remove = el("button", { type: "button", class: "icon-button tiny", "aria-label": `Remove ${file.name}`, on: { click: () => {
        this.files = this.files.filter((one) => one !== file);
        this.#draw();
      } } }, icon("close"));
      const url = file.type.startsWith("image/") && file.type !== "image/svg+xml" ? URL.createObjectURL(file) : null;
      if (url) this.#urls.push(url);
      return el("li", {}, url ? el("img", { src: url, alt: "" }) : icon("file"), el("span", {}, file.name), remove);
    };
    fill(this.box, this.files.map(chip));
    this.box.hidden = !this.files.length;
  }
}
