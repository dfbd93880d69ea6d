"""Fetches files of a hub repository into a folder: goes on where a broken download ended, and checks every sum.

`HuggingFace` is the only place that knows the hub's library, which is imported when the first question is asked.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from bot.catalogue.checkpoint_files import gigabytes
from bot.catalogue.hub_file_selection import RemoteFile, Repository
from bot.file_storage import free_bytes, nearest_folder
from core.errors import ConfigError

_CHUNK = 1 << 22


class HubTrouble(ConfigError):
    """The hub does not give what was asked for; the sentence says why and what to do."""


class Hub(Protocol):
    """What the commands need of a model hub."""

    def repository(self, name: str) -> Repository:
        """What `owner/name` holds. Raises HubTrouble."""

    def get(self, repository: Repository, file: str, into: BinaryIO, at: int) -> None:
        """Writes a file's bytes from `at` on, at the end of `into`. Raises HubTrouble."""


class HuggingFace:
    """The Hugging Face hub. `token` may be empty; `endpoint` is another address of it."""

    def __init__(self, token: str, endpoint: str | None = None) -> None:
        self._token = token or False
        self._endpoint = endpoint

    def repository(self, name: str) -> Repository:
        """As above."""
        from huggingface_hub import HfApi

        try:
            found = HfApi(endpoint=self._endpoint, token=self._token).model_info(name, files_metadata=True)
        except Exception as error:
            raise self._trouble(name, error) from error
        files = {
            one.rfilename: RemoteFile(
                size=one.size or 0,
                sha256=one.lfs.sha256 if one.lfs else "",
                git_id="" if one.lfs else one.blob_id or "",
            )
            for one in found.siblings or ()
            if _is_inside(one.rfilename)
        }
        card = found.card_data
        licence = getattr(card, "license_name", None) or getattr(card, "license", None) or ""
        return Repository(
            id=name, revision=found.sha or "main", files=files, licence=str(licence), gated=bool(found.gated)
        )

    def get(self, repository: Repository, file: str, into: BinaryIO, at: int) -> None:
        """As above."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        url = hf_hub_url(repository.id, file, revision=repository.revision, endpoint=self._endpoint)
        size = repository.files[file].size
        try:
            headers = build_hf_headers(token=self._token)
            http_get(url, into, resume_size=at, headers=headers, expected_size=size, displayed_filename=file)
        except Exception as error:
            raise self._trouble(repository.id, error) from error

    def _trouble(self, name: str, error: Exception) -> HubTrouble:
        from huggingface_hub import errors

        if isinstance(error, errors.GatedRepoError):
            return HubTrouble(gated(name, has_token=bool(self._token)))
        if isinstance(error, errors.RepositoryNotFoundError):
            return HubTrouble(f"The hub has no model {name}, or it is private and HF_TOKEN may not see it.")
        if isinstance(error, errors.OfflineModeIsEnabled):
            return HubTrouble("HF_HUB_OFFLINE is set, so nothing is fetched. Unset it and try again.")
        text = " ".join(str(error).split())[:200] or type(error).__name__
        return HubTrouble(
            f"{name} could not be fetched ({text}). Check the network and try again: what has arrived is kept."
        )


def _is_inside(file: str) -> bool:
    """Whether a name leads to a place below the folder that it is fetched into, whoever made it up."""
    return not Path(file).is_absolute() and ".." not in Path(file).parts


def gated(name: str, *, has_token: bool) -> str:
    """What somebody has to do for a model whose terms have to be accepted."""
    accept = f"{name} asks everybody to accept its terms: do so at https://huggingface.co/{name}"
    if has_token:
        return f"{accept} with the account that HF_TOKEN belongs to, then try again."
    return f"{accept}, make a token (huggingface.co → Settings → Access Tokens), and put it into .env as HF_TOKEN."


def check_room(folder: Path, needed: int, spare: int) -> None:
    """Raises ConfigError unless the disk holds `needed` bytes more and keeps `spare` free."""
    folder, free = nearest_folder(folder), free_bytes(folder)
    if free < needed + spare:
        raise ConfigError(
            f"The download takes {gigabytes(needed)}, but the disk of {folder} has {gigabytes(free)} free, of which "
            f"{gigabytes(spare)} must stay free for the bot. Make room first."
        )


def missing(repository: Repository, files: Iterable[str], folder: Path) -> int:
    """Bytes that are still to be fetched into `folder`."""
    there = [(folder / file, _part(folder / file)) for file in files]
    have = sum(path.stat().st_size for paths in there for path in paths if path.is_file())
    return max(0, repository.size_of([*files]) - have)


def fetch(hub: Hub, repository: Repository, files: Iterable[str], folder: Path, say: Callable[[str], None]) -> None:
    """All files into `folder`, each under its name only once its sum is right. Raises HubTrouble."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        path, remote = folder / file, repository.files[file]
        if path.is_file() and path.stat().st_size == remote.size:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        say(f"{file} ({gigabytes(remote.size)})")
        part = _part(path)
        for last in (False, True):
            _fetch_part(hub, repository, file, part)
            if not (wrong := differs(part, remote)):
                break
            part.unlink()
            if last:
                raise HubTrouble(f"{file} arrived damaged twice ({wrong}). Try again later; the other files are kept.")
            say(f"{file} arrived damaged ({wrong}), so it is fetched once more.")
        part.replace(path)


def discard(folder: Path, file: str) -> None:
    """Takes away what `fetch` has put there for this file, whole or in part."""
    for path in (folder / file, _part(folder / file)):
        path.unlink(missing_ok=True)


def _fetch_part(hub: Hub, repository: Repository, file: str, part: Path) -> None:
    size = repository.files[file].size
    if part.exists() and part.stat().st_size > size:
        part.unlink()  # of another revision
    with part.open("ab") as into:
        if into.tell() < size or size == 0:
            hub.get(repository, file, into, into.tell())
        into.flush()
        os.fsync(into.fileno())


def differs(path: Path, remote: RemoteFile) -> str:
    """What is wrong with a file, as words in brackets; empty when its size and its sum are right."""
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


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


# --- what was fetched, for later checks -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a model was fetched from: `file` is the one that is the model. `licence` as the hub stated it."""

    repository: str
    file: str = ""
    licence: str = ""

    def is_of(self, repository: str, file: str) -> bool:
        """Whether it is that place; the hub makes no difference between great and small letters."""
        return (self.repository.casefold(), self.file) == (repository.casefold(), file)

    def __str__(self) -> str:
        """As `models add` takes it."""
        return f"{self.repository}/{self.file}" if self.file else self.repository


def manifest_of(home: Path) -> Path:
    """Beside the model, hidden: where its files came from, with their sums. It is there from the download's start."""
    return home.with_name(f".{home.name}.json")


def write_manifest(home: Path, repository: Repository, files: Iterable[str]) -> None:
    """For `read_manifest` and `origin_of`."""
    remote = {file: repository.files[file] for file in files}
    plain = {
        "repository": repository.id,
        "revision": repository.revision,
        "licence": repository.licence,
        "files": {file: [one.size, one.sha256, one.git_id] for file, one in remote.items()},
    }
    home.parent.mkdir(parents=True, exist_ok=True)
    manifest_of(home).write_text(json.dumps(plain, indent=1), encoding="utf-8")


def read_manifest(home: Path) -> dict[str, RemoteFile]:
    """Files with their sums; empty where the model was not fetched by us."""
    try:
        files = json.loads(manifest_of(home).read_text(encoding="utf-8"))["files"]
        return {file: RemoteFile(size=size, sha256=sha, git_id=git) for file, (size, sha, git) in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def origin_of(home: Path) -> Origin | None:
    """Where the model at home, or its unfinished download, comes from; None where it was not fetched by us."""
    try:
        noted = json.loads(manifest_of(home).read_text(encoding="utf-8"))
        file = next(iter(noted["files"])) if home.suffix == ".safetensors" else ""
        return Origin(repository=str(noted["repository"]), file=file, licence=str(noted.get("licence") or ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None
