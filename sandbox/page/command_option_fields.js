// One field for one option of a slash command: text, number, choice, person, channel, role, file.
import { el, icon } from "./dom.js";
import { displayName } from "./names.js";
import { readFile } from "./picked_files.js";
import { Suggestions } from "./suggestions.js";

const BOOLEAN = 5;
const ATTACHMENT = 11;
const NUMBERS = new Set([4, 10]);
const MOST_NAMED = 6;

function listed(option, state) {
  if (option.choices?.length) return option.choices.map((choice) => [String(choice.value), choice.name]);
  if (option.type === BOOLEAN) return [["true", "yes"], ["false", "no"]];
  const guild = state.guild;
  const people = guild.members.map((person) => [person.id, displayName(person)]);
  const roles = guild.roles.map((role) => [role.id, `@${role.name}`]);
  const lists = { 6: people, 7: guild.channels.map((channel) => [channel.id, `#${channel.name}`]), 8: roles, 9: [...people, ...roles] };
  return lists[option.type] ?? null;
}

function typed(option, text) {
  if (text === "") return undefined;
  if (option.type === BOOLEAN) return text === "true";
  if (!NUMBERS.has(option.type)) return text;
  const number = Number(text.replace(",", "."));
  return Number.isFinite(number) ? number : text;
}

/** What an option would hold if it were given these typed words; undefined when it cannot take them. */
export function accepted(option, words, state) {
  if (option.type === ATTACHMENT) return undefined;
  const choices = listed(option, state);
  if (!choices) return words;
  const typed = words.toLowerCase().replace(/^[@#]/, "");
  return choices.find(([value, label]) => [value, label.replace(/^[@#]/, "")].some((one) => one.toLowerCase() === typed))?.[0];
}

/** "page is Start, Parameters or Models": what an option may be, for the one who wrote something else; "" for free text. */
export function choiceWords(option) {
  const names = (option.choices ?? []).map((choice) => choice.name);
  if (!names.length) return "";
  const shown = names.length > MOST_NAMED ? [...names.slice(0, MOST_NAMED), "others"] : names;
  return `${option.name} is ${shown.slice(0, -1).join(", ")}${shown.length > 1 ? " or " : ""}${shown.at(-1)}`;
}

function filePicker(option, onChange) {
  let file = null;
  const name = el("span", {}, "choose a file");
  const input = el("input", { type: "file", class: "visually-hidden", "aria-label": option.name });
  const set = (picked) => {
    file = picked;
    name.textContent = file?.name ?? "choose a file";
    onChange();
  };
  input.addEventListener("change", () => set(input.files[0] ?? null));
  const control = el("label", { class: "file-pick" }, icon("file"), name, input);
  return { control, focus: () => input.focus(), read: async () => (file ? readFile(file) : undefined), set, empty: () => !file };
}

function chooser(option, choices) {
  const select = el("select", { "aria-label": option.name }, el("option", { value: "" }, "–"), choices.map(([value, label]) => el("option", { value }, label)));
  return { control: select, focus: () => select.focus(), read: async () => typed(option, select.value), set: (text) => (select.value = text), empty: () => !select.value };
}

function writer(option, ask) {
  const input = el("input", { type: "text", autocomplete: "off", spellcheck: false, "aria-label": option.name, placeholder: option.description ?? "", inputMode: NUMBERS.has(option.type) ? "decimal" : undefined });
  const suggestions = option.autocomplete ? new Suggestions(input, (value) => ask(option, value)) : null;
  const value = () => typed(option, suggestions?.value() ?? input.value.trim());
  return { control: suggestions ? suggestions.element : input, focus: () => input.focus(), read: async () => value(), set: (text) => (input.value = text), empty: () => !input.value };
}

/** A field: `{element, option, read() -> value or undefined, set(text or File), empty(), focus()}`. */
export function createField(option, { state, ask, remove, onChange }) {
  const choices = listed(option, state);
  const made = option.type === ATTACHMENT ? filePicker(option, onChange) : choices ? chooser(option, choices) : writer(option, ask);
  const drop = !option.required && el("button", { type: "button", class: "icon-button tiny", "aria-label": `Remove ${option.name}`, on: { click: () => remove(option) } }, icon("close"));
  const element = el("div", { class: "option", title: option.description, data: { option: option.name } }, el("span", { class: "option-name", "aria-hidden": "true" }, option.name), made.control, drop);
  return { element, option, read: made.read, set: made.set, empty: made.empty, focus: made.focus };
}
