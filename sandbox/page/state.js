// Holds what the page knows: the world, who you are, where you look. Announces changes; draws nothing.
import { Names } from "./names.js";

const REMEMBERED = "darkroom.sandbox.who";

/** The world and the chosen person and channel. Events: `world`, `place` (who or where changed). */
export class State extends EventTarget {
  world = { application: null, guilds: [], commands: [] };
  names = new Names();
  me = null;
  channel = null;
  guild = null;

  setWorld(world) {
    this.world = world;
    this.names.learnWorld(world);
    const before = `${this.me?.id} ${this.channel?.id}`;
    this.#choose();
    this.dispatchEvent(new Event("world"));
    if (before !== `${this.me?.id} ${this.channel?.id}`) this.dispatchEvent(new Event("place"));
  }

  /** Becomes somebody else, or looks elsewhere. */
  go({ person, channel }) {
    if (person) this.me = person;
    if (channel) this.channel = channel;
    this.#choose();
    this.dispatchEvent(new Event("world"));
    this.dispatchEvent(new Event("place"));
  }

  people = () => this.guild?.members.filter((member) => !this.isBot(member)) ?? [];
  /** The direct channel of this person and the bot, if there is one. */
  direct = () => (this.world.direct ?? []).filter((channel) => channel.user === this.me?.id).map((channel) => ({ ...channel, name: this.world.application?.name ?? "bot" }));
  /** All channels of all guilds, and the direct one. */
  places = () => [...this.world.guilds.flatMap((guild) => guild.channels), ...this.direct()];
  isBot = (member) => Boolean(member.bot) || member.id === this.world.application?.id;

  #choose() {
    const address = new URLSearchParams(location.search);
    const guilds = this.world.guilds;
    if (!guilds.length) return Object.assign(this, { guild: null, channel: null, me: null });
    const wanted = this.channel?.id ?? address.get("channel");
    const holds = (guild) => guild.channels.some((channel) => channel.id === wanted || channel.name === wanted);
    this.guild = guilds.find(holds) ?? guilds[0];
    const who = this.me?.id ?? address.get("as") ?? sessionStorage.getItem(REMEMBERED);
    const people = this.people();
    this.me = people.find((person) => person.id === who || person.name === who) ?? people[0] ?? null;
    const places = [...this.guild.channels, ...this.direct()];
    this.channel = places.find((channel) => channel.id === wanted || (channel.name === wanted && channel.type !== "dm")) ?? places[0] ?? null;
    this.names.me = this.me?.id;
    this.#remember(address);
  }

  #remember(address) {
    if (!this.me || !this.channel) return;
    sessionStorage.setItem(REMEMBERED, this.me.name);
    address.set("as", this.me.name);
    address.set("channel", this.channel.type === "dm" ? this.channel.id : this.channel.name);
    history.replaceState(null, "", `?${address}`);
  }
}
