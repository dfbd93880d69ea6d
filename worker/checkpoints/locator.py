"""Finds a checkpoint by what the owner calls it: postcard, a folder, a `.safetensors` file, a hub id, or its file.

A model of the hub is looked for where the bot looks for it too: in the models folder, then in the hub's own cache, and
used from there as it is. What is in neither is fetched into the models folder. Loads nothing.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core import model_locations, safetensors_header
from core.catalogue import POSTCARD, name_of
from core.folder_format import INDEX, lacks
from core.model_locations import Note
from core.safetensors_header import NotSafetensors
from worker.checkpoint_formats import check_folder, kind_of, read_model_index
from worker.errors import CannotLoad, NotHere
from worker.hub_download import HubError, ModelDownload, choose_files, download_lock, fetch_model
from worker.paths import ROOT, existing

PICKLES = (".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsFolder:
    """Where models of the hub belong. So much of its disk stays free when something is fetched into it."""

    path: Path = ROOT / "data" / "models"
    min_free_mb: int = 500


#: Beside the program, where the bot has it if nothing else is set.
DEFAULT_FOLDER = ModelsFolder()


def _nothing() -> None:
    """Where nobody asks for progress."""


def is_location(model: str) -> bool:
    """False for a plain word that names no file here: only the bot's catalogue can say what it stands for."""
    return model == POSTCARD.name or "/" in model or existing(model) is not None


def locate(
    model: str, progress: Callable[[], None] = _nothing, *, name: str = "",
    folder: ModelsFolder = DEFAULT_FOLDER,
) -> Path:  # fmt: skip
    """The checkpoint's folder or file; models of the hub are found here, or fetched. Raises CannotLoad.

    `progress` is called whenever something has come, from any thread: what takes an hour is not stuck. `name`: what the
    catalogue calls it, if it does.
    """
    if model == POSTCARD.name:
        return _checked(ROOT / POSTCARD.path, model)
    place = existing(model)
    if place is not None:
        return _checked(place.resolve(), model) if place.is_dir() else _file(place.resolve())
    far = not model.startswith((".", "/", "~"))
    if far and model.count("/") >= 2 and model.endswith(".safetensors"):
        owner, of, file = model.split("/", 2)
        return _of_hub(f"{owner}/{of}", file, name or name_of(file), folder, progress)
    if not far or model.count("/") != 1 or model.endswith((".safetensors", *PICKLES)):
        cure = "a hub id looks like owner/name."
        raise NotHere(f"DARKROOM_MODEL is {model!r}, but there is no such folder and no such file; {cure}")
    return _checked(_of_hub(model, "", name or name_of(model), folder, progress), model)


def note_of(home: Path) -> Note | None:
    """What is noted of a model that was fetched from the hub; None for all others."""
    text = _text_of(home.with_name(model_locations.note_name(home.name)))
    return None if text is None else model_locations.read(text, home.name)


def _text_of(path: Path) -> str | None:
    """What stands in a file; None where there is none, be it a pipe at which one would wait for ever."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except (OSError, ValueError):
        return None


def _file(path: Path) -> Path:
    if path.suffix in PICKLES:
        cure = "get it as .safetensors, or convert it; pickled weights are never loaded."
        raise CannotLoad(f"{path.name} is a pickle, which can run anything when it is read: {cure}")
    if path.suffix != ".safetensors":
        raise CannotLoad(f"{path.name} is not a checkpoint: a single file has to end in .safetensors.")
    return path


def _checked(folder: Path, model: str) -> Path:
    index = read_model_index(folder, model)
    kind = kind_of(index["_class_name"])
    if kind is not None:
        check_folder(folder, kind, index)
    return folder


# --- models of the hub ----------------------------------------------------------------------------------------------


def _of_hub(repository: str, file: str, name: str, folder: ModelsFolder, progress: Callable[[], None]) -> Path:
    """Found or fetched: several workers, and the bot's command beside them, fetch it once."""
    found = _find(repository, file, name, folder.path)
    if found is not None:
        return found
    home, note = _home(repository, file, name, folder.path)
    if home.exists() and note is None:
        cure = "Move it away, or complete it with `python bot.py models add`."
        raise NotHere(f"{home} is not the complete model {repository}, and was not fetched from there. {cure}")
    try:
        described, files = choose_files(repository, file, note.files.keys() if note is not None else ())
        download = ModelDownload(repository=described, files=files, home=home, min_free_mb=folder.min_free_mb)
        with download_lock(folder.path, repository, file, progress):
            found = _find(repository, file, name, folder.path)  # somebody else may have been quicker
            if found is None:
                fetch_model(download, progress)
    except HubError as error:
        raise NotHere(f"The model {repository} is not here yet. {error.sentence}") from error
    except OSError as error:
        raise CannotLoad(
            f"{repository} cannot be fetched into {folder.path} ({error}). Make that folder writable."
        ) from error
    return found or home


def _find(repository: str, file: str, name: str, folder: Path) -> Path | None:
    """The model where it lies already, whole by the names of its files; None where it does not."""
    home, note = _home(repository, file, name, folder)
    sizes = {} if note is None else {path: remote.size for path, remote in note.files.items()}
    if _is_whole(home, sizes):
        return home
    cached = _snapshot(repository)
    if cached is not None and _is_whole(cached / file if file else cached, {}):
        return cached / file if file else cached
    return None


def _is_whole(place: Path, sizes: dict[str, int]) -> bool:
    """Whether the bot's list would call it complete. `sizes`: of its files, where they are noted."""
    try:
        if place.is_file():
            return list(sizes.values()) in ([], [place.stat().st_size]) and not _is_cut_off(place)
        index = json.loads(_text_of(place / INDEX) or "")
        if not isinstance(index, dict) or any((place / file).stat().st_size != size for file, size in sizes.items()):
            return False
        files = [path for path in place.glob("*/*") if path.is_file()]
        if any(_is_cut_off(path) for path in files if path.suffix == ".safetensors"):
            return False
    except (OSError, ValueError, RecursionError):
        return False
    return not lacks(index, [path.relative_to(place).as_posix() for path in files])


def _is_cut_off(weights: Path) -> bool:
    """Whether less of the file is here than its header announces, or no header. Raises OSError."""
    try:
        with weights.open("rb") as file:
            return safetensors_header.read(file.read).file_bytes > weights.stat().st_size
    except NotSafetensors:
        return True


def _home(repository: str, file: str, name: str, folder: Path) -> tuple[Path, Note | None]:
    """Where it lies in the models folder, or belongs, with what is noted of it.

    By another name where another model has that place.
    """
    listed = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = model_locations.inventory(listed, lambda one: _text_of(folder / one))
    home = model_locations.home_for(repository, file, name, found)
    if home not in found:
        return folder / home, None
    if found[home].may_be(repository, file):
        return folder / home, found[home].note
    names = model_locations.possible_names(repository, file)
    homes = (model_locations.home_name(one, file) for one in names)
    return folder / next(one for one in homes if one not in found), None


def _snapshot(repository: str) -> Path | None:
    """The newest copy of a repository in the hub's cache, complete or not."""
    cache = Path(os.path.expandvars(model_locations.cache_folder(os.environ))).expanduser()
    folder = cache / model_locations.cached_name(repository)
    commit = (_text_of(folder / "refs" / "main") or "").strip()
    found = folder / "snapshots" / commit
    try:
        return found if commit and found.is_dir() else None
    except OSError:
        return None  # a name that no folder can have
