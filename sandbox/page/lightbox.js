// Shows one picture of a message large, with the keyboard too. Knows nothing of messages.
import { el, icon, byId } from "./dom.js";
import { local } from "./attachments.js";

/** Opens `files[at]`; arrow keys walk through the others, Escape closes. */
export function openLightbox(files, at) {
  const dialog = byId("lightbox");
  let index = at;
  const image = el("img", { alt: "" });
  const caption = el("span", { class: "caption" });
  const original = el("a", { target: "_blank", rel: "noopener", class: "plain-link" }, icon("link"), "Open the file");

  function show(step) {
    index = (index + step + files.length) % files.length;
    const file = files[index];
    image.src = local(file.url);
    image.alt = file.description || file.filename || "picture";
    original.href = local(file.url);
    const place = files.length > 1 ? ` · ${index + 1} of ${files.length}` : "";
    caption.textContent = `${file.filename ?? ""}${place}`;
  }

  const close = el("button", { type: "button", class: "icon-button", "aria-label": "Close the picture", on: { click: () => dialog.close() } }, icon("close"));
  dialog.onkeydown = (event) => {
    if (event.key === "ArrowRight") show(1);
    if (event.key === "ArrowLeft") show(-1);
  };
  dialog.onclick = (event) => event.target !== image && !event.target.closest("a") && dialog.close();
  dialog.replaceChildren(image, el("footer", {}, caption, original, close));
  show(0);
  dialog.showModal();
  close.focus();
}
