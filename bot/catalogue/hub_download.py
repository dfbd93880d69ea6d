"""Fetches a model of the hub into a folder, and knows what is noted of those that were fetched before.

The hub's own library does it: several files at once, on from where the line broke, every sum checked. It is imported
when the first question is asked. What a model consists of and what it is called here is core's to say.
"""

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bot.file_storage import free_bytes, is_file, nearest_folder, write_atomically
from core import hub_messages, model_locations
from core.errors import ConfigError
from core.folder_format import INDEX
from core.hub_files import NoModel, RemoteFile, Repository, patterns
from core.hub_messages import gated
from core.model_locations import LOCKS, Note

_CHUNK = 1 << 22
_MOST_TEXT = 1 << 26
#: The library's notes beside the files that it fetches.
_NOTES = ".cache"
#: Pieces of files that did not arrive: of a library that was killed, and of ours of old. Nobody goes on with them.
_PIECES = ("*.incomplete", "*.part")


class HubError(ConfigError):
    """The hub does not give what was asked for; the sentence says why and what to do."""


class HuggingFace:
    """The Hugging Face hub, wherever HF_ENDPOINT says that it is. `token` may be empty."""

    def __init__(self, token: str) -> None:
        self._token = token or False
        self._has_token = bool(token)

    def repository(self, name: str) -> Repository:
        """What `owner/name` holds. Raises HubError."""
        from huggingface_hub import HfApi

        with self._said(name):
            return Repository.of(name, HfApi(token=self._token).model_info(name, files_metadata=True))

    def check_terms(self, repository: Repository) -> None:
        """Raises HubError for a model whose terms have to be accepted, without a token."""
        if repository.gated and not self._has_token:
            raise HubError(gated(repository.id, has_token=False))

    def index(self, repository: Repository) -> Mapping[str, Any]:
        """Its model_index.json, which is kept nowhere. Raises HubError, or NoModel."""
        from huggingface_hub import hf_hub_download

        with TemporaryDirectory() as folder:
            with self._said(repository.id):
                revision = repository.revision
                path = hf_hub_download(repository.id, INDEX, revision=revision, local_dir=folder, token=self._token)
            try:
                index = json.loads(Path(path).read_text("utf-8"))
            except ValueError:
                raise NoModel(f"The {INDEX} of {repository.id} cannot be read.") from None
        return index if isinstance(index, dict) else {}

    def fetch(self, repository: Repository, files: Sequence[str], folder: Path, say: Callable[[str], None]) -> None:
        """All files into `folder`, with what lies there already checked too. Raises HubError."""
        self._download(repository, files, folder)
        if spoilt := self._differing(repository, files, folder):
            for file in spoilt:
                (folder / file).unlink()
                say(f"{file} arrived damaged (its checksum is not the hub's), so it is fetched once more.")
            self._download(repository, spoilt, folder, force_download=True)
            if spoilt := self._differing(repository, spoilt, folder):
                raise HubError(hub_messages.damaged(spoilt[0]))

    def _download(self, repository: Repository, files: Sequence[str], folder: Path, **how: Any) -> None:
        from huggingface_hub import snapshot_download

        with self._said(repository.id):
            snapshot_download(
                repository.id,
                revision=repository.revision,
                local_dir=folder,
                allow_patterns=patterns(files),
                token=self._token,
                **how,
            )

    def _differing(self, repository: Repository, files: Sequence[str], folder: Path) -> list[str]:
        """Those of the files whose sums are not the hub's. Raises HubError where one is not there at all."""
        from huggingface_hub import HfApi

        with self._said(repository.id):
            found = HfApi(token=self._token).verify_repo_checksums(
                repository.id, revision=repository.revision, local_dir=folder
            )
        for file in files:
            if not (folder / file).is_file():  # without a line the library is content with what is there
                raise HubError(f"{file} did not arrive. Check the network and try again: what has arrived is kept.")
        spoilt = {one["path"] for one in found.mismatches}
        return [file for file in files if file in spoilt]

    @contextlib.contextmanager
    def _said(self, name: str) -> Iterator[None]:
        """Whatever the library raises becomes one sentence."""
        try:
            yield
        except Exception as error:
            raise HubError(hub_messages.why(error, name, has_token=self._has_token)) from error


@contextlib.contextmanager
def download_lock(models: Path, repository: str, file: str, say: Callable[[str], None]) -> Iterator[None]:
    """While nobody else fetches this model into that folder, be it a worker. Who waited looks again."""
    path = models / LOCKS / model_locations.lock_name(repository, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        # A disk that knows no locks (some network shares) is taken without.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another process is already fetching it; waiting for that.")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_room(folder: Path, needed: int, spare: int) -> None:
    """Raises ConfigError unless the disk holds `needed` bytes more and keeps `spare` free."""
    if sentence := hub_messages.no_room(needed, free_bytes(folder), nearest_folder(folder), spare):
        raise ConfigError(sentence)


def begin(home: Path, file: str) -> Path:
    """The folder to fetch into, with what can be used again of a damaged or half fetched model."""
    part = home.with_name(model_locations.part_name(home.name))
    if home.exists() and part.exists():
        shutil.rmtree(part)
    if home.is_dir():
        home.replace(part)
    elif home.is_file():
        (part / file).parent.mkdir(parents=True, exist_ok=True)
        home.replace(part / file)
    part.mkdir(parents=True, exist_ok=True)
    for piece in [path for pattern in _PIECES for path in part.rglob(pattern) if path.is_file()]:
        piece.unlink()
    return part


def put(part: Path, home: Path, file: str) -> None:
    """The finished model to its place, all at once."""
    if file:
        (part / file).replace(home)
        shutil.rmtree(part)
        return
    shutil.rmtree(part / _NOTES, ignore_errors=True)
    part.replace(home)


# --- what was fetched, for later checks -------------------------------------------------------------------------------


def write_note(home: Path, repository: Repository, files: Iterable[str]) -> None:
    """For `note_of`, from the download's start."""
    home.parent.mkdir(parents=True, exist_ok=True)
    path = home.with_name(model_locations.note_name(home.name))
    write_atomically(path, model_locations.written(repository, files).encode())


def note_of(home: Path) -> Note | None:
    """What is noted of a model, there or not; None where it was not fetched by us."""
    text = note_text(home.with_name(model_locations.note_name(home.name)))
    return None if text is None else model_locations.read(text, home.name)


def text_of(path: Path) -> str | None:
    """What stands in a file, if it is there and is a file of a text's size. Raises OSError where nobody can say."""
    try:
        whole = is_file(path) and path.stat().st_size <= _MOST_TEXT
        return path.read_text(encoding="utf-8") if whole else None
    except (FileNotFoundError, ValueError):
        return None


def note_text(path: Path) -> str | None:
    """As `text_of`; a note that this user may not read is none."""
    try:
        return text_of(path)
    except PermissionError:
        return None


def differs(path: Path, remote: RemoteFile) -> str:
    """What is wrong with a file, as words in brackets; empty when its size and its sum are right.

    By what was noted when it was fetched: it needs no line to the hub.
    """
    size = path.stat().st_size
    if size != remote.size:
        return f"{size} bytes instead of {remote.size}"
    if remote.sha256 and _sum(path, hashlib.sha256()) != remote.sha256:
        return "its SHA-256 is not the hub's"
    if remote.git_id:
        # Git's name of a file is not a signature, only a sum.
        begun = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        if _sum(path, begun) != remote.git_id:
            return "its checksum is not the hub's"
    return ""


def _sum(path: Path, digest: "hashlib._Hash") -> str:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
