// The files that wait to be sent with a message: picked, dropped or pasted.
import { el, fill, byId, icon } from "./dom.js";

/** Its address is given back once it has been read: earlier, a chip that is drawn anew would fail to load. */
function thumbnail(file) {
  const src = URL.createObjectURL(file);
  const done = () => URL.revokeObjectURL(src);
  return el("img", { src, alt: "", on: { load: done, error: done } });
}

export class Tray {
  files = [];

  constructor() {
    this.box = byId("tray");
  }

  add(list) {
    this.files.push(...list);
    this.#draw();
  }

  /** Only these stay. */
  keep(files) {
    this.files = files;
    this.#draw();
  }

  clear() {
    this.keep([]);
  }

  #draw() {
    const chip = (file) => {
      const remove = el("button", { type: "button", class: "icon-button tiny", "aria-label": `Remove ${file.name}`, on: { click: () => {
        this.files = this.files.filter((one) => one !== file);
        this.#draw();
      } } }, icon("close"));
      return el("li", {}, file.type.startsWith("image/") && file.type !== "image/svg+xml" ? thumbnail(file) : icon("file"), el("span", {}, file.name), remove);
    };
    fill(this.box, this.files.map(chip));
    this.box.hidden = !this.files.length;
  }
}
