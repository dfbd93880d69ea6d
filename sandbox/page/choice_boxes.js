// Tick boxes for a choice of several: says how many may be chosen, and keeps to it. Knows not what is chosen.
import { el } from "./dom.js";

const LETTERS = 3;

const words = (least, most) => (least === most ? `choose ${most}` : least ? `choose ${least} to ${most}` : `choose up to ${most}`);

// Names of areas, sizes, numbers: they stand in a square, as what they name does.
const isShort = (option) => option.label.length <= LETTERS && !option.description && !option.emoji;

/** `{element, values(), valid(), reset(), onChange}` for options of `{value, label, description?, emoji?, default?}`. */
export function choiceBoxes(options, { least, most, disabled = false, title = "" }) {
  const boxes = options.map((option) => el("input", { type: "checkbox", value: option.value, checked: option.default, defaultChecked: option.default }));
  const chosen = () => boxes.filter((box) => box.checked);
  const text = (option) => el("span", {}, option.emoji && !option.emoji.id ? `${option.emoji.name} ` : null, option.label, option.description && el("small", {}, option.description));
  const element = el("fieldset", { class: "choices", disabled },
    el("legend", {}, title, el("small", {}, words(least, Math.min(most, options.length)))),
    el("div", { class: options.every(isShort) ? "choice-boxes short" : "choice-boxes" }, options.map((option, index) => el("label", {}, boxes[index], text(option)))));
  const found = { element, values: () => chosen().map((box) => box.value), valid: () => chosen().length >= least && chosen().length <= most, onChange: () => {} };
  const check = () => {
    const full = chosen().length >= most;
    for (const box of boxes) box.disabled = full && !box.checked;
    boxes[0]?.setCustomValidity(found.valid() ? "" : `Please ${words(least, most)}.`);
    found.onChange();
  };
  found.reset = () => {
    for (const box of boxes) box.checked = box.defaultChecked;
    check();
  };
  element.addEventListener("change", check);
  check();
  return found;
}
