// Starts interactions and shows what came of them: a form, silence, a refusal. Messages that answer come by the live
// line alone: what a call hands back may be older than what the line has told already.
import { el, byId } from "./dom.js";
import { api } from "./api.js";
import { openModal } from "./modal.js";

const NOTICE_MS = 9000;
const SHOW_WAITING_AFTER_MS = 350;

let noticeTimer = 0;

/** A short sentence above the composer that leaves by itself. */
export function notice(sentence) {
  const box = byId("notice");
  clearTimeout(noticeTimer);
  box.replaceChildren(el("p", {}, sentence));
  box.hidden = false;
  noticeTimer = setTimeout(hideNotice, NOTICE_MS);
}

export function hideNotice() {
  byId("notice").hidden = true;
}

export class Interactions {
  constructor({ state }) {
    this.state = state;
  }

  get #bot() {
    return this.state.world.application?.name ?? "The bot";
  }

  silence() {
    const online = this.state.world.application?.online;
    return online === false ? `${this.#bot} is offline. Start it, then try again.` : `${this.#bot} did not answer in time.`;
  }

  #why(error) {
    const reason = typeof error === "string" ? error : error?.message;
    return !reason || /did not respond/.test(reason) ? this.silence() : `${this.#bot}'s answer was refused: ${reason}`;
  }

  /** Runs `start`; true when the sandbox took it. `silent` is told why when it came to no answer. */
  async #run(start, silent) {
    const who = this.state.me.id;
    try {
      const answer = await start();
      const { response } = answer;
      if (who !== this.state.me?.id) return true;
      if (response?.kind === "none") silent(this.#why(response.error));
      else if (response?.kind === "modal") this.#modal(answer);
      return true;
    } catch (refusal) {
      notice(refusal.message);
      return false;
    }
  }

  /** Runs `start`; true when the bot answered. */
  async #answered(start, silent) {
    let answered = true;
    const taken = await this.#run(start, (sentence) => {
      answered = false;
      silent(sentence);
    });
    return taken && answered;
  }

  #modal({ interaction, response }) {
    const as = this.state.me.id;
    openModal(response.modal, {
      world: () => this.state.world,
      names: this.state.names,
      submit: (values) => this.#run(() => api.modal({ as, interaction, values }), notice),
      dismiss: () => api.modal({ as, interaction, dismiss: true }).catch(() => {}),
    });
  }

  async #waiting(words, start) {
    const line = byId("waiting");
    const timer = setTimeout(() => {
      line.replaceChildren(el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), words);
      line.hidden = false;
    }, SHOW_WAITING_AFTER_MS);
    try {
      return await start();
    } finally {
      clearTimeout(timer);
      line.hidden = true;
    }
  }

  /** Runs a command; true when the bot answered. */
  command(name, options) {
    const body = { as: this.state.me.id, channel: this.state.channel.id, name, options };
    return this.#waiting(`/${name} is on its way to ${this.#bot}`, () => this.#answered(() => api.command(body), notice));
  }

  contextMenu(name, target) {
    const body = { as: this.state.me.id, channel: this.state.channel.id, name, ...target };
    return this.#waiting(`${name} is on its way to ${this.#bot}`, () => this.#run(() => api.contextMenu(body), notice));
  }

  /** Presses; true when the bot answered. */
  async press(view, component, values, node) {
    view.note(null);
    node.classList.add("busy");
    node.setAttribute("aria-busy", "true");
    const body = { as: this.state.me.id, message: view.message.id, custom_id: component.custom_id, values };
    const answered = await this.#answered(() => api.press(body), (sentence) => view.note(sentence));
    node.classList.remove("busy");
    node.removeAttribute("aria-busy");
    return answered;
  }
}
