"""Rules for a message's body: text, embeds, flags, mentions, layouts. Pure."""

from typing import Any

from sandbox.errors import refuse
from sandbox.messages import EPHEMERAL, SILENT, SUPPRESS_EMBEDS, V2
from sandbox.validate.components import check_components
from sandbox.validate.problems import Path, Problems
from sandbox.value_types import Json

WEB = ("http://", "https://")
FILES = (*WEB, "attachment://")
EMBED_TEXTS = (("title", 256), ("description", 4096))


def check_message(body: Any, files: int, *, flags: int, prefix: Path = (), existing: Json | None = None) -> None:
    """Refuse a body that Discord would refuse. `existing` is what an edit changes; `flags` are those after it."""
    if not isinstance(body, dict):
        raise refuse("invalid_json")
    problems = Problems()
    v2 = bool(flags & V2)
    problems.text((*prefix, "content"), body.get("content"), 2000)
    _embeds(problems, (*prefix, "embeds"), body.get("embeds"))
    _attachments(problems, (*prefix, "attachments"), body.get("attachments"), files)
    check_components(problems, body.get("components"), v2=v2, path=(*prefix, "components"))
    _mentions(problems, (*prefix, "allowed_mentions"), body.get("allowed_mentions"))
    if v2:
        for name in ("content", "embeds"):
            left = body[name] if name in body else (existing or {}).get(name)
            if left:
                words = f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
                problems.add((*prefix, name), "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", words)
    problems.text((*prefix, "nonce"), str(body["nonce"]) if body.get("nonce") is not None else None, 25)
    problems.raise_if_any()


def is_empty(content: Any, embeds: Any, attachments: Any, components: Any, *, v2: bool) -> bool:
    """Whether nothing would be seen. Old components alone are not a message."""
    return not (content and content.strip()) and not embeds and not attachments and not (components and v2)


def flags_of(body: Json, *, interaction: bool, before: int | None = None) -> int:
    """The flags after a request; `before` are those of the message that it edits. V2 and ephemeral never go away."""
    wanted = int(body.get("flags") or 0)
    if before is None:
        return wanted & (SUPPRESS_EMBEDS | V2 | SILENT | (EPHEMERAL if interaction else 0))
    if "flags" not in body:
        return before
    return (before & ~SUPPRESS_EMBEDS) | (wanted & (SUPPRESS_EMBEDS | V2))


def _attachments(problems: Problems, path: Path, value: Any, files: int) -> None:
    if value is not None and problems.count(path, value, 10):
        for place, item in enumerate(value):
            if not isinstance(item, dict) or not str(item.get("id", "")).isdigit():
                problems.required((*path, place, "id"))
            else:
                problems.text((*path, place, "description"), item.get("description"), 1024)
                problems.text((*path, place, "filename"), item.get("filename"), 1024)
    if files > 10:
        problems.add(path, "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")


def _mentions(problems: Problems, path: Path, value: Any) -> None:
    if not isinstance(value, dict):
        return
    parse = value.get("parse") or []
    for place, name in enumerate(parse):
        if name not in ("users", "roles", "everyone"):
            problems.add(
                (*path, "parse", place), "BASE_TYPE_CHOICES", "Value must be one of ('roles', 'users', 'everyone')."
            )
    for name in ("users", "roles"):
        problems.count((*path, name), value.get(name) or [], 100)
        if name in parse and value.get(name):
            words = f'parse:["{name}"] and {name}: [ids...] are mutually exclusive.'
            problems.add(path, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", words)


def _embeds(problems: Problems, path: Path, embeds: Any) -> None:
    if embeds is None or not problems.count(path, embeds, 10):
        return
    total = 0
    for place, embed in enumerate(embeds):
        if isinstance(embed, dict):
            total += _embed(problems, (*path, place), embed)
        else:
            problems.add((*path, place), "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    if total > 6000:
        problems.add(path, "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")


def _embed_links(embed: Json) -> dict[Path, Any]:
    """Every address in an embed by its place: pages first, then pictures, which may be files of the message."""
    parts = {name: embed.get(name) or {} for name in ("author", "footer", "image", "thumbnail")}
    found: dict[Path, Any] = {("url",): embed.get("url"), ("author", "url"): parts["author"].get("url")}
    found |= {(name, "icon_url"): parts[name].get("icon_url") for name in ("author", "footer")}
    return found | {(name, "url"): parts[name].get("url") for name in ("image", "thumbnail")}


def _embed(problems: Problems, path: Path, embed: Json) -> int:
    """Check one embed; the number of its characters."""
    for name, most in EMBED_TEXTS:
        problems.text((*path, name), embed.get(name), most)
    footer, author = embed.get("footer") or {}, embed.get("author") or {}
    problems.text((*path, "footer", "text"), footer.get("text"), 2048)
    problems.text((*path, "author", "name"), author.get("name"), 256)
    problems.number((*path, "color"), embed.get("color"), 0, 0xFFFFFF)
    for place, url in _embed_links(embed).items():
        if url is not None and not (
            isinstance(url, str) and url.startswith(WEB if place in (("url",), ("author", "url")) else FILES)
        ):
            problems.add((*path, *place), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    texts = [embed.get("title"), embed.get("description"), footer.get("text"), author.get("name")]
    fields = embed.get("fields") or []
    if problems.count((*path, "fields"), fields, 25):
        for place, field in enumerate(fields):
            problems.text((*path, "fields", place, "name"), field.get("name"), 256, least=1, required=True)
            problems.text((*path, "fields", place, "value"), field.get("value"), 1024, least=1, required=True)
            texts += [field.get("name"), field.get("value")]
    return sum(len(text) for text in texts if isinstance(text, str))
