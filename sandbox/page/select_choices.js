// Lists what a select offers: its own options, or people, roles and channels of the world. Pure.
import { displayName } from "./names.js";

const people = (world) => world.guilds.flatMap((guild) => guild.members).map((person) => ({ value: person.id, label: displayName(person) }));
const roles = (world) => world.guilds.flatMap((guild) => guild.roles).map((role) => ({ value: role.id, label: `@${role.name}` }));
const channels = (world, kinds) => world.guilds.flatMap((guild) => guild.channels)
  .filter((channel) => !kinds?.length || kinds.includes(Number(channel.type)) || typeof channel.type === "string")
  .map((channel) => ({ value: channel.id, label: `#${channel.name}` }));

/** Options of a select component (types 3, 5, 6, 7, 8), its defaults marked. */
export function choicesOf(data, world) {
  const chosen = new Set((data.default_values ?? []).map((value) => String(value.id ?? value)));
  const lists = {
    5: () => people(world),
    6: () => roles(world),
    7: () => [...people(world), ...roles(world)],
    8: () => channels(world, data.channel_types),
  };
  if (!lists[data.type]) return data.options ?? [];
  return lists[data.type]().map((option) => ({ ...option, default: chosen.has(option.value) }));
}
