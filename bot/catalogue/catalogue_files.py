"""Reads what the catalogue is made of: models.toml here, the owner's own, and the place that DARKROOM_MODEL names."""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.catalogue import checkpoint_files
from bot.config import ROOT, Config, value_parsers
from core.catalogue import POSTCARD, SD15, Model, name_of
from core.catalogue_file import Document, Entries
from core.errors import ConfigError
from core.spelling import nearest

SHIPPED = ROOT / "models.toml"
_PLACES = ("where", "vae", "adapter", "upscaler", "classifier")


def documents(config: Config) -> list[Document]:
    """The shipped catalogue, then the owner's, where there is one. Raises ConfigError."""
    own = config.catalogue or config.data / "models.toml"
    if config.catalogue is not None and not own.is_file():
        raise ConfigError(f"DARKROOM_CATALOGUE is “{own}”, but there is no such file. Correct it, or leave it empty.")
    return [_document(path) for path in (SHIPPED, own) if path == SHIPPED or path.is_file()]


def names_in(found: Iterable[Document]) -> frozenset[str]:
    """What the models of these documents are called."""
    tables = [table for document in found for table in _tables(document.data, "model")]
    return frozenset(name_of(str(table.get("name", ""))) for table in tables)


def default_of(config: Config, entries: Entries) -> Model:
    """The model that DARKROOM_MODEL names: in the catalogue, in the models folder, or a place. Raises ConfigError."""
    name, folder = name_of(config.model), config.data / "models"
    if "/" in config.model:
        return expected(config.model)
    if name in entries.models:
        return entries.models[name]
    dropped = {name_of(place.name): place for place in _inside(folder) if not place.name.startswith(".")}
    return expected(str(dropped.get(name, config.model)), known={*entries.models, *dropped})


def _inside(folder: Path) -> list[Path]:
    # Of two with one name the first one counts, so it comes last.
    return sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []


def expected(setting: str, known: Collection[str] = ()) -> Model:
    """The model at a place that DARKROOM_MODEL may name, as far as its files tell.

    A place that is not absolute starts at the program. Raises ConfigError; it names the one of `known` that is near.
    """
    if setting == POSTCARD.name:
        return replace(POSTCARD, path=str(ROOT / POSTCARD.path))
    path = ROOT / value_parsers.expanded("DARKROOM_MODEL", setting)
    if path.exists():
        try:
            return checkpoint_files.model_at(path)
        except checkpoint_files.Unusable as error:
            raise ConfigError(f"DARKROOM_MODEL is “{setting}”: {error}") from None
    if setting.startswith((".", "/", "~")) or setting.count("/") != 1:
        raise ConfigError(_no_model(setting, nearest(name_of(setting), known) if "/" not in setting else None))
    return replace(SD15, name=name_of(setting), path=setting)


def _no_model(setting: str, near: str | None) -> str:
    if near:
        return f"DARKROOM_MODEL is “{setting}”, but there is no such model. Did you mean {near}?"
    return (
        f"DARKROOM_MODEL is “{setting}”, but there is no such folder. It has to be a name in the catalogue "
        "(python bot.py models list), a folder in diffusers' format, a .safetensors file, or a hub id such as "
        "owner/name."
    )


def _tables(data: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    found = data.get(kind, [])
    return [table for table in found if isinstance(table, Mapping)] if isinstance(found, list) else []


def _document(path: Path) -> Document:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no {path}. Clone the whole repository again.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Correct it; docs/models.md shows the format.") from None
    for table in (*_tables(data, "model"), *_tables(data, "lora")):
        for place in (str(table.get(key, "")) for key in _PLACES):
            value_parsers.expanded(f"A place in {path}", place)
    return Document(name=str(path), folder=str(path.parent.absolute()), data=data)
