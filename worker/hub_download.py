"""Fetches from the Hugging Face hub: a model into the models folder, as the bot's `models add` does, once for all.

What lies beside a model goes into the hub's own cache. The hub's library does the fetching; which files make a model
and what they are called here is core's to say. Loads nothing.
"""

import fcntl
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core import hub_files, hub_messages, model_locations
from core.errors import DarkroomError
from core.folder_format import INDEX
from core.hub_files import NoModel, Repository
from core.hub_messages import gigabytes
from worker.file_storage import write_atomically

log = logging.getLogger("darkroom.hub")

#: While sums are read nothing arrives. No disk is as slow as this, in bytes a second.
_SLOWEST = 10_000_000
_TICK_SECONDS = 1.0
#: The library's notes beside the files that it fetches, and pieces of files that did not arrive.
_NOTES, _PIECES = ".cache", ("*.incomplete", "*.part")


class HubError(DarkroomError):
    """The hub does not give what was asked for; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDownload:
    """A model of the hub, and where it belongs here: a file for a model that is one file, else a folder."""

    repository: Repository
    files: Sequence[str]
    home: Path
    min_free_mb: int  # stays free on that disk

    @property
    def file(self) -> str:
        """The one that is the model; empty where it is a folder."""
        return self.files[0] if self.home.suffix == ".safetensors" else ""

    @property
    def part(self) -> Path:
        """Where it lies while it is being fetched."""
        return self.home.with_name(model_locations.part_name(self.home.name))

    @property
    def note(self) -> Path:
        """Where it is noted what it is."""
        return self.home.with_name(model_locations.note_name(self.home.name))


def fetch(repository: str, patterns: Iterable[str], progress: Callable[[], None] = lambda: None) -> Path:
    """These files of a repository, in the hub's cache: the folder that they are in. Raises HubError."""
    from huggingface_hub import snapshot_download

    with _said(repository):
        return Path(snapshot_download(repository, allow_patterns=list(patterns), tqdm_class=_bar(progress)))


@contextmanager
def download_lock(models: Path, repository: str, file: str, progress: Callable[[], None]) -> Iterator[None]:
    """While nobody else fetches this model into that folder, be it an owner's command. Who waited looks again."""
    path = models / model_locations.LOCKS / model_locations.lock_name(repository, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        if not _locked(lock.fileno()):
            log.info("Another process is already fetching %s; waiting for that.", repository)
            tick = threading.Event()
            while not _locked(lock.fileno()):
                progress()  # whoever has it is watched by somebody else
                tick.wait(_TICK_SECONDS)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a disk that knows no locks (some network shares) is taken without
    return True


def choose_files(name: str, file: str, kept: Collection[str]) -> tuple[Repository, Sequence[str]]:
    """What the hub has of a model, and which of its files make it. Raises HubError.

    `file`: its one file, empty where it is a folder. `kept`: names of a copy that is there, which keeps its precision.
    """
    from huggingface_hub import HfApi

    with _said(name):
        info = HfApi().model_info(name, files_metadata=True)
    repository = Repository.of(name, info)
    try:
        if file:
            return repository, hub_files.single(repository, file)
        hub_files.check_folder(repository)
        return repository, hub_files.folder(repository, _index(repository), kept)
    except NoModel as error:
        raise HubError(str(error)) from error


def fetch_model(download: ModelDownload, progress: Callable[[], None]) -> None:
    """The model to its place, or what is missing of it. Raises HubError; what has come by then is kept."""
    _check_room(download)
    _begin(download)
    write_atomically(download.note, model_locations.written(download.repository, download.files).encode())
    _download(download.repository, download.files, download.part, progress)
    _put(download)


def _index(repository: Repository) -> Mapping[str, Any]:
    """Its model_index.json, which is kept nowhere. Raises NoModel."""
    from huggingface_hub import hf_hub_download

    with TemporaryDirectory() as folder:
        with _said(repository.id):
            path = hf_hub_download(repository.id, INDEX, revision=repository.revision, local_dir=folder)
        try:
            index = json.loads(Path(path).read_text("utf-8"))
        except ValueError:
            raise NoModel(f"The {INDEX} of {repository.id} cannot be read.") from None
    return index if isinstance(index, dict) else {}


def _check_room(download: ModelDownload) -> None:
    """Says what is to come. Raises HubError where the disk has no room for it."""
    repository, files, home = download.repository, download.files, download.home
    there = [folder for folder in (home, download.part) if folder.is_dir()]
    have = {file for file in files for folder in there if _size(folder / file) == repository.files[file].size}
    needed = repository.size_of(file for file in files if file not in have)
    disk = next(folder for folder in home.parents if folder.exists())
    if sentence := hub_messages.no_room(needed, shutil.disk_usage(disk).free, disk, download.min_free_mb * 1_000_000):
        raise HubError(sentence)
    licence, page = repository.licence or "not stated", f"https://huggingface.co/{repository.id}"
    log.info("Fetching %s: %s into %s. Licence: %s (%s).", repository.id, gigabytes(needed), home, licence, page)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _begin(download: ModelDownload) -> None:
    """The folder to fetch into, with what can be used again of a damaged or half fetched model."""
    home, part = download.home, download.part
    if home.exists() and part.exists():
        shutil.rmtree(part)
    if home.is_dir():
        home.replace(part)
    elif home.is_file():
        (part / download.file).parent.mkdir(parents=True, exist_ok=True)
        home.replace(part / download.file)
    part.mkdir(parents=True, exist_ok=True)
    for piece in [path for pattern in _PIECES for path in part.rglob(pattern) if path.is_file()]:
        piece.unlink()


def _download(repository: Repository, files: Sequence[str], folder: Path, progress: Callable[[], None]) -> None:
    """Raises HubError. What arrived damaged is taken away, so that the next try fetches it again."""
    from huggingface_hub import HfApi, snapshot_download

    patterns, revision = hub_files.patterns(files), repository.revision
    with _said(repository.id):
        snapshot_download(
            repository.id, revision=revision, local_dir=folder, allow_patterns=patterns, tqdm_class=_bar(progress)
        )
        with _patience(progress, repository.size_of(files)):
            found = HfApi().verify_repo_checksums(repository.id, revision=revision, local_dir=folder)
    if absent := next((file for file in files if not (folder / file).is_file()), ""):
        raise HubError(f"{absent} did not arrive. Check the network and try again: what has arrived is kept.")
    spoilt = {one["path"] for one in found.mismatches}.intersection(files)
    for file in spoilt:
        (folder / file).unlink()
    if spoilt:
        raise HubError(hub_messages.damaged(min(spoilt)))


def _put(download: ModelDownload) -> None:
    """The finished model to its place, all at once."""
    if download.file:
        (download.part / download.file).replace(download.home)
        shutil.rmtree(download.part)
        return
    shutil.rmtree(download.part / _NOTES, ignore_errors=True)
    download.part.replace(download.home)


@contextmanager
def _said(repository: str) -> Iterator[None]:
    """Whatever the library raises becomes one sentence."""
    try:
        yield
    except Exception as error:
        has_token = bool(os.environ.get("HF_TOKEN"))
        raise HubError(hub_messages.why(error, repository, has_token=has_token)) from error


@contextmanager
def _patience(progress: Callable[[], None], size: int) -> Iterator[None]:
    """Tells progress from a thread while so many bytes are read, for as long as that may take."""
    done = threading.Event()

    def tell() -> None:
        for _ in range(60 + size // _SLOWEST):
            if done.wait(_TICK_SECONDS):
                return
            progress()

    thread = threading.Thread(target=tell, name="patience", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _bar(progress: Callable[[], None]) -> Any:
    """A progress bar, as the hub's library wants one for the bytes that come: it shows nothing and says so."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Bar(tqdm):
        def __init__(self, *args: Any, **how: Any) -> None:
            super().__init__(*args, **{**how, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            if n:
                progress()
            shown: bool | None = super().update(n)
            return shown

    return Bar
