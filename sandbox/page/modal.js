// Shows a bot's form and reads it back. Knows fields, not what they are for.
import { el, byId, icon } from "./dom.js";
import { rich } from "./rich_text.js";
import { choiceBoxes } from "./choice_boxes.js";
import { choicesOf } from "./select_choices.js";
import { readFiles } from "./picked_files.js";

const PARAGRAPH = 2;
let count = 0;
let leave = () => {};

function text(data, id) {
  const limits = { id, required: data.required !== false, placeholder: data.placeholder ?? "", value: data.value ?? "" };
  const input = data.style === PARAGRAPH ? el("textarea", { ...limits, rows: 5 }) : el("input", { ...limits, type: "text", autocomplete: "off" });
  if (data.min_length) input.minLength = data.min_length;
  if (data.max_length) input.maxLength = data.max_length;
  return [input, () => input.value];
}

function several(options, data, id) {
  const most = data.max_values ?? options.length;
  const boxes = choiceBoxes(options, { least: data.required === false ? 0 : Math.max(data.min_values ?? 1, 1), most });
  boxes.element.id = id;
  return [boxes.element, boxes.values];
}

function select(data, id, world) {
  if ((data.max_values ?? 1) > 1) return several(choicesOf(data, world), data, id);
  const node = el("select", { id, required: data.required !== false });
  node.append(el("option", { value: "" }, data.placeholder || "Choose one"));
  for (const option of choicesOf(data, world)) node.append(el("option", { value: option.value, selected: option.default }, option.description ? `${option.label} – ${option.description}` : option.label));
  return [node, () => [node.value].filter(Boolean)];
}

function upload(data, id) {
  const [least, most] = [data.required === false ? 0 : Math.max(data.min_values ?? 1, 1), data.max_values ?? 1];
  const node = el("input", { id, type: "file", multiple: most > 1, required: least > 0 });
  node.addEventListener("change", () => {
    const count = node.files.length;
    node.setCustomValidity(count > most || (count && count < least) ? `Please choose ${least === most ? most : `${least} to ${most}`} files.` : "");
  });
  return [node, () => readFiles(node.files)];
}

function radio(data, id) {
  const boxes = (data.options ?? []).map((option) => el("input", { type: "radio", name: `${id}-choice`, value: option.value, checked: option.default, required: data.required !== false }));
  const text = (option) => el("span", {}, option.label, option.description && el("small", {}, option.description));
  const node = el("div", { id, class: "choice-boxes", role: "radiogroup" }, boxes.map((box, index) => el("label", {}, box, text(data.options[index]))));
  return [node, () => boxes.filter((box) => box.checked).map((box) => box.value)];
}

function tick(data, id) {
  const box = el("input", { id, type: "checkbox", checked: data.default });
  return [box, () => box.checked];
}

/** Text (4), selects (3, 5–8), words alone (10), uploads (19), radio (21), check boxes (22, 23). */
function field(data, world, names) {
  const id = `field-${++count}`;
  if (data.type === 10) return { element: el("div", { class: "form-text" }, rich(data.content, names)) };
  const makers = { 4: text, 19: upload, 21: radio, 22: (d, i) => several(d.options ?? [], d, i), 23: tick };
  const [input, read] = (makers[data.type] ?? select)(data, id, world);
  const optional = data.required === false && data.type !== 23;
  // A group of boxes is no field that a label may be for.
  const group = input.matches("fieldset, [role=radiogroup]");
  if (group) input.setAttribute("aria-label", data.label ?? "");
  const label = el(group ? "p" : "label", group ? { class: "form-label" } : { htmlFor: id }, data.label ?? data.placeholder ?? "", optional && el("span", { class: "optional" }, " optional"));
  const hint = data.description && el("p", { class: "hint", id: `${id}-hint` }, data.description);
  if (hint) input.setAttribute("aria-describedby", hint.id);
  return { element: el("div", { class: "form-field" }, label, hint, input), key: data.custom_id, read };
}

/** Opens the form; `submit(values)` says whether it was taken, `dismiss()` is called when it is closed without. */
export function openModal(modal, { world, names, submit, dismiss }) {
  const dialog = byId("modal");
  // A form that another one pushes aside is dismissed; its "close" event comes when the new one is open already.
  leave();
  if (dialog.open) dialog.close();
  const fields = modal.fields.map((data) => field(data, world(), names));
  let sent = false;
  const send = el("button", { type: "submit", class: "button primary" }, "Submit");
  const cancel = el("button", { type: "button", class: "button secondary", on: { click: () => dialog.close() } }, "Cancel");
  const close = el("button", { type: "button", class: "icon-button", "aria-label": "Close the form", on: { click: () => dialog.close() } }, icon("close"));
  const form = el("form", {}, el("header", {}, el("h2", { id: "modal-title" }, modal.title), close), el("div", { class: "form-fields" }, fields.map((one) => one.element)), el("footer", {}, cancel, send));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    const values = {};
    for (const one of fields) if (one.read) values[one.key] = await one.read();
    sent = await submit(values);
    send.disabled = false;
    if (sent && form.isConnected) dialog.close();
  });
  leave = () => {
    leave = () => {};
    if (!sent) dismiss();
  };
  dialog.onclose = () => dialog.open || leave();
  dialog.replaceChildren(form);
  dialog.setAttribute("aria-labelledby", "modal-title");
  dialog.showModal();
  form.querySelector(".form-fields :is(input, textarea, select)")?.focus();
}
