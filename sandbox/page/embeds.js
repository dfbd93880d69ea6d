// Draws embeds. Texts are markdown, pictures only from the sandbox's own files.
import { el } from "./dom.js";
import { rich, richLine, safeLink } from "./rich_text.js";
import { local } from "./attachments.js";
import { openLightbox } from "./lightbox.js";

export const colour = (number) => (Number.isInteger(number) ? `#${number.toString(16).padStart(6, "0")}` : undefined);

function picture(media, kind) {
  if (!media?.url) return null;
  const image = el("img", { src: local(media.proxy_url || media.url), alt: "", loading: "lazy", width: media.width, height: media.height });
  const open = () => openLightbox([{ url: media.proxy_url || media.url, filename: media.url.split("/").pop().split("?")[0] }], 0);
  return el("button", { type: "button", class: `embed-${kind}`, "aria-label": "Open the picture", on: { click: open } }, image);
}

function field(item, names) {
  return el("div", { class: item.inline ? "field inline" : "field" },
    el("p", { class: "field-name" }, richLine(item.name, names)), el("div", { class: "field-value" }, rich(item.value, names)));
}

export function embed(data, names) {
  const title = data.title && el("p", { class: "embed-title" }, data.url ? safeLink(data.url, richLine(data.title, names)) : richLine(data.title, names));
  const foot = [data.footer?.text, data.timestamp && new Date(data.timestamp).toLocaleString("en-GB")].filter(Boolean).join(" · ");
  return el("article", { class: "embed", vars: data.color ? { "--edge": colour(data.color) } : {} },
    picture(data.thumbnail, "thumbnail"),
    data.author?.name && el("p", { class: "embed-author" }, data.author.url ? safeLink(data.author.url, data.author.name) : data.author.name),
    title,
    data.description && el("div", { class: "embed-text" }, rich(data.description, names)),
    data.fields?.length ? el("div", { class: "fields" }, data.fields.map((item) => field(item, names))) : null,
    picture(data.image, "image"),
    foot && el("p", { class: "embed-foot" }, foot));
}
