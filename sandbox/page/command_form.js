// The chosen command above the entry: its name, its option fields, and what else could be added.
// The entry itself holds the main text option, so a typed line and a filled form are one thing.
import { el, fill, byId, icon } from "./dom.js";
import { accepted, choiceWords, createField } from "./command_option_fields.js";
import { mainOption, nameLength } from "./commands.js";
import { api } from "./api.js";

const ATTACHMENT = 11;

export class CommandForm {
  command = null;
  main = null;
  #fields = new Map();
  #named = false;

  constructor({ state, entry, onLeave }) {
    this.state = state;
    this.entry = entry;
    this.onLeave = onLeave;
    this.box = byId("command-form");
    this.box.addEventListener("keydown", (event) => this.#key(event));
  }

  open(command) {
    this.command = command;
    this.main = mainOption(command);
    this.#fields = new Map();
    this.#named = false;
    for (const option of command.options) if (option.required && option !== this.main) this.#add(option);
    this.#draw();
  }

  close() {
    this.command = this.main = null;
    // Not emptied: they may be kept for when nobody answers.
    this.#fields = new Map();
    fill(this.box);
    this.box.hidden = true;
  }

  /** What is filled in, to be put back when nobody answered. */
  keep() {
    return { command: this.command, main: this.main, fields: this.#fields, text: this.entry.value };
  }

  restore({ command, main, fields, text }) {
    Object.assign(this, { command, main });
    this.#fields = fields;
    this.entry.value = text;
    this.#draw();
  }

  /** Takes the main option's own name off what is written, once: behind it, the same word is a word. */
  unname() {
    const length = this.main && !this.#named ? nameLength(this.main, this.entry.value) : 0;
    if (!length) return;
    this.#named = true;
    this.entry.setRangeText("", 0, length, "preserve");
  }

  #key(event) {
    if (event.key === "Enter" && event.target.matches("input") && !event.isComposing) {
      event.preventDefault();
      this.entry.form.requestSubmit();
    }
    if (event.key === "Escape") this.onLeave();
  }

  #ask = async (option, value) => {
    const options = {};
    for (const [name, field] of this.#fields) {
      const given = name === option.name ? undefined : await field.read();
      if (given !== undefined) options[name] = given;
    }
    if (this.main && this.entry.value) options[this.main.name] = this.entry.value;
    const body = { as: this.state.me.id, channel: this.state.channel.id, name: this.command.name, option: option.name, value, options };
    return (await api.autocomplete(body)).choices ?? [];
  };

  #add(option) {
    const remove = (gone) => {
      this.#fields.delete(gone.name);
      this.#draw();
      this.entry.focus();
    };
    const field = createField(option, { state: this.state, ask: this.#ask, remove, onChange: () => {} });
    this.#fields.set(option.name, field);
    return field;
  }

  #draw() {
    const rest = this.command.options.filter((option) => option !== this.main && !this.#fields.has(option.name));
    const leave = el("button", { type: "button", class: "icon-button tiny", "aria-label": `Leave /${this.command.name}`, on: { click: () => this.onLeave() } }, icon("close"));
    const offer = (option) => el("button", { type: "button", class: "offer", title: option.description, on: { click: () => {
      const field = this.#add(option);
      this.#draw();
      field.focus();
    } } }, icon("plus"), option.name);
    fill(this.box,
      el("div", { class: "command-head" }, el("b", {}, `/${this.command.name}`), el("span", {}, this.command.description), leave),
      this.#fields.size || rest.length ? el("div", { class: "command-options" }, [...this.#fields.values()].map((field) => field.element), rest.map(offer)) : null);
    this.box.hidden = false;
  }

  /** Gives a dropped or pasted file to the first file option that has none; false when there is no such option. */
  async takeFile(file) {
    for (const option of this.command?.options ?? []) {
      if (option.type !== ATTACHMENT) continue;
      const field = this.#fields.get(option.name) ?? this.#add(option);
      if ((await field.read()) !== undefined) continue;
      this.#draw();
      field.set(file);
      return true;
    }
    return false;
  }

  /** Gives text that is typed for no free text option to the first one that takes it; what none takes comes back. */
  takeText(text, { chosen = true } = {}) {
    for (const option of text && !this.main ? this.command.options : []) {
      const known = this.#fields.get(option.name);
      const value = accepted(option, text.slice(nameLength(option, text)), this.state);
      // A half-written choice may still become another one.
      if (value === undefined || (known && !known.empty()) || (!chosen && choiceWords(option))) continue;
      const field = known ?? this.#add(option);
      this.#draw();
      field.set(value);
      field.focus();
      return "";
    }
    return text;
  }

  /** Why a text that nothing took has no place here. */
  refusal(text) {
    const wanted = this.command.options.map(choiceWords).filter(Boolean).join("; ");
    return `/${this.command.name} takes no “${text}”${wanted && `: ${wanted}`}`;
  }

  /** Why a file that nothing took has no place here. */
  fileRefusal(names) {
    const some = this.command.options.some((option) => option.type === ATTACHMENT);
    return `/${this.command.name} takes no ${some ? "more files" : "file"}: remove ${names.join(", ")}`;
  }

  /** The options as the interface wants them, or the name of the first required one that is missing. */
  async read() {
    const options = {};
    const text = this.entry.value.trim();
    if (this.main && text) options[this.main.name] = text;
    for (const [name, field] of this.#fields) {
      const value = await field.read();
      if (value !== undefined) options[name] = value;
    }
    const missing = this.command.options.find((option) => option.required && options[option.name] === undefined);
    return { options, missing };
  }

  focus(option) {
    (option === this.main ? this.entry : this.#fields.get(option.name) ?? this.entry).focus();
  }
}
