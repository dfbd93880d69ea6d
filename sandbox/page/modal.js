// Shows a bot's form and reads it back. Knows fields, not what they are for.
import { el, byId, icon } from "./dom.js";
import { rich } from "./rich_text.js";
import { choicesOf } from "./select_choices.js";
import { readFiles } from "./picked_files.js";

const PARAGRAPH = 2;
let count = 0;
let leave = () => {};

/** Text inputs (4), selects (3, 5–8), uploads (19), radio (21), check boxes (22, 23), flattened out of rows and labels. */
function flatten(parts) {
  return (parts ?? []).flatMap((part) => {
    if (part.type === 1 || part.type === 17) return flatten(part.components);
    if (part.type === 18) return [{ ...part.component, label: part.label ?? part.component?.label, description: part.description }];
    return [part];
  });
}

function text(data, id) {
  const limits = { id, required: data.required !== false, placeholder: data.placeholder ?? "", value: data.value ?? "" };
  const input = data.style === PARAGRAPH ? el("textarea", { ...limits, rows: 5 }) : el("input", { ...limits, type: "text", autocomplete: "off" });
  if (data.min_length) input.minLength = data.min_length;
  if (data.max_length) input.maxLength = data.max_length;
  return [input, () => input.value];
}

function select(data, id, world) {
  const many = (data.max_values ?? 1) > 1;
  const node = el("select", { id, multiple: many, required: data.required !== false });
  if (!many) node.append(el("option", { value: "" }, data.placeholder || "Choose one"));
  for (const option of choicesOf(data, world)) node.append(el("option", { value: option.value, selected: option.default }, option.description ? `${option.label} – ${option.description}` : option.label));
  return [node, () => [...node.selectedOptions].map((option) => option.value).filter(Boolean)];
}

function upload(data, id) {
  const node = el("input", { id, type: "file", multiple: (data.max_values ?? 1) > 1, required: data.required !== false && (data.min_values ?? 1) > 0 });
  return [node, () => readFiles(node.files)];
}

function ticks(data, id, type) {
  const name = `${id}-choice`;
  const boxes = (data.options ?? []).map((option) => el("input", { type, name, value: option.value, checked: option.default, required: type === "radio" && data.required !== false }));
  const node = el("div", { id, class: "ticks", role: "group" }, boxes.map((box, index) => el("label", {}, box, el("span", {}, data.options[index].label))));
  return [node, () => boxes.filter((box) => box.checked).map((box) => box.value)];
}

function tick(data, id) {
  const box = el("input", { id, type: "checkbox", checked: data.default ?? data.value });
  return [box, () => box.checked];
}

function field(data, world) {
  const id = `field-${++count}`;
  if (data.type === 10) return { element: el("div", { class: "form-text" }, rich(data.content, world.names ?? {})) };
  const makers = { 4: text, 19: upload, 21: (d, i) => ticks(d, i, "radio"), 22: (d, i) => ticks(d, i, "checkbox"), 23: tick };
  const [input, read] = (makers[data.type] ?? select)(data, id, world);
  const optional = data.required === false && data.type !== 23;
  const label = el("label", { htmlFor: id }, data.label ?? data.placeholder ?? "", optional && el("span", { class: "optional" }, " optional"));
  const hint = data.description && el("p", { class: "hint", id: `${id}-hint` }, data.description);
  if (hint) input.setAttribute("aria-describedby", hint.id);
  return { element: el("div", { class: "form-field" }, label, hint, input), key: data.custom_id, read };
}

/** Opens the form; `submit(values)` says whether it was taken, `dismiss()` is called when it is closed without. */
export function openModal(modal, { world, submit, dismiss }) {
  const dialog = byId("modal");
  // A form that another one pushes aside is dismissed; its "close" event comes when the new one is open already.
  leave();
  if (dialog.open) dialog.close();
  const fields = flatten(modal.components ?? modal.fields).map((data) => field(data, world()));
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
