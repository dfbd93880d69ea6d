// The list of commands above the composer while somebody types "/…". Keyboard and pointer; chooses nothing itself.
import { el, fill, byId } from "./dom.js";

export class CommandList {
  #commands = [];
  #at = 0;

  constructor({ entry, choose }) {
    this.box = byId("command-list");
    this.entry = entry;
    this.choose = choose;
  }

  get open() {
    return !this.box.hidden;
  }

  show(commands) {
    this.#commands = commands;
    this.#at = 0;
    fill(this.box, commands.map((command, index) => el("li", { role: "option", id: `command-${index}`, on: { pointerdown: (event) => (event.preventDefault(), this.choose(command)) } },
      el("b", {}, `/${command.name}`), el("span", { class: "wants" }, command.options.filter((option) => option.required).map((option) => option.name).join(" ")), el("span", { class: "what" }, command.description))));
    this.box.hidden = !commands.length;
    this.entry.setAttribute("aria-expanded", String(commands.length > 0));
    this.#mark();
  }

  hide() {
    this.show([]);
  }

  #mark() {
    [...this.box.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.#at)));
    if (this.open) {
      this.entry.setAttribute("aria-activedescendant", `command-${this.#at}`);
      this.box.children[this.#at].scrollIntoView({ block: "nearest" });
    } else this.entry.removeAttribute("aria-activedescendant");
  }

  /** Takes the keys that belong to the list; true when it took one. */
  key(event) {
    if (!this.open) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#at = (this.#at + step + this.#commands.length) % this.#commands.length;
    else if (event.key === "Enter" || event.key === "Tab") this.choose(this.#commands[this.#at]);
    else if (event.key === "Escape") this.hide();
    else return false;
    event.preventDefault();
    if (step) this.#mark();
    return true;
  }
}
