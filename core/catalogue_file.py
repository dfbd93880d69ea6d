"""Reads models.toml, already parsed, into models and LoRAs, or says which entry and key are wrong and what is right.

Pure: knows the keys and their ranges; opens no file and does not look whether what an entry names is there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.catalogue import FAMILIES, POSTCARD, SAMPLERS, LoraFile, Model, Style, name_of
from core.errors import ConfigError
from core.parameters import MAX_STEPS
from core.spelling import nearest

#: Sides that any model may have, in pixels.
_SIDES = (64, 8192)
_MOST_GB = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One models.toml: what it is called in complaints, the folder that `./` stands for in it, its content."""

    name: str
    folder: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What the documents say together, by name."""

    models: Mapping[str, Model]
    loras: Mapping[str, LoraFile]


def read(documents: Iterable[Document]) -> Entries:
    """All entries; a later document adds to the keys of an earlier one's entry of the same name. Raises ConfigError."""
    models: dict[str, dict[str, Any]] = {}
    loras: dict[str, LoraFile] = {}
    for document in documents:
        wrong = _strange(document.data, ("model", "lora"))
        if wrong:
            raise ConfigError(f"{document.name}: {wrong}")
        for name, values in _tables(document, "model", _MODEL):
            before = models.get(name, {})
            style = {**before.get("style", {}), **values.get("style", {})}
            models[name] = {**before, **values, **({"style": style} if style else {})}
        for name, values in _tables(document, "lora", _LORA):
            loras[name] = LoraFile(name=name, path=values["where"])
    return Entries(models={name: _model(name, values) for name, values in models.items()}, loras=loras)


def is_path(where: str) -> bool:
    """Whether a place is one on this machine, and not one on the hub."""
    return where.startswith(("/", "./", "../", "~"))


def hub_id(where: str) -> tuple[str, str]:
    """(`owner/name`, file or empty) of a place on the hub. Raises ValueError for what is none."""
    owner, name, *file = where.split("/")
    if not owner or not name or is_path(where):
        raise ValueError(where)
    return f"{owner}/{name}", "/".join(file)


# --- the keys -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Key:
    """How a value is read, and what it must be, as words behind "it must be"."""

    read: Callable[[Any], Any]
    shown: str


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(value)
    return " ".join(value.split())


def _place(value: Any) -> str:
    text = _text(value)
    if text != POSTCARD.name and not is_path(text):
        hub_id(text)
    return text


def _one_of(words: Iterable[str]) -> _Key:
    allowed = tuple(words)

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(value)
        return str(value)

    return _Key(read, f"one of {', '.join(allowed)}")


def _whole(low: int, high: int) -> _Key:
    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(value)
        return value

    return _Key(read, f"a whole number from {low} to {high}")


def _number(low: float, high: float) -> _Key:
    def read(value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError(value)
        return float(value)

    return _Key(read, f"a number from {low:g} to {high:g}")


def _sizes(value: Any) -> tuple[tuple[int, int], ...]:
    side = _whole(*_SIDES).read
    if not isinstance(value, list) or not value:
        raise ValueError(value)
    return tuple((side(width), side(height)) for width, height in value)


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(value)
    return value


_WORDS = _Key(_text, "words in quotation marks")
_PLACE = _Key(
    _place, "postcard, a path that begins with / or ./ or ~, or a name on the hub such as owner/name or owner/name/file"
)
_MODEL: Mapping[str, _Key] = {
    "name": _WORDS,
    "where": _PLACE,
    "file": _WORDS,
    "family": _one_of(FAMILIES),
    "size": _whole(*_SIDES),
    "sizes": _Key(_sizes, "a list of pairs such as [[1024, 1024], [1152, 896]]"),
    "steps": _whole(1, MAX_STEPS),
    "sampler": _one_of(SAMPLERS),
    "guidance": _number(0, 30),
    "memory": _number(0, _MOST_GB),
    "licence": _WORDS,
    "licence_url": _WORDS,
    "about": _WORDS,
    "recommended": _whole(0, _MOST_GB),
    "vae": _PLACE,
    "adapter": _PLACE,
    "upscaler": _PLACE,
    "classifier": _PLACE,
    "style": _Key(_table, "a table, [model.style]"),
}
_STYLE: Mapping[str, _Key] = {
    "positive": _WORDS,
    "negative": _WORDS,
    "guidance": _number(0, 30),
    "lora": _WORDS,
    "weight": _number(-2, 2),
}
_LORA: Mapping[str, _Key] = {"name": _WORDS, "where": _PLACE}
_PLACES = ("where", "vae", "adapter", "upscaler", "classifier")


# --- reading --------------------------------------------------------------------------------------------------------


def _tables(document: Document, kind: str, keys: Mapping[str, _Key]) -> Iterable[tuple[str, dict[str, Any]]]:
    """(name, read values) of each `[[kind]]`. Raises ConfigError."""
    tables = document.data.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{document.name}: write each {kind} as [[{kind}]], with two brackets.")
    names: set[str] = set()
    for place, table in enumerate(tables, 1):
        where = f"{document.name}, {kind} {place}"
        if not isinstance(table.get("name"), str) or not table["name"].strip():
            raise ConfigError(f'{where} has no name. Give it one, such as name = "mine".')
        name = name_of(table["name"])
        where = f"{document.name}, {kind} “{name}”"
        if name in names:
            raise ConfigError(f"{where} appears twice. Give one of them another name.")
        names.add(name)
        values = _values(where, table, keys)
        if "style" in values:
            values["style"] = _values(f"{where}, style", values["style"], _STYLE)
        if kind == "lora" and "where" not in values:
            raise ConfigError(f'{where} does not say where its file is. Add where = "./loras/{name}.safetensors".')
        for key in _PLACES:
            if str(values.get(key, "")).startswith(("./", "../")):
                values[key] = f"{document.folder}/{values[key].removeprefix('./')}"
        yield name, values


def _values(where: str, table: Mapping[str, Any], keys: Mapping[str, _Key]) -> dict[str, Any]:
    if wrong := _strange(table, keys):
        raise ConfigError(f"{where}: {wrong}")
    read: dict[str, Any] = {}
    for key, value in table.items():
        try:
            read[key] = keys[key].read(value)
        except (ValueError, TypeError):
            shown = f"“{value}”" if isinstance(value, str) else value
            raise ConfigError(f"{where}: {key} is {shown}; it must be {keys[key].shown}.") from None
    return read


def _strange(table: Mapping[str, Any], keys: Iterable[str]) -> str:
    """What is wrong about a key that nobody knows; empty when there is none."""
    allowed = tuple(keys)
    for key in table:
        if key not in allowed:
            near = nearest(key, allowed)
            cure = f"Did you mean {near}?" if near else f"Use one of {', '.join(allowed)}."
            return f"there is no key {key}. {cure}"
    return ""


def _model(name: str, values: Mapping[str, Any]) -> Model:
    if "where" not in values:
        raise ConfigError(
            f"The catalogue's model “{name}” does not say where it is. "
            "Set where to a path that begins with / or ./, or to owner/name."
        )
    base = POSTCARD if values["where"] == POSTCARD.name else FAMILIES[values.get("family", "sd")]
    native = values.get("size", base.native)
    if native != base.native:
        base = replace(base, native=native, min_side=max(base.multiple, native // 2), max_side=native * 2, sizes=())
    where, file = values["where"], values.get("file", "")
    if not file and where != POSTCARD.name and not is_path(where):
        where, file = hub_id(where)
    sampler = values.get("sampler", base.sampler)
    if sampler not in base.samplers:
        raise ConfigError(
            f"The catalogue's model “{name}” has the sampler {sampler}, which its family {base.family} cannot use. "
            f"It must be one of {', '.join(base.samplers)}."
        )
    renamed = {"size": "native"} | {key: key for key in ("family", "sizes", "steps", "guidance", "sampler")}
    plain = ("licence", "licence_url", "about", "vae", "adapter", "upscaler", "classifier")
    sizes = values.get("sizes", base.sizes)
    sides = [side for size in values.get("sizes", ()) for side in size] or [base.min_side, base.max_side]
    return replace(
        base,
        name=name,
        path=where,
        file=file,
        sizes=sizes,
        steps=values.get("steps", base.steps),
        guidance=values.get("guidance", base.guidance),
        sampler=sampler,
        min_side=min(sides),
        max_side=max(sides),
        memory_mb=round(values.get("memory", 0) * 1024),
        recommended_gb=values.get("recommended", 0),
        style=Style(**values["style"]) if values.get("style") else None,
        fixed=tuple(field for key, field in renamed.items() if key in values),
        **{key: values.get(key, "") for key in plain},
    )
