// The left side: guild, channels, members, the bot's light, and who you are. Draws from the state; changes it by `go`.
import { el, fill, byId, icon } from "./dom.js";
import { displayName, tint } from "./names.js";
import { drawMarks } from "./unread_badges.js";
import { avatar } from "./message.js";
import { openMenu, USER_APP } from "./menu.js";

const SIGNS = { text: "#", thread: "↳", dm: "@", 0: "#", 1: "@", 11: "↳", 12: "↳" };

const roleNames = (member, names) => (member.roles ?? []).map((role) => role.name ?? names.roleName(role)).filter((name) => name !== "everyone" && name !== "@everyone");

/** Open channels, the threads of each below it. */
function nested(channels, sees) {
  const open = channels.filter((one) => !one.archived && sees(one));
  const parents = open.filter((one) => one.type !== "thread");
  const orphans = open.filter((one) => one.type === "thread" && !parents.some((parent) => parent.id === one.parent));
  return [...parents.flatMap((parent) => [parent, ...open.filter((one) => one.type === "thread" && one.parent === parent.id)]), ...orphans];
}

export class Sidebar {
  constructor({ state, unread, onUserApp, onDirect }) {
    this.state = state;
    this.unread = unread;
    this.onDirect = onDirect;
    this.onUserApp = onUserApp;
    this.side = byId("sidebar");
    byId("open-side").append(icon("menu"));
    byId("close-side").append(icon("close"));
    byId("open-side").addEventListener("click", () => this.toggle(true));
    byId("close-side").addEventListener("click", () => this.toggle(false));
    byId("scrim").addEventListener("click", () => this.toggle(false));
    addEventListener("keydown", (event) => event.key === "Escape" && this.toggle(false));
    state.addEventListener("world", () => this.draw());
    document.addEventListener("visibilitychange", () => this.mark());
  }

  toggle(open) {
    const was = document.body.classList.contains("side-open");
    if (was === open) return;
    document.body.classList.toggle("side-open", open);
    byId("open-side").setAttribute("aria-expanded", String(open));
    (open ? byId("close-side") : byId("open-side")).focus();
  }

  draw() {
    const { state } = this;
    const { world, guild, channel, me } = state;
    this.#bot(world.application);
    fill(byId("guilds"), world.guilds.length > 1 ? world.guilds.map((one) => this.#guild(one)) : guild && el("p", { class: "guild-name" }, guild.name));
    fill(byId("channels"), [...nested(guild?.channels ?? [], (one) => !one.private || guild.owner === me?.id || one.members.includes(me?.id)), ...state.direct()].map((one) => this.#channel(one)));
    const members = guild?.members ?? [];
    const sorted = [...members].sort((a, b) => Number(state.isBot(b)) - Number(state.isBot(a)));
    fill(byId("members"), sorted.map((one) => this.#member(one)));
    fill(byId("who"), state.people().map((one) => el("option", { value: one.id, selected: one.id === me?.id }, displayName(one))));
    fill(byId("who-avatar"), me ? avatar(me) : null);
    byId("channel-name").textContent = channel ? channel.name : "no channel";
    byId("channel-sign").textContent = SIGNS[channel?.type] ?? "#";
    byId("channel-note").textContent = channel?.nsfw ? "age-restricted" : "";
    this.mark();
  }

  /** Tells which channels hold something new, without drawing the lists anew. */
  mark() {
    const { channel } = this.state;
    drawMarks(this.state, this.unread, channel && (SIGNS[channel.type] ?? "#") + channel.name);
  }

  #bot(application) {
    const online = Boolean(application?.online);
    const light = byId("bot-light");
    light.classList.toggle("online", online);
    const words = application ? `${application.name} ${online ? "is online" : "is offline"}` : "no bot yet";
    light.title = words;
    if (light.textContent !== words) fill(light, el("span", {}, words));
  }

  #guild(guild) {
    const pick = () => this.state.go({ channel: guild.channels[0] });
    return el("button", { type: "button", class: "guild", "aria-pressed": String(guild === this.state.guild), data: { id: guild.id }, on: { click: pick } }, guild.name);
  }

  #channel(channel) {
    const here = channel.id === this.state.channel?.id;
    const pick = () => {
      this.state.go({ channel });
      this.toggle(false);
    };
    return el("li", {}, el("button", { type: "button", class: channel.type === "thread" ? "channel thread" : "channel", "aria-current": here ? "page" : undefined, data: { channel: channel.name, id: channel.id }, on: { click: pick } },
      el("span", { class: "sign", "aria-hidden": "true" }, SIGNS[channel.type] ?? "#"), el("span", { class: "channel-label" }, channel.name), channel.nsfw && el("span", { class: "badge" }, "18+")));
  }

  #member(member) {
    const { state } = this;
    const bot = state.isBot(member);
    const owner = state.guild.owner === member.id || state.guild.owner === member.name;
    const offline = bot && !state.world.application?.online;
    const roles = bot ? [offline ? "offline" : "bot"] : [owner && "owner", ...roleNames(member, state.names)].filter(Boolean);
    const apps = bot ? [] : state.world.commands.filter((command) => command.type === USER_APP);
    const open = (event) => openMenu(event.currentTarget, [{ heading: displayName(member) },
      bot && { label: "Send it a direct message", icon: "reply", run: () => this.onDirect() },
      !bot && { label: `Be ${displayName(member)}`, run: () => state.go({ person: member }) },
      ...apps.map((command) => ({ label: command.name, icon: "apps", run: () => this.onUserApp(command.name, member) }))]);
    return el("li", {}, el("button", { type: "button", class: offline ? "member away" : "member", "aria-haspopup": "menu", on: { click: open } },
      avatar({ ...member, bot }), el("span", { class: `ink-${bot ? "bot" : tint(member.id)}` }, displayName(member)), roles.length ? el("span", { class: "roles" }, roles.join(", ")) : null));
  }
}
