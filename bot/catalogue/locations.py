"""Finds where a model of the catalogue lies here. Knows the data folder and the hub's cache; fetches nothing.

The cache's layout: `models--owner--name/refs/main` names a commit, `snapshots/<commit>/` holds its files.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bot.catalogue import checkpoint_files, hub_download
from bot.catalogue.hub_download import Origin
from bot.config import ROOT
from core.catalogue import POSTCARD, Model, name_of
from core.catalogue_file import is_path


class State(StrEnum):
    """What is there of a model's files."""

    HERE = "here"
    INCOMPLETE = "incomplete"
    ABSENT = "not downloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a model is, or would be; `problems` say what is missing where it is incomplete."""

    state: State
    path: Path
    problems: tuple[str, ...] = ()


def find(model: Model, data: Path, environ: Mapping[str, str] = os.environ) -> Place:
    """Where the model's files are. Takes a moment: it reads their headers."""
    if model.path in (POSTCARD.name, POSTCARD.path):
        return _look(ROOT / POSTCARD.path, model)
    if is_path(model.path):
        return _look(Path(model.path).expanduser().absolute(), model)
    fetched = home_of(model, data)
    ours = stranger(model, data) is None
    if ours and fetched.exists():
        return _look(fetched, model)
    cached = snapshot(model.path, environ)
    if cached is not None and (not model.file or (cached / model.file).exists()):
        place = _look(cached / model.file if model.file else cached, model)
        if place.state is State.HERE:
            return place
    begun = part_of(fetched)
    here = ours and begun.exists()
    if here or cached is not None:
        missing = "Its download did not finish: the command `models add` continues it."
        return Place(state=State.INCOMPLETE, path=begun if here else fetched, problems=(missing,))
    return Place(state=State.ABSENT, path=fetched)


def home_of(model: Model, data: Path) -> Path:
    """Where a model of the hub belongs: in the models folder, by its name."""
    return data / "models" / (f"{model.name}.safetensors" if model.file else model.name)


def part_of(home: Path) -> Path:
    """Where it lies while it is being fetched; hidden, so that nobody takes it for a model."""
    return home.with_name(f".{home.name}.part")


def stranger(model: Model, data: Path) -> Origin | None:
    """What was fetched from elsewhere to where this model of the hub belongs, since it had the same name then."""
    origin = origin_of(home_of(model, data))
    return None if origin is None or origin.is_of(model.path, model.file) else origin


def origin_of(home: Path) -> Origin | None:
    """Where what is at home, or on its way there, was fetched from."""
    return hub_download.origin_of(home) if home.exists() or part_of(home).exists() else None


def fetched_as(repository: str, file: str, data: Path) -> str:
    """The name under which this was fetched from the hub, or begins to be; empty where it was not."""
    for note in _inside(data / "models"):
        if note.name.startswith(".") and note.suffix == ".json":
            home = note.with_name(note.stem.removeprefix("."))
            if (origin := origin_of(home)) is not None and origin.is_of(repository, file):
                return name_of(home.name)
    return ""


def names_taken(data: Path) -> frozenset[str]:
    """What lies in the models folder by name, be it usable or whole or not."""
    things = [path.name for path in _inside(data / "models")]
    return frozenset(
        name_of(name.removeprefix(".").removesuffix(".part"))
        for name in things
        if not name.startswith(".") or name.endswith(".part")
    )


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def snapshot(hub_id: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The newest copy of a repository in the hub's cache, complete or not."""
    home = Path(environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or home / "hub").expanduser()
    folder = cache / f"models--{hub_id.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    found = folder / "snapshots" / commit
    return found if commit and found.is_dir() else None


def _look(path: Path, model: Model) -> Place:
    if not path.exists():
        return Place(state=State.ABSENT, path=path, problems=(f"There is no {path}.",))
    found = tuple(checkpoint_files.problems(path, own_vae=bool(model.vae)))
    return Place(state=State.INCOMPLETE if found else State.HERE, path=path, problems=found)
