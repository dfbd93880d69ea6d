"""Finds where a model of the catalogue lies here. Knows the data folder and the hub's cache; fetches nothing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bot.catalogue import checkpoint_files, hub_download
from bot.config import ROOT
from bot.file_storage import is_folder
from core import model_locations
from core.catalogue import POSTCARD, Model, name_of
from core.catalogue_file import is_path
from core.model_locations import Found, Note


class Availability(StrEnum):
    """What is there of a model's files."""

    HERE = "here"
    INCOMPLETE = "incomplete"
    ABSENT = "not downloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLocation:
    """Where a model is, or would be; `problems` say what is missing where it is incomplete."""

    state: Availability
    path: Path
    problems: tuple[str, ...] = ()
    is_unread: bool = False  # some of it cannot be read, at least not now


def find(model: Model, data: Path, environ: Mapping[str, str] = os.environ) -> ModelLocation:
    """Where the model's files are. Takes a moment: it reads their headers. Raises OSError where nobody can say."""
    if model.path in (POSTCARD.name, POSTCARD.path):
        return _look(ROOT / POSTCARD.path, model)
    if is_path(model.path):
        return _look(Path(model.path).expanduser().absolute(), model)
    fetched, is_unread = home_of(model, data), False
    try:
        cached = snapshot(model.path, environ)
    except PermissionError:  # another user's cache, most likely
        cached, is_unread = None, True
    ours = model_in_its_place(model, data) is None
    # The first whole one counts: a worker that opens it looks in the same order.
    places = [_look(fetched, model)] if ours and fetched.exists() else []
    if cached is not None and (not model.file or (cached / model.file).exists()):
        places.append(_look(cached / model.file if model.file else cached, model))
    if whole := next((place for place in places if place.state is Availability.HERE), None):
        return whole
    if places and places[0].path == fetched:
        return places[0]
    is_unread = is_unread or any(place.is_unread for place in places)
    begun = part_of(fetched)
    here = ours and begun.exists()
    if here or cached is not None:
        missing = "Its download did not finish: the command `models add` continues it."
        path = begun if here else fetched
        return ModelLocation(state=Availability.INCOMPLETE, path=path, problems=(missing,), is_unread=is_unread)
    return ModelLocation(state=Availability.ABSENT, path=fetched, is_unread=is_unread)


def examined(model: Model, data: Path) -> ModelLocation:
    """As `find`, for people: files that cannot be gone through are a problem like others."""
    try:
        return find(model, data)
    except OSError as error:
        path = Path(model.path).expanduser().absolute() if is_path(model.path) else home_of(model, data)
        return ModelLocation(state=Availability.INCOMPLETE, path=path, problems=(unreadable(path, error),))


def unreadable(path: Path, error: OSError) -> str:
    """Of files that cannot be gone through."""
    return f"{path} cannot be read ({error.strerror})."


def home_of(model: Model, data: Path) -> Path:
    """Where a model of the hub lies in the models folder, or where it belongs."""
    name = model_locations.home_for(model.path, model.file, model.name, _models(data))
    return data / "models" / name


def part_of(home: Path) -> Path:
    """Where it lies while it is being fetched; hidden, so that nobody takes it for a model."""
    return home.with_name(model_locations.part_name(home.name))


def model_in_its_place(model: Model, data: Path) -> Note | None:
    """What was fetched from elsewhere to where this model of the hub belongs, since it had the same name then."""
    found = _models(data).get(home_of(model, data).name)
    return None if found is None or found.may_be(model.path, model.file) else found.note


def note_of(home: Path) -> Note | None:
    """Where what is at home, or on its way there, was fetched from."""
    return hub_download.note_of(home) if home.exists() or part_of(home).exists() else None


def fetched_as(repository: str, file: str, data: Path) -> str:
    """The name under which this was fetched from the hub, or begins to be; empty where it was not."""
    return next((name_of(home) for home, one in _models(data).items() if one.is_of(repository, file)), "")


def names_taken(data: Path) -> frozenset[str]:
    """What lies in the models folder by name, be it usable or whole or not."""
    return frozenset(name_of(home) for home in _models(data))


def _models(data: Path) -> dict[str, Found]:
    folder = data / "models"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return model_locations.inventory(names, lambda name: hub_download.note_text(folder / name))


def snapshot(hub_id: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The newest copy of a repository in the hub's cache, complete or not. Raises OSError where nobody can say."""
    cache = Path(os.path.expandvars(model_locations.cache_folder(environ))).expanduser()
    folder = cache / model_locations.cached_name(hub_id)
    commit = (hub_download.text_of(folder / "refs" / "main") or "").strip()
    found = folder / "snapshots" / commit
    return found if commit and is_folder(found) else None


def _look(path: Path, model: Model) -> ModelLocation:
    if not path.exists():
        return ModelLocation(state=Availability.ABSENT, path=path, problems=(f"There is no {path}.",))
    try:
        found = (*checkpoint_files.lasting_problems(path, own_vae=bool(model.vae)), *_changed(path, note_of(path)))
    except checkpoint_files.Unreadable as error:
        return ModelLocation(state=Availability.INCOMPLETE, path=path, problems=(str(error),), is_unread=True)
    return ModelLocation(state=Availability.INCOMPLETE if found else Availability.HERE, path=path, problems=found)


def _changed(path: Path, note: Note | None) -> list[str]:
    """Of a model that was fetched: which of its files are not there as they were fetched, by their sizes."""
    files = {} if note is None else {path / file if path.is_dir() else path: one for file, one in note.files.items()}
    wrong = [file for file, one in files.items() if not file.is_file() or file.stat().st_size != one.size]
    cure = "The command `models add` fetches it again."
    return [f"{file.relative_to(path.parent)} is missing or not as it was fetched. {cure}" for file in wrong]
