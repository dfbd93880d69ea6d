// Draws one message and changes it in place: only the parts that differ are drawn anew.
import { el, fill, icon } from "./dom.js";
import { bornAt, displayName, initials, tint } from "./names.js";
import { formatted } from "./time.js";
import { rich, plain } from "./rich_text.js";
import { Pictures } from "./attachments.js";
import { embed } from "./embeds.js";
import { components } from "./components.js";
import { reactionRow } from "./reactions.js";

const LOADING = 1 << 7;
export const V2 = 1 << 15;
const THREAD_CREATED = 18;

/** Leads to a thread; the page listens for `message-link`. */
function threadLink(thread, ...more) {
  const go = (event) => event.currentTarget.dispatchEvent(new CustomEvent("message-link", { bubbles: true, detail: { channel: thread.id } }));
  return el("button", { type: "button", class: "thread-link", on: { click: go } }, el("b", {}, thread.name), more);
}

const threadCard = (thread) => thread && el("div", { class: "thread-card" }, icon("reply"), threadLink(thread), el("span", {}, "thread"));

export function avatar(user) {
  const name = displayName(user);
  return el("span", { class: `avatar tint-${user?.bot ? "bot" : tint(user?.id ?? name)}`, "aria-hidden": "true" }, user?.bot ? icon("lamp") : initials(name));
}

/** A message's element and what it takes to bring it up to date. `context`: names, world, me, press, react, menu, history, dismiss, jump. */
export class MessageView {
  #drawn = new Map();
  #pictures = null;
  #parts = {};

  constructor(message, context) {
    this.context = context;
    const part = (name, tag = "div") => (this.#parts[name] = el(tag, { class: `part-${name}`, hidden: true }));
    this.day = el("div", { class: "day", hidden: true });
    const more = el("button", { type: "button", class: "icon-button more", "aria-label": "Message actions", "aria-haspopup": "menu" }, icon("more"));
    more.addEventListener("click", () => context.menu(this, more));
    this.article = el("article", { class: "message", data: { message: message.id }, tabIndex: -1 },
      part("above"), part("avatar", "span"), part("head", "header"),
      el("div", { class: "body" }, part("text"), part("embeds"), part("attachments"), part("components"), part("thread"), part("reactions"), part("below")), more);
    this.article.addEventListener("contextmenu", (event) => {
      if (event.target.closest("a, input, textarea") || !getSelection().isCollapsed) return;
      event.preventDefault();
      context.menu(this, more, event);
    });
    this.element = el("li", {}, this.day, this.article);
    this.update(message);
  }

  #part(name, value, draw) {
    const key = JSON.stringify(value) ?? "";
    if (this.#drawn.get(name) === key) return;
    this.#drawn.set(name, key);
    const node = this.#parts[name];
    const focused = node.contains(document.activeElement) ? document.activeElement.dataset.customId : undefined;
    const children = [draw()].flat().filter(Boolean);
    fill(node, children);
    node.hidden = !children.length;
    if (focused) node.querySelector(`[data-custom-id="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  update(message) {
    this.message = message;
    const { context } = this;
    context.names.learnMessage(message);
    const waiting = Boolean(message.flags & LOADING) && !message.content;
    this.article.classList.toggle("ephemeral", Boolean(message.ephemeral));
    this.article.classList.toggle("to-me", (message.mentions ?? []).some((user) => user.id === context.names.me));
    this.article.setAttribute("aria-label", `${displayName(message.author)}, ${formatted(bornAt(message.id), "t")}`);
    this.#part("avatar", [message.author.id, displayName(message.author)], () => avatar(message.author));
    this.#part("above", [message.message_reference, message.referenced_message?.content, message.reference_visible_to, context.names.me, message.interaction_metadata, message.interaction], () => this.#above());
    this.#part("head", [message.author, message.edited_timestamp, message.edits], () => this.#head());
    this.#part("text", [message.content, waiting], () => this.#text(waiting));
    this.#part("embeds", message.embeds, () => (message.embeds ?? []).map((data) => embed(data, context.names)));
    this.#attach(message.flags & V2 ? [] : (message.attachments ?? []));
    this.#part("components", message.components, () => components(message.components, { ...context, press: (data, values, node) => context.press(this, data, values, node) }));
    this.#part("thread", [message.thread?.id, message.thread?.name], () => threadCard(message.thread));
    this.#part("reactions", message.reactions, () => reactionRow(message, context));
    this.#part("below", [message.ephemeral], () => this.#below());
  }

  redraw() {
    this.#drawn.clear();
    this.update(this.message);
  }

  /** A private line under the message, such as "did not answer in time". */
  note(sentence) {
    this.article.querySelector(".note")?.remove();
    if (sentence) this.article.querySelector(".body").append(el("p", { class: "note", role: "alert" }, sentence));
  }

  #attach(files) {
    const node = this.#parts.attachments;
    if (!this.#pictures && !files.length) return;
    if (!this.#pictures) node.append((this.#pictures = new Pictures()).element);
    node.hidden = !files.length;
    this.#pictures.update(files);
  }

  #above() {
    const { message, context } = this;
    // A private message that somebody else got: all that others see is that there was one.
    const hidden = message.reference_visible_to && message.reference_visible_to !== context.names.me;
    const target = hidden ? null : message.referenced_message;
    if (message.message_reference?.message_id && message.type !== 20 && message.type !== 23) {
      const words = target ? plain(target.content, context.names) || "a picture" : "a message that is gone";
      if (!target) return el("p", { class: "reference" }, icon("reply"), el("span", {}, words));
      const jump = () => context.jump(message.message_reference.message_id);
      return el("button", { type: "button", class: "reference", on: { click: jump } }, icon("reply"), el("b", {}, displayName(target.author)), el("span", {}, words));
    }
    const used = message.interaction_metadata ?? message.interaction;
    if (!used?.user) return null;
    const name = message.interaction?.name;
    const named = name ? ["used ", el("b", { class: "mention" }, message.type === 23 ? name : `/${name}`)] : "used a command";
    const verb = used.type === 2 ? named : used.type === 5 ? "sent a form" : "pressed a button";
    return el("p", { class: "reference" }, icon("reply"), el("b", {}, displayName(used.user)), el("span", {}, verb));
  }

  #head() {
    const { message, context } = this;
    const born = bornAt(message.id);
    const edits = message.edits ?? (message.edited_timestamp ? 1 : 0);
    const edited = edits > 0 && el("button", { type: "button", class: "edited", title: "Show the earlier versions", on: { click: (event) => context.history(this, event.currentTarget) } }, edits > 1 ? `edited ${edits} times` : "edited");
    return [
      el("b", { class: `author ink-${message.author.bot ? "bot" : tint(message.author.id)}` }, displayName(message.author)),
      message.author.bot && el("span", { class: "tag" }, "bot"),
      el("time", { dateTime: new Date(born).toISOString(), title: formatted(born, "F") }, formatted(born, "t")),
      edited,
    ].filter(Boolean);
  }

  #text(waiting) {
    if (waiting) return el("p", { class: "thinking" }, el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), `${displayName(this.message.author)} is thinking…`);
    if (this.message.type === THREAD_CREATED) return el("p", { class: "thread-begun" }, "began a thread: ", threadLink({ id: this.message.message_reference?.channel_id, name: this.message.content }));
    return rich(this.message.content, this.context.names);
  }

  #below() {
    if (!this.message.ephemeral) return null;
    return el("p", { class: "only-you" }, "Only you can see this · ", el("button", { type: "button", class: "text-button", on: { click: () => this.context.dismiss(this) } }, "dismiss"));
  }
}
