"""Where models of the hub lie: what they are called in the models folder, what is noted beside them, the hub's cache.

Pure: makes and reads names and texts, and opens nothing. Bot and worker both ask here, so that they look in one place.

A model is `NAME`, or `NAME.safetensors` for a single file. While it is fetched it lies in the hidden folder
`.NAME.part`, and `.NAME.json` beside it notes from where its files come and what their sums are.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from core.catalogue import name_of
from core.hub_files import RemoteFile, Repository, is_inside

_SINGLE = ".safetensors"
#: Hidden folder with a file for each model that is being fetched, which whoever fetches it has locked.
LOCKS = ".locks"


def home_name(name: str, file: str) -> str:
    """What a model of the hub is called in the models folder. `file`: its one file, empty where it is a folder."""
    return f"{name}{_SINGLE}" if file else name


def part_name(home: str) -> str:
    """Where it lies while it is being fetched; hidden, so that nobody takes it for a model."""
    return f".{home}.part"


def note_name(home: str) -> str:
    """Where it is noted what it is; there from the download's start."""
    return f".{home}.json"


def lock_name(repository: str, file: str) -> str:
    """In `LOCKS`: one for each model of the hub, however it is called here."""
    return "--".join(f"{repository}/{file}".strip("/").casefold().split("/"))


def possible_names(repository: str, file: str) -> Iterator[str]:
    """What a model of the hub may be called here; the first one that nothing else has is its name.

    >>> names = possible_names("Owner/Mix", "")
    >>> next(names), next(names), next(names)
    ('mix', 'owner-mix', 'owner-mix-2')
    """
    first = name_of(file or repository)
    longer = name_of(f"{repository.partition('/')[0]}-{first}")
    return chain((first, longer), (f"{longer}-{number}" for number in count(2)))


# --- what was fetched, for later ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a fetched model is: `file` is the one that is the model. `licence` as the hub stated it."""

    repository: str
    revision: str = ""
    file: str = ""
    licence: str = ""
    files: Mapping[str, RemoteFile]

    def is_of(self, repository: str, file: str) -> bool:
        """Whether it is that place; the hub makes no difference between great and small letters."""
        return (self.repository.casefold(), self.file) == (repository.casefold(), file)

    def __str__(self) -> str:
        """As `models add` takes it."""
        return f"{self.repository}/{self.file}" if self.file else self.repository


def written(repository: Repository, files: Iterable[str]) -> str:
    """For `read`."""
    remote = {file: repository.files[file] for file in files}
    plain = {
        "repository": repository.id,
        "revision": repository.revision,
        "licence": repository.licence,
        "files": {file: [one.size, one.sha256, one.git_id] for file, one in remote.items()},
    }
    return json.dumps(plain, indent=1)


def read(text: str, home: str) -> Note | None:
    """What is noted of the model of that name; None where the text is no such note."""
    try:
        noted: Any = json.loads(text)
        files = {str(file): _noted(file, *of) for file, of in _items(noted)}
        return Note(
            repository=str(noted["repository"]),
            revision=str(noted.get("revision") or ""),
            file=next(iter(files)) if home.endswith(_SINGLE) else "",
            licence=str(noted.get("licence") or ""),
            files=files,
        )
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
        return None


def _noted(file: str, size: object, sha256: object, git_id: object) -> RemoteFile:
    """Raises ValueError for what `written` does not write."""
    if type(size) is not int or not 0 <= size < 1 << 63 or not is_inside(file):
        raise ValueError(file)
    if not isinstance(sha256, str) or not isinstance(git_id, str):
        raise ValueError(file)
    return RemoteFile(size=size, sha256=sha256, git_id=git_id)


def _items(noted: Any) -> Iterable[tuple[str, tuple[Any, Any, Any]]]:
    items: Iterable[tuple[str, tuple[Any, Any, Any]]] = noted["files"].items()
    return items


# --- the models folder ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What lies in the models folder under a name. `whole`: False while it is only on its way there."""

    whole: bool
    note: Note | None = None  # None: it was not fetched by us

    def is_of(self, repository: str, file: str) -> bool:
        """Whether it was fetched from there."""
        return self.note is not None and self.note.is_of(repository, file)

    def may_be(self, repository: str, file: str) -> bool:
        """Whether nothing says that it is another model: somebody may have put it there by hand."""
        return self.note is None or self.note.is_of(repository, file)


def inventory(names: Iterable[str], text_of: Callable[[str], str | None]) -> dict[str, Found]:
    """All models by name, of what a models folder lists. `text_of` reads a file of it, None where there is none."""
    whole: dict[str, bool] = {}
    for name in sorted(names):
        if not name.startswith("."):
            whole[name] = True
        elif name.endswith(".part"):
            whole.setdefault(name[1:].removesuffix(".part"), False)
    texts = {home: text_of(note_name(home)) for home in whole}
    notes = {home: None if text is None else read(text, home) for home, text in texts.items()}
    return {home: Found(whole=there, note=notes[home]) for home, there in whole.items()}


def home_for(repository: str, file: str, name: str, found: Mapping[str, Found]) -> str:
    """What a model of the hub is called in the models folder, where it lies or where it belongs.

    `name`: as the catalogue has it. It may have been fetched under another one, before it had an entry. Something else
    may lie where it belongs, which its note tells.
    """
    home = home_name(name, file)
    here = found.get(home)
    if here is not None and here.whole and here.may_be(repository, file):
        return home
    fetched = [other for other, one in found.items() if one.is_of(repository, file)]
    return min(fetched, key=lambda other: not found[other].whole, default=home)


# --- the hub's own cache --------------------------------------------------------------------------------------------


def cache_folder(environ: Mapping[str, str]) -> str:
    """Where huggingface_hub keeps its cache, `~` and variables unexpanded.

    By the rule of the library, which a bot that starts does not load. In it `models--owner--name/refs/main` names a
    commit, and `snapshots/<commit>/` holds its files.
    """
    home = environ.get("HF_HOME") or f"{environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"


def cached_name(repository: str) -> str:
    """A repository's folder in the cache."""
    return f"models--{repository.replace('/', '--')}"
