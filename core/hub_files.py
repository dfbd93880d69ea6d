"""Chooses which files of a hub repository make a model. Pure; fetches nothing.

Only safetensors and configuration. Where weights come in several precisions the half one is taken: a worker computes in
half precision on a GPU anyway, and it is half the download. A copy that is there keeps the precision that it has. The
names stay the hub's: the worker knows them all.
"""

import glob
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from core.folder_format import INDEX, chosen, components_of, is_weights

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

    @classmethod
    def of(cls, name: str, info: Any) -> Self:
        """From what huggingface_hub's `model_info` gives when it is asked for the files' metadata."""
        files = {
            one.rfilename: RemoteFile(
                size=one.size or 0,
                sha256=one.lfs.sha256 if one.lfs else "",
                git_id="" if one.lfs else one.blob_id or "",
            )
            for one in info.siblings or ()
            if is_inside(one.rfilename)
        }
        card = info.card_data
        licence = getattr(card, "license_name", None) or getattr(card, "license", None) or ""
        return cls(id=name, revision=info.sha or "main", files=files, licence=str(licence), gated=bool(info.gated))

    def size_of(self, names: Iterable[str]) -> int:
        """Bytes of these files together."""
        return sum(self.files[name].size for name in names)


def single(repository: Repository, file: str) -> tuple[str, ...]:
    """The one file that is the model. Raises NoModel."""
    if file not in repository.files:
        there = _loose(repository)
        has = f" It has {', '.join(there[:5])}." if there else ""
        raise NoModel(f"{repository.id} has no file {file}.{has}")
    if not file.endswith(".safetensors"):
        raise NoModel(f"{file} is not a .safetensors file, and no other kind is ever fetched.")
    return (file,)


def check_folder(repository: Repository) -> None:
    """Raises NoModel unless it is in diffusers' format, so that its index can be fetched."""
    if INDEX not in repository.files:
        there = _loose(repository)
        one = f" Perhaps you want one file of it: {repository.id}/{there[0]}." if there else ""
        raise NoModel(f"{repository.id} is not in diffusers' format.{one}")


def folder(repository: Repository, index: Mapping[str, Any], kept: Collection[str] = ()) -> tuple[str, ...]:
    """The files of a model in diffusers' format, by its model_index.json. Raises NoModel.

    `kept`: names of a copy that is there, whole or not; where they make a component's weights, these are chosen again.
    """
    found = [INDEX]
    for component in components_of(index):
        found += _component(repository, component, kept)
    return tuple(found)


def patterns(files: Iterable[str]) -> list[str]:
    """Names as huggingface_hub's `allow_patterns` has them, so that each stands for itself alone."""
    return [glob.escape(name) for name in files]


def _loose(repository: Repository) -> list[str]:
    return [name for name in repository.files if name.endswith(".safetensors") and "/" not in name]


def _component(repository: Repository, component: str, kept: Collection[str]) -> list[str]:
    inside = [
        name.removeprefix(f"{component}/")
        for name in repository.files
        if name.startswith(f"{component}/") and name.count("/") == 1
    ]
    if not inside:
        raise NoModel(f"{repository.id} has no {component}/, although its {INDEX} names it. Choose another model.")
    before = chosen(name for name in inside if f"{component}/{name}" in kept)
    weights = [name for one in before or chosen(inside, _VARIANTS) for name in one.names]
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


def is_inside(file: str) -> bool:
    """Whether a name leads to a place below the folder that it is fetched into, whoever made it up."""
    return not file.startswith("/") and ".." not in file.replace("\\", "/").split("/")
