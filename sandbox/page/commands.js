// Knows how slash commands are named and read: subcommands made flat, a typed line matched to one. Pure.

const SUBCOMMAND = 1;
const GROUP = 2;
const STRING = 3;
// A typed name is near when it begins a command's with this many letters, or has one slip for each so many of them.
const BEGINNING = 2;
const LETTERS_A_SLIP = 3;

/** Slash commands with subcommands as one flat list of `{name, description, options}`. */
export function leaves(commands) {
  const walk = (name, command) => {
    const nested = (command.options ?? []).filter((option) => option.type === SUBCOMMAND || option.type === GROUP);
    if (nested.length) return nested.flatMap((option) => walk(`${name} ${option.name}`, option));
    return [{ name, description: command.description ?? "", options: command.options ?? [] }];
  };
  return commands.filter((command) => (command.type ?? 1) === 1).flatMap((command) => walk(command.name, command)).sort((a, b) => a.name.localeCompare(b.name));
}

/** The commands that a half-typed "/im" may mean: those whose name begins so first, then those with a later word that does. */
export function matching(list, typed) {
  const wanted = typed.slice(1).toLowerCase().trimEnd();
  const begins = list.filter((command) => command.name.startsWith(wanted));
  const later = list.filter((command) => !begins.includes(command) && command.name.split(/[ _-]/).some((_, at, words) => words.slice(at).join(" ").startsWith(wanted)));
  return [...begins, ...later];
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

/** How long the option's own name stands before a text: "prompt: a red boat" -> 8. On Discord that picks the option. */
export function nameLength(option, text) {
  const found = /^\s*([^\s:]+):[^\S\n]*/.exec(text);
  return found?.[1].toLowerCase() === option.name ? found[0].length : 0;
}

/** How many letters must be put in, taken out, replaced or swapped with the next to make one word of the other. */
export function distance(a, b) {
  const rows = [[...Array(b.length + 1).keys()]];
  for (let i = 1; i <= a.length; i++) {
    rows[i] = [i];
    for (let j = 1; j <= b.length; j++) {
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + Number(a[i - 1] !== b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1);
    }
  }
  return rows[a.length][b.length];
}

/** The command that a line with an unknown name most likely meant; null when none is near: a wrong guess is worse than none. */
export function nearest(list, line) {
  const typed = line.trim().slice(1).toLowerCase().split(/\s+/);
  const far = (command) => {
    const words = typed.slice(0, command.name.split(" ").length).join(" ");
    if (words.length >= BEGINNING && command.name.startsWith(words)) return 1;
    const slips = distance(words, command.name);
    return slips <= command.name.length / LETTERS_A_SLIP ? slips : Infinity;
  };
  const [first] = list.map((command) => [far(command), command]).sort((a, b) => a[0] - b[0]);
  return first && first[0] < Infinity ? first[1] : null;
}
