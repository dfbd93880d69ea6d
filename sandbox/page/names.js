// Turns ids into names, initials, colours and times. Reads the world it is given; asks nobody.

const DISCORD_EPOCH_MS = 1420070400000n;

/** When a snowflake was made, in milliseconds since 1970. */
export const bornAt = (id) => Number((BigInt(id) >> 22n) + DISCORD_EPOCH_MS);

/** Orders snowflakes by age. */
export const older = (a, b) => (a.length - b.length) || (a < b ? -1 : a > b ? 1 : 0);

export const displayName = (user) => user?.nick || user?.global_name || user?.display_name || user?.name || user?.username || "someone";

/** One or two letters to stand on an avatar. */
export function initials(name) {
  const words = name.trim().split(/[\s_.-]+/).filter(Boolean);
  const letters = words.length > 1 ? [...words[0]][0] + [...words[1]][0] : [...(words[0] ?? "?")].slice(0, 2).join("");
  return letters.toUpperCase();
}

/** A steady hue step (0..7) for an id: a person keeps one colour, and people who joined together have different ones. */
export const tint = (id) => (/^\d+$/.test(id) ? Number(BigInt(id) % 8n) : 0);

/** Looks people, channels and roles up in the world; falls back on people whom messages have shown. */
export class Names {
  #people = new Map();
  #channels = new Map();
  #roles = new Map();

  learnWorld(world) {
    this.#channels.clear();
    this.#roles.clear();
    for (const guild of world.guilds) {
      for (const person of guild.members) this.#people.set(person.id, person);
      for (const channel of guild.channels) this.#channels.set(channel.id, channel);
      for (const role of guild.roles) this.#roles.set(role.id, role);
    }
    const app = world.application;
    if (app?.id && !this.#people.has(app.id)) this.#people.set(app.id, { id: app.id, name: app.name, bot: true });
  }

  learnMessage(message) {
    for (const user of [message.author, ...(message.mentions ?? [])]) {
      if (user?.id && !this.#people.has(user.id)) this.#people.set(user.id, user);
    }
  }

  person = (id) => this.#people.get(String(id));
  personName = (id) => (this.#people.has(String(id)) ? displayName(this.#people.get(String(id))) : "someone");
  channelName = (id) => this.#channels.get(String(id))?.name ?? "unknown channel";
  roleName = (id) => this.#roles.get(String(id))?.name ?? "role";
}
