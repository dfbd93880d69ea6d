// Reactions under a message and the small choice of emoji. Sends through `context.react`.
import { el, byId, icon } from "./dom.js";
import { openPopover } from "./popover.js";

const OFFERED = ["👍", "❤️", "🔥", "🎉", "😂", "😮", "👀", "✅", "❌", "✉️", "⭐", "🔁"];

export function reactionRow(message, context) {
  const list = message.reactions ?? [];
  if (!list.length) return null;
  const mine = (reaction) => reaction.users?.includes(context.names.me) ?? false;
  const chips = list.map((reaction) => {
    const own = Boolean(mine(reaction));
    return el("button", { type: "button", class: own ? "reaction own" : "reaction", "aria-pressed": String(own), "aria-label": `${reaction.emoji.name}, ${reaction.count}`,
      on: { click: () => context.react(message, reaction.emoji.name, own) } }, el("span", {}, reaction.emoji.name), ` ${reaction.count}`);
  });
  const more = el("button", { type: "button", class: "reaction add", "aria-label": "Add a reaction", on: { click: (event) => pickEmoji(event.currentTarget, (emoji) => context.react(message, emoji, false)) } }, icon("smile"));
  return [...chips, more];
}

/** Offers a few emoji beside `anchor` and calls `choose` with one. */
export function pickEmoji(anchor, choose) {
  const close = openPopover(anchor, el("div", { class: "emoji-grid", role: "group", "aria-label": "Choose a reaction" },
    OFFERED.map((emoji) => el("button", { type: "button", class: "emoji-choice", on: { click: () => (close(), choose(emoji)) } }, emoji))));
  byId("popover").querySelector("button")?.focus();
}
