// Autocomplete under a text field: asks a little after the last key, offers a list, keeps the chosen value.
import { el, fill } from "./dom.js";

const DEBOUNCE_MS = 250;
let count = 0;

export class Suggestions {
  #chosen = null;
  #timer = 0;
  #turn = 0;
  #choices = [];
  #at = -1;

  /** `ask(text)` resolves to `[{name, value}]`. */
  constructor(input, ask) {
    this.input = input;
    this.ask = ask;
    this.list = el("ul", { class: "suggestions", role: "listbox", id: `suggestions-${++count}`, hidden: true });
    this.element = el("span", { class: "suggesting" }, input, this.list);
    Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id }).forEach(([key, value]) => input.setAttribute(key, value));
    input.addEventListener("input", () => {
      this.#chosen = null;
      this.#later();
    });
    input.addEventListener("focus", () => this.#later());
    input.addEventListener("blur", () => setTimeout(() => this.#show([]), 150));
    input.addEventListener("keydown", (event) => this.#key(event));
  }

  value() {
    return this.#chosen && this.#chosen.name === this.input.value ? String(this.#chosen.value) : this.input.value.trim();
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fetch(), DEBOUNCE_MS);
  }

  async #fetch() {
    const turn = ++this.#turn;
    const choices = await this.ask(this.input.value).catch(() => []);
    if (turn === this.#turn && document.activeElement === this.input) this.#show(choices);
  }

  #show(choices) {
    this.#choices = choices;
    this.#at = -1;
    fill(this.list, choices.map((choice, index) => el("li", { role: "option", id: `${this.list.id}-${index}`, on: { pointerdown: (event) => (event.preventDefault(), this.#choose(choice)) } }, choice.name)));
    this.list.hidden = !choices.length;
    this.input.setAttribute("aria-expanded", String(choices.length > 0));
  }

  #choose(choice) {
    this.#chosen = choice;
    this.input.value = choice.name;
    this.#turn++;
    this.#show([]);
  }

  #key(event) {
    if (this.list.hidden) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      this.#at = (this.#at + step + this.#choices.length) % this.#choices.length;
      [...this.list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.#at)));
      this.input.setAttribute("aria-activedescendant", `${this.list.id}-${this.#at}`);
    } else if ((event.key === "Enter" || event.key === "Tab") && this.#at >= 0) this.#choose(this.#choices[this.#at]);
    else if (event.key === "Escape") this.#show([]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
