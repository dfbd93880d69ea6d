// Where a person writes: messages, replies, slash commands. Enter sends. Knows nothing of how answers are shown.
import { el, fill, byId, icon } from "./dom.js";
import { api } from "./api.js";
import { CommandForm } from "./command_form.js";
import { CommandList } from "./command_list.js";
import { leaves, matching, nearest, split } from "./commands.js";
import { readFiles } from "./picked_files.js";
import { displayName } from "./names.js";
import { notice } from "./interactions.js";
import { Tray } from "./pending_uploads.js";

export class Composer {
  #reply = null;
  #editing = null;
  #last = "";

  constructor({ state, interactions }) {
    this.state = state;
    this.interactions = interactions;
    this.entry = byId("entry");
    this.tray = new Tray();
    this.form = new CommandForm({ state, entry: this.entry, onLeave: () => this.#leaveCommand() });
    this.list = new CommandList({ entry: this.entry, choose: (command) => this.#enterCommand(command, "") });
    this.entry.addEventListener("input", () => this.#typed());
    this.entry.addEventListener("keydown", (event) => this.#key(event));
    this.entry.addEventListener("blur", () => setTimeout(() => this.list.hide(), 150));
    this.entry.addEventListener("paste", (event) => event.clipboardData.files.length && (event.preventDefault(), this.#files(event.clipboardData.files)));
    byId("composer").addEventListener("submit", (event) => (event.preventDefault(), this.#send()));
    this.#wireFiles();
    state.addEventListener("place", () => this.#placeholder());
  }

  get #commands() {
    return leaves(this.state.world.commands);
  }

  #wireFiles() {
    const picker = byId("picker");
    byId("attach").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      this.#files(picker.files);
      picker.value = "";
    });
    const main = byId("main");
    main.addEventListener("dragover", (event) => event.dataTransfer.types.includes("Files") && (event.preventDefault(), main.classList.add("dropping")));
    main.addEventListener("dragleave", (event) => main.contains(event.relatedTarget) || main.classList.remove("dropping"));
    main.addEventListener("drop", (event) => {
      event.preventDefault();
      main.classList.remove("dropping");
      this.#files(event.dataTransfer.files);
    });
  }

  async #files(list) {
    for (const file of [...list]) if (!(this.form.command && (await this.form.takeFile(file)))) this.tray.add([file]);
    this.entry.focus();
  }

  #placeholder() {
    const { command, main } = this.form;
    const { channel } = this.state;
    const where = channel ? `Message ${channel.type === "dm" ? "@" : "#"}${channel.name}` : "No channel";
    this.entry.placeholder = command ? (main ? (main.description ?? "") : "Press Enter to send") : innerWidth > 560 ? `${where}, or type / for commands` : "Type / for commands";
    byId("entry-label").textContent = main?.name ?? "";
    byId("entry-label").hidden = !main;
    byId("composer").classList.toggle("ready", Boolean(command && !main));
    this.#grow();
  }

  #grow() {
    this.entry.style.height = "auto";
    this.entry.style.height = `${Math.min(this.entry.scrollHeight, 180)}px`;
  }

  #typed() {
    if (this.form.command) {
      this.form.unname();
      if (!this.form.main) this.entry.value = this.form.takeText(this.entry.value, { chosen: false });
    }
    this.#grow();
    if (this.form.command || this.#editing) return;
    const text = this.entry.value;
    const found = split(this.#commands, text);
    if (found && /\s/.test(text.trimStart().slice(found.command.name.length + 1, found.command.name.length + 2))) {
      const longer = this.#commands.some((command) => command.name.startsWith(`${found.command.name} ${found.rest}`.trimEnd() + " "));
      if (!longer) return this.#enterCommand(found.command, found.rest);
    }
    if (/^\/[^\n]*$/.test(text)) this.list.show(matching(this.#commands, text));
    else this.list.hide();
  }

  #enterCommand(command, rest) {
    this.list.hide();
    this.form.open(command);
    this.entry.value = rest;
    this.form.unname();
    const first = command.options.find((option) => option.required);
    if (this.form.main || !first || rest) this.entry.focus();
    else this.form.focus(first);
    if (!this.form.main) this.entry.value = this.form.takeText(rest, { chosen: false });
    this.#placeholder();
  }

  #leaveCommand() {
    this.form.close();
    this.#placeholder();
    this.entry.focus();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && this.list.open && this.#complete()) this.list.hide();
    if (this.list.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "Escape" && this.form.command) this.#leaveCommand();
    else if (event.key === "Escape") this.#about(null);
    else if (event.key === "Backspace" && this.form.command && !this.entry.value) {
      event.preventDefault();
      this.#leaveCommand();
    } else if (event.key === "ArrowUp" && !this.entry.value && this.#last && !this.form.command) {
      event.preventDefault();
      this.entry.value = this.#last;
      this.#typed();
    }
  }

  /** Is a whole command written that needs nothing more? Then Enter sends it instead of choosing from the list. */
  #complete() {
    const found = split(this.#commands, this.entry.value);
    return Boolean(found) && !found.command.options.some((option) => option.required);
  }

  async #send() {
    if (!this.state.me || !this.state.channel) return;
    if (!this.form.command && !this.#editing) {
      const found = split(this.#commands, this.entry.value);
      if (found) this.#enterCommand(found.command, found.rest);
    }
    return this.form.command ? this.#sendCommand() : this.#sendMessage();
  }

  async #sendCommand() {
    const { command } = this.form;
    const unused = await this.#unused();
    if (unused) return notice(unused);
    const { options, missing } = await this.form.read();
    if (missing) {
      notice(`/${command.name} needs “${missing.name}”: ${missing.description ?? "fill it in"}`);
      return this.form.focus(missing);
    }
    const kept = this.form.keep();
    this.#last = `/${command.name} ${kept.text}`.trim();
    this.entry.value = "";
    this.#leaveCommand();
    const answered = await this.interactions.command(command.name, options);
    // What somebody thought out is not lost to a bot that is away; what they write by now goes first.
    if (answered || this.entry.value || this.form.command) return;
    this.form.restore(kept);
    this.#placeholder();
  }

  /** What was typed or attached and the command cannot use, said; undefined when everything has its place. */
  async #unused() {
    if (!this.form.main) this.entry.value = this.form.takeText(this.entry.value.trim());
    if (!this.form.main && this.entry.value) return this.form.refusal(this.entry.value);
    const left = [];
    for (const file of this.tray.files) if (!(await this.form.takeFile(file))) left.push(file);
    this.tray.keep(left);
    return left.length ? this.form.fileRefusal(left.map((file) => file.name)) : undefined;
  }

  async #sendMessage() {
    const content = this.entry.value.trim();
    if (!content && !this.tray.files.length) return;
    if (/^\/[a-z]/i.test(content) && !this.#editing) return this.#unknownCommand(content);
    const files = this.tray.files;
    const [reply, editing] = [this.#reply, this.#editing];
    this.#last = content;
    this.entry.value = "";
    this.tray.clear();
    this.#about(null);
    this.#grow();
    this.list.hide();
    const as = this.state.me.id;
    try {
      if (editing) await api.rewrite(editing.id, as, content);
      else await api.say({ as, channel: this.state.channel.id, content: content || undefined, files: files.length ? await readFiles(files) : undefined, reply_to: reply?.id });
    } catch (refusal) {
      notice(refusal.message);
      if (!this.entry.value) this.entry.value = content;
      this.tray.add(files);
    }
  }

  #unknownCommand(line) {
    const name = line.split(/\s/)[0];
    const near = nearest(this.#commands, line);
    if (!this.#commands.length) return notice("The bot has registered no commands yet. Is it running?");
    notice(near ? `There is no ${name}. Did you mean /${near.name}?` : `There is no ${name}. Type / to see them all.`);
  }

  #about(words, { reply = null, editing = null } = {}) {
    this.#reply = reply;
    this.#editing = editing;
    const box = byId("about");
    const cancel = el("button", { type: "button", class: "icon-button tiny", "aria-label": "Cancel", on: { click: () => this.#about(null) } }, icon("close"));
    fill(box, words ? [el("span", {}, words), cancel] : []);
    box.hidden = !words;
  }

  reply(message) {
    this.#about(`Replying to ${displayName(message.author)}`, { reply: message });
    this.entry.focus();
  }

  edit(message) {
    this.#about("Editing your message", { editing: message });
    this.entry.value = message.content;
    this.#grow();
    this.entry.focus();
  }

  /** Puts a line into the entry, as if it had been typed. */
  suggest(line) {
    this.form.close();
    this.entry.value = line;
    this.#typed();
    this.entry.focus();
  }
}
