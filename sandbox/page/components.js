// Draws a message's components: rows, buttons, selects, and layouts (Components V2).
// What a press does is told by `press(component, values)`; this file knows nothing of interactions.
import { el, icon } from "./dom.js";
import { rich, safeLink } from "./rich_text.js";
import { colour } from "./embeds.js";
import { isPicture, local } from "./attachments.js";
import { openLightbox } from "./lightbox.js";
import { choiceBoxes } from "./choice_boxes.js";
import { choicesOf } from "./select_choices.js";
import { covered } from "./spoiler.js";
import { signIcon } from "./emoji_icons.js";

const STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link" };

const emojiText = (emoji) => emoji && (signIcon(emoji.name) ?? el("span", { class: "emoji", "aria-hidden": emoji.id ? undefined : "true" }, emoji.id ? `:${emoji.name}:` : emoji.name));

function button(data, context) {
  const inside = [emojiText(data.emoji), data.label && (signIcon(data.label) ?? el("span", {}, data.label))];
  const style = `button ${STYLES[data.style] ?? "secondary"}`;
  const label = data.label ? (signIcon(data.label) && data.label) : data.emoji?.name;
  if (data.style === 5) {
    const link = safeLink(data.url ?? "", [inside, icon("link")]);
    link.className = style;
    return link;
  }
  const node = el("button", { type: "button", class: style, disabled: data.disabled, "aria-label": label, title: label, data: { customId: data.custom_id } }, inside);
  node.addEventListener("click", () => context.press(data, undefined, node));
  return node;
}

function selectMany(data, options, context) {
  const boxes = choiceBoxes(options, { least: data.min_values ?? 1, most: data.max_values, disabled: data.disabled, title: data.placeholder || "Choose" });
  const apply = el("button", { type: "button", class: "button secondary", data: { customId: data.custom_id }, on: { click: async () => {
    // An unanswered choice can be made again.
    if (!(await context.press(data, boxes.values(), apply))) boxes.reset();
  } } }, "Apply");
  boxes.onChange = () => (apply.disabled = Boolean(data.disabled) || !boxes.valid());
  boxes.onChange();
  boxes.element.append(apply);
  return boxes.element;
}

function select(data, context) {
  const options = choicesOf(data, context.world());
  if ((data.max_values ?? 1) > 1) return selectMany(data, options, context);
  const node = el("select", { class: "select", disabled: data.disabled, "aria-label": data.placeholder || "Choose", data: { customId: data.custom_id } });
  node.append(el("option", { value: "", disabled: data.min_values !== 0, defaultSelected: !options.some((option) => option.default) }, data.placeholder || "Choose one"));
  for (const option of options) {
    const words = [option.emoji?.id ? "" : option.emoji?.name, option.label, option.description && `– ${option.description}`].filter(Boolean).join(" ");
    node.append(el("option", { value: option.value, defaultSelected: option.default }, words));
  }
  const send = async () => {
    const answered = await context.press(data, [...node.selectedOptions].map((option) => option.value).filter(Boolean), node);
    // An unanswered choice can be made again.
    if (!answered) for (const option of node.options) option.selected = option.defaultSelected;
  };
  node.addEventListener("change", send);
  return node;
}

function section(data, context) {
  const accessory = data.accessory?.type === 11 ? thumbnail(data.accessory) : component(data.accessory ?? {}, context);
  return el("div", { class: "v2-section" }, el("div", { class: "v2-texts" }, each(data.components, context)), accessory);
}

function media(item, className) {
  const file = { ...item.media, filename: item.description || (item.media?.url ?? "").split("/").pop().split("?")[0], description: item.description };
  const image = el("img", { src: local(file.proxy_url || file.url), alt: item.description || "", loading: "lazy" });
  const button = el("button", { type: "button", class: className, "aria-label": `Open ${file.filename || "picture"}`, on: { click: () => openLightbox([file], 0) } }, image);
  return item.spoiler ? covered(button) : button;
}

const thumbnail = (data) => media(data, "v2-thumbnail");

function gallery(data) {
  return el("div", { class: "v2-gallery", data: { count: data.items?.length ?? 0 } }, (data.items ?? []).map((item) => media(item, "v2-picture")));
}

function fileLink(data) {
  const name = data.name || (data.file?.url ?? "").split("/").pop().split("?")[0];
  if (isPicture({ filename: name })) return media({ media: data.file, description: name, spoiler: data.spoiler }, "v2-picture");
  const link = el("a", { class: "file-card", href: local(data.file?.url), download: name }, icon("file"), el("span", { class: "file-name" }, name));
  return data.spoiler ? covered(link) : link;
}

function container(data, context) {
  const node = el("div", { class: "v2-container", vars: Number.isInteger(data.accent_color) ? { "--edge": colour(data.accent_color) } : {} }, each(data.components, context));
  return data.spoiler ? covered(node) : node;
}

function component(data, context) {
  switch (data.type) {
    case 1: return el("div", { class: "row" }, each(data.components, context));
    case 2: return button(data, context);
    case 3: case 5: case 6: case 7: case 8: return select(data, context);
    case 9: return section(data, context);
    case 10: return el("div", { class: "v2-text" }, rich(data.content, context.names));
    case 11: return thumbnail(data);
    case 12: return gallery(data);
    case 13: return fileLink(data);
    case 14: return el("hr", { class: `v2-line ${data.divider === false ? "bare" : ""} ${data.spacing === 2 ? "wide" : ""}` });
    case 17: return container(data, context);
    default: return null;
  }
}

const each = (list, context) => (list ?? []).map((data) => component(data, context));

/** The components of one message as elements. */
export const components = (list, context) => each(list, context);
