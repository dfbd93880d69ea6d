// Knows how slash commands are named and read: subcommands made flat, a typed line matched to one. Pure.

const SUBCOMMAND = 1;
const GROUP = 2;
const STRING = 3;

/** Slash commands with subcommands as one flat list of `{name, description, options}`. */
export function leaves(commands) {
  const walk = (name, command) => {
    const nested = (command.options ?? []).filter((option) => option.type === SUBCOMMAND || option.type === GROUP);
    if (nested.length) return nested.flatMap((option) => walk(`${name} ${option.name}`, option));
    return [{ name, description: command.description ?? "", options: command.options ?? [] }];
  };
  return commands.filter((command) => (command.type ?? 1) === 1).flatMap((command) => walk(command.name, command)).sort((a, b) => a.name.localeCompare(b.name));
}

/** The commands that a half-typed "/ima" may mean: those that begin so first, then those that contain it. */
export function matching(list, typed) {
  const wanted = typed.slice(1).toLowerCase().trimEnd();
  const begins = list.filter((command) => command.name.startsWith(wanted));
  const holds = list.filter((command) => !begins.includes(command) && (command.name.includes(wanted) || command.description.toLowerCase().includes(wanted)));
  return wanted ? [...begins, ...holds] : begins;
}

/** "/imagine a red boat" -> {command, rest: "a red boat"}; null while no whole command name stands there. */
export function split(list, line) {
  const text = line.trimStart();
  if (!text.startsWith("/")) return null;
  const found = list.filter((command) => text.slice(1, command.name.length + 1).toLowerCase() === command.name && /^(\s|$)/.test(text.slice(command.name.length + 1)));
  const command = found.sort((a, b) => b.name.length - a.name.length)[0];
  return command ? { command, rest: text.slice(command.name.length + 1).replace(/^\s/, "") } : null;
}

const free = (option) => option.type === STRING && !option.choices?.length && !option.autocomplete;

/** The option that takes what is typed behind the command's name: the first required free text, else the first. */
export const mainOption = (command) => command.options.find((option) => option.required && free(option)) ?? command.options.find(free) ?? null;
