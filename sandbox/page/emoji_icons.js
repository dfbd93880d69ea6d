// Signs that some fonts lack or draw loudly, drawn as icons of ours; what is read aloud stays the sign.
import { el, icon } from "./dom.js";

const DRAWN = { "🔄": "turn", "🔁": "turn", "ⓘ": "info", "ℹ️": "info", "ℹ": "info" };
const SIGNS = new RegExp(`(${Object.keys(DRAWN).join("|")})`, "u");

/** The icon that stands for a sign, or null when it needs none. */
export const signIcon = (sign) => (Object.hasOwn(DRAWN, sign ?? "") ? icon(DRAWN[sign]) : null);

/** A text as a list of strings and drawn signs; one string when it holds none. */
export const withSigns = (text) => text.split(SIGNS).map((part) => (Object.hasOwn(DRAWN, part) ? el("span", { class: "sign-drawn", role: "img", "aria-label": part }, signIcon(part)) : part));
