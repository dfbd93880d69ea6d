// Marks the channels that hold something new, in the list and in the window's title. Changes marks in place.
import { el, byId } from "./dom.js";

const TITLE = "Darkroom sandbox";

function mark(button, { unseen, mentions }) {
  button.classList.toggle("unseen", Boolean(unseen));
  button.title = unseen ? "New messages" : "";
  button.querySelector(".mentions")?.remove();
  if (mentions) button.append(el("span", { class: "mentions" }, mentions, el("span", { class: "visually-hidden" }, mentions > 1 ? " mentions" : " mention")));
}

/** Draws the marks; what stands open in a window that is looked at has been seen. */
export function drawMarks(state, unread, title) {
  const { me, guild, channel, world } = state;
  if (!me) return void (document.title = TITLE);
  if (channel && document.visibilityState === "visible") unread.see(me, channel);
  const found = new Map(state.places().map((one) => [one.id, unread.of(me, one)]));
  for (const button of document.querySelectorAll("#channels .channel")) mark(button, found.get(button.dataset.id) ?? {});
  for (const button of document.querySelectorAll("#guilds .guild")) {
    const other = world.guilds.find((one) => one.id === button.dataset.id && one !== guild);
    button.classList.toggle("unseen", Boolean(other?.channels.some((one) => found.get(one.id).unseen)));
  }
  const mentions = [...found.values()].reduce((sum, one) => sum + one.mentions, 0);
  byId("open-side").classList.toggle("called", mentions > 0);
  document.title = `${mentions ? `(${mentions}) ` : ""}${title ? `${title} · ` : ""}${TITLE}`;
}
