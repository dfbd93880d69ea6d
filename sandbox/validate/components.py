"""Rules for buttons, selects and layouts in messages. Pure: a body in, problems out."""

from typing import Any

from sandbox.validate.emoji import check_emoji
from sandbox.validate.problems import Path, Problems
from sandbox.value_types import Json

ROW, BUTTON, STRING_SELECT, TEXT_INPUT, USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT, SECTION, TEXT = (
    range(1, 11)
)
THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER, LABEL, UPLOAD = 11, 12, 13, 14, 17, 18, 19
SELECTS = (STRING_SELECT, USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT)
LAYOUT = (ROW, SECTION, TEXT, GALLERY, FILE, SEPARATOR, CONTAINER)
LINK, PREMIUM = 5, 6


class Seen:
    """What must be unique or bounded over a whole message."""

    def __init__(self) -> None:
        self.custom_ids: set[str] = set()
        self.count = 0
        self.characters = 0


def check_components(problems: Problems, components: Any, *, v2: bool, path: Path = ("components",)) -> None:
    """A message's components: five rows of the old kind, or a layout of at most forty parts."""
    if components is None or not problems.count(path, components, 40 if v2 else 5):
        return
    seen = Seen()
    for place, part in enumerate(components):
        _part(problems, (*path, place), part, LAYOUT if v2 else (ROW,), seen)
    if v2 and seen.count > 40:
        problems.add(path, "BASE_TYPE_MAX_LENGTH", "The total number of components must be 40 or fewer.")
    if seen.characters > 4000:
        problems.add(path, "BASE_TYPE_MAX_LENGTH", "The total displayable text must be 4000 or fewer in length.")


def _part(problems: Problems, path: Path, part: Any, allowed: tuple[int, ...], seen: Seen) -> None:
    if not isinstance(part, dict) or part.get("type") not in allowed:
        words = f'Value of field "type" must be one of {set(allowed)}.'
        problems.add((*path, "type"), "UNION_TYPE_CHOICES", words)
        return
    seen.count += 1
    kind = part["type"]
    problems.number((*path, "id"), part.get("id"), 0, 2**31 - 1)
    if kind == ROW:
        _row(problems, path, part, seen)
    elif kind == BUTTON:
        _button(problems, path, part, seen)
    elif kind in SELECTS:
        check_select(problems, path, part, seen)
    elif kind == SECTION:
        _section(problems, path, part, seen)
    elif kind == TEXT:
        problems.text((*path, "content"), part.get("content"), 4000, least=1, required=True)
        seen.characters += len(str(part.get("content", "")))
    elif kind == CONTAINER:
        problems.number((*path, "accent_color"), part.get("accent_color"), 0, 0xFFFFFF)
        problems.flag((*path, "spoiler"), part.get("spoiler"))
        _children(problems, path, part, tuple(k for k in LAYOUT if k != CONTAINER), seen, most=40)
    else:
        _media(problems, path, part)


def _children(problems: Problems, path: Path, part: Json, allowed: tuple[int, ...], seen: Seen, *, most: int) -> None:
    children = part.get("components")
    if problems.count((*path, "components"), children, most, least=1):
        for place, child in enumerate(children or []):
            _part(problems, (*path, "components", place), child, allowed, seen)


def _row(problems: Problems, path: Path, part: Json, seen: Seen) -> None:
    _children(problems, path, part, (BUTTON, *SELECTS), seen, most=5)
    children = [child for child in part.get("components") or [] if isinstance(child, dict)]
    if len(children) > 1 and any(child.get("type") in SELECTS for child in children):
        problems.add((*path, "components"), "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "A select fills its row alone.")


def _section(problems: Problems, path: Path, part: Json, seen: Seen) -> None:
    _children(problems, path, part, (TEXT,), seen, most=3)
    _part(problems, (*path, "accessory"), part.get("accessory"), (BUTTON, THUMBNAIL), seen)


def _media(problems: Problems, path: Path, part: Json) -> None:
    kind = part["type"]
    if kind == GALLERY:
        items = part.get("items")
        if problems.count((*path, "items"), items, 10, least=1):
            for place, item in enumerate(items or []):
                _item(problems, (*path, "items", place), item)
    elif kind == THUMBNAIL:
        _item(problems, path, part)
    elif kind == FILE:
        problems.flag((*path, "spoiler"), part.get("spoiler"))
        _link(problems, (*path, "file"), part.get("file"), schemes=("attachment://",))
    elif kind == SEPARATOR:
        problems.flag((*path, "divider"), part.get("divider"))
        if part.get("spacing") not in (None, 1, 2):
            problems.add((*path, "spacing"), "BASE_TYPE_CHOICES", "Value must be one of (1, 2).")


def _item(problems: Problems, path: Path, item: Any) -> None:
    """A picture of a gallery, or a thumbnail."""
    if not isinstance(item, dict):
        problems.add(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return
    problems.text((*path, "description"), item.get("description"), 1024, least=1)
    problems.flag((*path, "spoiler"), item.get("spoiler"))
    _link(problems, (*path, "media"), item.get("media"))


def _link(
    problems: Problems, path: Path, media: Any, *, schemes: tuple[str, ...] = ("attachment://", "http://", "https://")
) -> None:
    url = media.get("url") if isinstance(media, dict) else None
    if not isinstance(url, str) or not url.startswith(schemes):
        problems.add((*path, "url"), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    problems.text((*path, "url"), url if isinstance(url, str) else None, 2048)


def check_custom_id(problems: Problems, path: Path, part: Json, seen: Seen) -> None:
    value = part.get("custom_id")
    problems.text((*path, "custom_id"), value, 100, least=1, required=True)
    if isinstance(value, str):
        if value in seen.custom_ids:
            words = "Component custom id cannot be duplicated"
            problems.add((*path, "custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED", words)
        seen.custom_ids.add(value)


def _button(problems: Problems, path: Path, part: Json, seen: Seen) -> None:
    style = part.get("style")
    if style not in range(1, 7):
        problems.add((*path, "style"), "BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3, 4, 5, 6).")
    problems.text((*path, "label"), part.get("label"), 80)
    problems.flag((*path, "disabled"), part.get("disabled"))
    check_emoji(problems, (*path, "emoji"), part.get("emoji"))
    if style == LINK:
        if part.get("custom_id"):
            problems.add(
                path,
                "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE",
                "A custom id and url cannot both be specified",
            )
        if not str(part.get("url") or "").startswith(("http://", "https://", "discord://")):
            problems.add((*path, "url"), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
        problems.text((*path, "url"), part.get("url"), 512)
    elif style == PREMIUM:
        if not part.get("sku_id"):
            problems.required((*path, "sku_id"))
    else:
        check_custom_id(problems, path, part, seen)
    if style != PREMIUM and not part.get("label") and part.get("emoji") is None:
        problems.add(path, "BUTTON_COMPONENT_INVALID_LABEL_AND_EMOJI", "A button must have a label or an emoji")


def check_select(problems: Problems, path: Path, part: Json, seen: Seen) -> None:
    """A select menu, in a message or under a modal's label."""
    check_custom_id(problems, path, part, seen)
    problems.text((*path, "placeholder"), part.get("placeholder"), 150)
    problems.flag((*path, "disabled"), part.get("disabled"))
    problems.number((*path, "min_values"), part.get("min_values"), 0, 25)
    problems.number((*path, "max_values"), part.get("max_values"), 1, 25)
    least, most = (part.get(name, 1) for name in ("min_values", "max_values"))
    if isinstance(least, int) and isinstance(most, int) and least > most:
        problems.number((*path, "min_values"), least, 0, most)
    if part["type"] != STRING_SELECT:
        _default_values(problems, (*path, "default_values"), part)
        return
    check_options(problems, (*path, "options"), part.get("options"), most=25)
    options = [option for option in part.get("options") or [] if isinstance(option, dict)]
    if isinstance(most, int) and options and most > len(options):
        words = "The max values cannot exceed the number of options"
        problems.add((*path, "max_values"), "SELECT_COMPONENT_MAX_VALUES_EXCEEDS_OPTIONS", words)


#: What the values of a select that names people, roles or channels may be.
NAMED = {
    USER_SELECT: ("user",),
    ROLE_SELECT: ("role",),
    MENTIONABLE_SELECT: ("user", "role"),
    CHANNEL_SELECT: ("channel",),
}


def _default_values(problems: Problems, path: Path, part: Json) -> None:
    values = part.get("default_values")
    if values is None or not problems.count(path, values, 25):
        return
    most = part.get("max_values", 1)
    if isinstance(most, int) and len(values) > most:
        problems.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
    for place, value in enumerate(values):
        if not isinstance(value, dict) or value.get("type") not in NAMED[part["type"]]:
            words = f"Value must be one of {NAMED[part['type']]}."
            problems.add((*path, place, "type"), "BASE_TYPE_CHOICES", words)
        elif not str(value.get("id", "")).isdecimal():
            problems.required((*path, place, "id"))


def check_options(problems: Problems, path: Path, options: Any, *, most: int, least: int = 1) -> None:
    """The options of a select or of a group of choices."""
    if not problems.count(path, options, most, least=least):
        return
    values: set[Any] = set()
    for place, option in enumerate(options):
        here = (*path, place)
        if not isinstance(option, dict):
            problems.add(here, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
            continue
        problems.text((*here, "label"), option.get("label"), 100, least=1, required=True)
        problems.text((*here, "value"), option.get("value"), 100, least=1, required=True)
        problems.text((*here, "description"), option.get("description"), 100)
        problems.flag((*here, "default"), option.get("default"))
        check_emoji(problems, (*here, "emoji"), option.get("emoji"))
        if option.get("value") in values:
            words = "The specified option value is already used"
            problems.add((*here, "value"), "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", words)
        values.add(option.get("value"))
