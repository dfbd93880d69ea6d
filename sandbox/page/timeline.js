// The list of messages of one channel: order, days, grouping, staying at the bottom. Draws nothing of a message itself.
import { el, fill, byId, icon } from "./dom.js";
import { MessageView } from "./message.js";
import { bornAt, displayName, older } from "./names.js";
import { dayWords } from "./time.js";
import { plain } from "./rich_text.js";

const GROUP_MS = 5 * 60 * 1000;
const AT_ONCE = 150;
const NEAR_BOTTOM_PX = 80;
const SAID_MS = 1500;
const HIDDEN = "darkroom.sandbox.dismissed";

/** Message objects of events only count reactions; whose they are was told at the start, and by events, and is kept. */
function withUsers(fresh, known) {
  const before = (reaction) => known?.find((one) => one.emoji.name === reaction.emoji.name && one.emoji.id === reaction.emoji.id);
  return fresh?.map((reaction) => ({ ...reaction, users: reaction.users ?? before(reaction)?.users }));
}

export class Timeline {
  views = new Map();
  #stuck = true;
  // Did anything come that the reader, further up, has not seen?
  #news = false;
  #seen = {};
  // Messages of a long channel that are not drawn yet, oldest first.
  #earlier = [];
  #quiet = 0;
  #dismissed = new Set(JSON.parse(sessionStorage.getItem(HIDDEN) ?? "[]"));

  constructor(context) {
    this.context = context;
    this.scroller = byId("scroller");
    this.list = byId("messages");
    this.empty = byId("empty");
    this.jumpDown = byId("jump-down");
    this.jumpDown.append(icon("down"));
    this.jumpDown.addEventListener("click", () => this.toBottom());
    byId("earlier").addEventListener("click", () => this.#showEarlier());
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#stuck && this.toBottom()).observe(this.list);
    new ResizeObserver(() => this.#stuck && this.toBottom()).observe(this.scroller);
  }

  toBottom() {
    this.#stuck = true;
    this.#news = false;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.jumpDown.hidden = true;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    const seen = this.#seen;
    this.#seen = { scrollHeight, scrollTop, clientHeight };
    if (scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX) this.#stuck = true;
    // Only a person's scrolling lets go of the bottom; growing content also raises scroll events.
    else if (seen.scrollHeight === scrollHeight && seen.clientHeight === clientHeight && scrollTop < seen.scrollTop) this.#stuck = false;
    if (this.#stuck) this.#news = false;
    this.#offerJump();
  }

  /** The way down is offered when there is something new, or when it is long. */
  #offerJump() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.jumpDown.hidden = this.#stuck || !(this.#news || scrollHeight - scrollTop > 2 * clientHeight);
  }

  /** May the one who looks see it? Private messages reach one person only. */
  #visible(message) {
    if (this.#dismissed.has(message.id)) return false;
    const only = message.visible_to;
    return !message.ephemeral || only === undefined || only === null || [only].flat().includes(this.context.names.me);
  }

  /** Shows exactly these messages, keeping the elements of those that are there already. */
  load(messages, { afresh = false } = {}) {
    if (afresh) this.clear();
    const wanted = new Set(messages.map((message) => message.id));
    for (const id of [...this.views.keys()]) if (!wanted.has(id)) this.remove(id);
    const drawn = Math.max(AT_ONCE, this.views.size);
    this.#earlier = messages.slice(0, -drawn);
    for (const message of messages.slice(-drawn)) this.put(message, { quiet: true });
    byId("earlier").hidden = !this.#earlier.length;
    this.#showEmpty();
    if (afresh) this.toBottom();
  }

  #showEarlier() {
    const batch = this.#earlier.splice(-AT_ONCE);
    byId("earlier").hidden = !this.#earlier.length;
    for (const message of batch.reverse()) this.put(message, { quiet: true });
  }

  clear() {
    this.views.clear();
    this.#earlier = [];
    fill(this.list);
    this.#stuck = true;
    this.#news = false;
  }

  put(message, { quiet = false } = {}) {
    if (!this.#visible(message)) return;
    const view = this.views.get(message.id);
    if (view) return view.update({ ...view.message, ...message, reactions: withUsers(message.reactions, view.message.reactions) });
    const waiting = this.#earlier.findIndex((one) => one.id === message.id);
    if (waiting >= 0) return void (this.#earlier[waiting] = message);
    const fresh = new MessageView(message, this.context);
    const ids = [...this.views.keys()];
    const after = ids.findLast((id) => older(id, message.id) < 0);
    const before = after ? this.views.get(after).element.nextSibling : this.list.firstChild;
    this.list.insertBefore(fresh.element, before);
    this.views.set(message.id, fresh);
    if (after !== ids.at(-1)) this.views = new Map([...this.views].sort((a, b) => older(a[0], b[0])));
    this.#group();
    this.#showEmpty();
    if (!quiet) this.#announce(message);
  }

  /** Counts a reaction in or out, and remembers whose it was. */
  react({ message_id, user_id, emoji }, added) {
    const view = this.views.get(message_id);
    if (!view) return;
    const list = (view.message.reactions ?? []).map((one) => ({ ...one, users: [...(one.users ?? [])] }));
    let found = list.find((one) => one.emoji.name === emoji.name && one.emoji.id === emoji.id);
    if (!found) list.push((found = { emoji, count: 0, users: [] }));
    found.count += added ? 1 : -1;
    found.users = added ? [...found.users, user_id] : found.users.filter((id) => id !== user_id);
    view.update({ ...view.message, reactions: list.filter((one) => one.count > 0) });
  }

  /** Takes all reactions away, or those of one emoji. */
  clearReactions({ message_id, emoji }) {
    const view = this.views.get(message_id);
    const stays = (one) => emoji && (one.emoji.name !== emoji.name || one.emoji.id !== emoji.id);
    view?.update({ ...view.message, reactions: (view.message.reactions ?? []).filter(stays) });
  }

  remove(id) {
    this.#earlier = this.#earlier.filter((message) => message.id !== id);
    this.views.get(id)?.element.remove();
    if (this.views.delete(id)) this.#group();
    this.#showEmpty();
  }

  dismiss(id) {
    this.#dismissed.add(id);
    sessionStorage.setItem(HIDDEN, JSON.stringify([...this.#dismissed].slice(-500)));
    this.remove(id);
  }

  /** Takes away what was said beside buttons that nobody answered: somebody does again. */
  forgetNotes() {
    for (const view of this.views.values()) view.note(null);
  }

  redraw() {
    for (const view of this.views.values()) view.redraw();
  }

  jump(id) {
    while (!this.views.has(id) && this.#earlier.some((message) => message.id === id)) this.#showEarlier();
    const view = this.views.get(id);
    if (!view) return false;
    view.article.scrollIntoView({ block: "center" });
    view.article.focus({ preventScroll: true });
    view.article.classList.remove("flash");
    requestAnimationFrame(() => view.article.classList.add("flash"));
    return true;
  }

  #showEmpty() {
    this.empty.hidden = this.views.size > 0;
  }

  /** Written by the one who looks, or the answer to what they just did: that is what they wait to see. */
  #own(message) {
    const { me } = this.context.names;
    return [message.author.id, message.interaction_metadata?.user?.id, message.visible_to].includes(me);
  }

  #announce(message) {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => (byId("announcer").textContent = ""), SAID_MS);
    byId("announcer").textContent = `${displayName(message.author)}: ${plain(message.content, this.context.names).slice(0, 200) || "a new message"}`;
    if (this.#own(message)) this.toBottom();
    else {
      this.#news = true;
      this.#offerJump();
    }
  }

  #group() {
    let previous = null;
    let day = "";
    for (const view of this.views.values()) {
      const { message } = view;
      const born = bornAt(message.id);
      const today = dayWords(born);
      view.day.hidden = today === day;
      if (today !== day) view.day.replaceChildren(el("span", {}, today));
      const joined = previous && today === day && previous.author.id === message.author.id && born - bornAt(previous.id) < GROUP_MS
        && !message.message_reference && !message.interaction_metadata && !message.interaction && !message.ephemeral && !previous.ephemeral;
      view.article.classList.toggle("joined", Boolean(joined));
      previous = message;
      day = today;
    }
  }
}
