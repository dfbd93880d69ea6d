"""Chooses which files of a hub repository make a model, and how many bytes that is. Pure; fetches nothing.

Only safetensors and configuration. Where weights come in several precisions the half one is taken: a worker computes in
half precision on a GPU anyway, and it is half the download. The names stay the hub's: the worker knows them all.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bot.catalogue.checkpoint_files import INDEX
from core.folder_format import UNUSED, chosen, is_weights

_CONFIGS = (".json", ".txt", ".model", ".jinja")
_PICKLES = (".bin", ".ckpt", ".pt")
#: From the most to the least wanted.
_VARIANTS = ("fp16", "bf16", "", "fp32")


class NoModel(Exception):
    """The repository holds no model that can be used; the text is a sentence with the cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """`sha256` for large files, `git_id` (SHA-1 of git's blob) for small ones; empty where the hub does not say."""

    size: int
    sha256: str = ""
    git_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One revision of a repository. `gated`: its terms have to be accepted first."""

    id: str
    revision: str
    files: Mapping[str, RemoteFile]
    licence: str = ""
    gated: bool = False

    def size_of(self, names: Collection[str]) -> int:
        """Bytes of these files together."""
        return sum(self.files[name].size for name in names)


def single(repository: Repository, file: str) -> tuple[str, ...]:
    """The one file that is the model. Raises NoModel."""
    if file not in repository.files:
        there = [name for name in repository.files if name.endswith(".safetensors") and "/" not in name]
        has = f" It has {', '.join(there[:5])}." if there else ""
        raise NoModel(f"{repository.id} has no file {file}.{has}")
    if not file.endswith(".safetensors"):
        raise NoModel(f"{file} is not a .safetensors file, and no other kind is ever fetched.")
    return (file,)


def folder(repository: Repository, index: Mapping[str, Any]) -> tuple[str, ...]:
    """The files of a model in diffusers' format, by its model_index.json. Raises NoModel."""
    components = [name for name, library in index.items() if isinstance(library, list) and library[:1] != [None]]
    wanted = [INDEX]
    for component in components:
        if not component.startswith("_") and component not in UNUSED:
            wanted += _component(repository, component)
    return tuple(wanted)


def _component(repository: Repository, component: str) -> list[str]:
    inside = {
        name.removeprefix(f"{component}/"): file
        for name, file in repository.files.items()
        if name.startswith(f"{component}/") and name.count("/") == 1
    }
    if not inside:
        raise NoModel(f"{repository.id} has no {component}/, although its {INDEX} names it. Choose another model.")
    weights = [name for one in chosen(inside, _VARIANTS) for name in one.names]
    if not weights and any(name.endswith(_PICKLES) for name in inside):
        raise NoModel(f"{repository.id} has only pickled weights in {component}/, which are never fetched or loaded.")
    if not weights and (strange := sorted(name for name in inside if name.endswith(".safetensors"))):
        raise NoModel(
            f"{repository.id} has no weights in {component}/ that can be opened: {strange[0]} is not one, "
            "or is incomplete. Choose another model."
        )
    if not weights and "config.json" in inside:
        raise NoModel(f"{repository.id} has no safetensors in {component}/. Choose another model.")
    configs = [name for name in inside if name.endswith(_CONFIGS) and not is_weights(name)]
    return [f"{component}/{name}" for name in (*configs, *weights)]
