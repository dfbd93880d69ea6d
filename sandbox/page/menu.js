// The menu of a message: apps, reply, react, copy, edit, delete. Only lists; each entry calls what it was given.
import { el, byId, icon } from "./dom.js";
import { openPopover } from "./popover.js";

const MESSAGE_APP = 3;
export const USER_APP = 2;

/** Opens a menu beside `anchor`: `entries` are `{label, icon?, danger?, run}` or `{heading}`. */
export function openMenu(anchor, entries, event) {
  let close = () => {};
  const item = (entry) => entry.heading
    ? el("p", { class: "menu-heading" }, entry.heading)
    : el("button", { type: "button", role: "menuitem", class: entry.danger ? "danger" : undefined, on: { click: () => (close(), entry.run()) } }, entry.icon && icon(entry.icon), el("span", {}, entry.label));
  const menu = el("div", { class: "menu", role: "menu" }, entries.filter(Boolean).map(item));
  menu.addEventListener("keydown", (key) => {
    const items = [...menu.querySelectorAll("button")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[key.key];
    if (!step) return;
    key.preventDefault();
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
  });
  close = openPopover(anchor, menu, event && event.clientX ? { x: event.clientX, y: event.clientY } : undefined);
  byId("popover").querySelector("button")?.focus();
}

export function messageEntries(view, { state, actions }) {
  const { message } = view;
  const own = message.author.id === state.me?.id;
  const moderator = state.guild?.owner === state.me?.id || (state.me?.roles ?? []).some((role) => (role.name ?? state.names.roleName(role)) === "moderator");
  const apps = state.world.commands.filter((command) => command.type === MESSAGE_APP);
  return [
    apps.length && { heading: "Apps" },
    ...apps.map((command) => ({ label: command.name, icon: "apps", run: () => actions.app(command.name, message) })),
    apps.length && { heading: "Message" },
    { label: "Reply", icon: "reply", run: () => actions.reply(message) },
    !message.ephemeral && { label: "Add a reaction", icon: "smile", run: () => actions.pick(view) },
    message.content && { label: "Copy the text", icon: "copy", run: () => navigator.clipboard?.writeText(message.content) },
    own && { label: "Edit", icon: "file", run: () => actions.edit(message) },
    (own || moderator) && !message.ephemeral && { label: "Delete", icon: "trash", danger: true, run: () => actions.remove(message) },
  ].filter(Boolean);
}
