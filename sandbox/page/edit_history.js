// Shows the earlier versions of an edited message. Asks the sandbox for them when wanted.
import { el } from "./dom.js";
import { openPopover } from "./popover.js";
import { plain } from "./rich_text.js";
import { isPicture, local } from "./attachments.js";
import { formatted } from "./time.js";

function version(entry, names) {
  const pictures = (entry.attachments ?? []).filter(isPicture).slice(0, 4);
  return el("li", {}, el("time", {}, formatted(entry.at_ms, "T")), el("p", {}, plain(entry.content, names) || "(no text)"),
    pictures.length ? el("div", { class: "history-pictures" }, pictures.map((file) => el("img", { src: local(file.url), alt: file.filename ?? "", loading: "lazy" }))) : null,
    entry.components?.length ? el("small", {}, "with buttons") : null);
}

export async function showHistory(anchor, message, names, fetchMessage) {
  const full = (await fetchMessage(message.id)) ?? message;
  // The last entry is what stands there now.
  const list = (full.history ?? []).slice(0, -1).map((entry) => version(entry, names));
  openPopover(anchor, el("section", { class: "history", tabIndex: 0, "aria-label": "Earlier versions" }, el("h2", {}, "Earlier versions"), list.length ? el("ol", {}, list) : el("p", {}, "The sandbox kept none.")));
}
