"""Looks at weights on this disk: what a file or folder is, and what is missing in it. Reads headers, loads nothing.

Knows diffusers' folder format and the original single files; never torch, and never a pickle. What lies there may be
anything: only what is a file is opened, never a pipe or a device, and of a folder only what is inside it.
"""

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.file_storage import is_file, is_folder
from core import safetensors_header, single_file
from core.catalogue import FAMILIES, Model, name_of
from core.families import ANY, SCHEDULER_CONFIG, computed_family
from core.folder_format import INDEX, PLAIN_INDEXES, chosen, components_of
from core.hub_messages import gigabytes
from core.safetensors_header import Header, NotSafetensors
from core.spelling import printable

_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_MOST_SIDE = 1 << 14
#: Configs have a few kilobytes, and the longest index of shards has some megabytes.
_MOST_JSON = 1 << 26
#: More files and folders than this are no model.
MOST_FILES = 100_000
#: Families of which all denoise with a UNet.
_UNETS = frozenset({"sd", "sdxl"})
_SCHEDULER = Path(SCHEDULER_CONFIG)
#: In these the sizes of such a model stand.
_SIZED_BY = ("unet/config.json", "vae/config.json")


class Unusable(Exception):
    """The files cannot be used as they are; the text is a sentence with the cure, on one line."""

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


class Unreadable(Unusable):
    """The disk does not give them now; that says nothing about what they are, and they are tried again."""


def model_at(place: Path, *, own_vae: bool = False) -> Model:
    """What a folder or a single file is, as far as its configuration or header tells. Raises Unusable.

    `own_vae`: the catalogue names a VAE for it, so that a single file may be without one.
    """
    return _in_folder(place) if is_folder(place) else _in_file(place, own_vae=own_vae)


def header_of(path: Path) -> Header:
    """The header of a file that is complete. Raises Unusable."""
    return _whole(path)


def problems(place: Path, *, own_vae: bool = False) -> list[str]:
    """What is missing or damaged, each as a sentence; empty when all that a worker needs is there."""
    try:
        return lasting_problems(place, own_vae=own_vae)
    except Unreadable as error:
        return [str(error)]


def lasting_problems(place: Path, *, own_vae: bool = False) -> list[str]:
    """As `problems`, of files that the disk gives. Raises Unreadable where it does not just now."""
    if not is_folder(place):
        try:
            _in_file(place, own_vae=own_vae)
        except Unreadable:
            raise
        except Unusable as error:
            return [str(error)]
        return []
    try:
        index = _read(place / INDEX)
    except Unreadable:
        raise
    except Unusable as error:
        return [str(error)]
    names = components_of(index)
    if outside := [name for name in names if not name or name in (".", "..") or "/" in name or "\0" in name]:
        return [
            printable(f"{place / INDEX} names “{outside[0][:60]}”, which is no folder in it. Fetch the model again.")
        ]
    return [printable(problem) for name in names for problem in _problems_of_component(place / name)]


def files_of(place: Path) -> Iterator[Path]:
    """The file itself, or all of a folder but the hidden ones. Raises OSError.

    Links are followed; each folder is gone through once, so that links in circles end.
    """
    seen: set[tuple[int, int]] = set()
    waiting, count = [place], 0
    while waiting:
        path, count = waiting.pop(), count + 1
        if count > MOST_FILES:
            raise OSError(errno.E2BIG, f"more than {MOST_FILES:,} files and folders")
        if is_file(path):
            yield path
        elif is_folder(path):
            told = path.stat()
            if (told.st_dev, told.st_ino) not in seen:
                seen.add((told.st_dev, told.st_ino))
                inside = [one for one in path.iterdir() if not one.name.startswith(".")]
                waiting += sorted(inside, reverse=True)


def bytes_of(place: Path) -> int:
    """How much it takes on the disk."""
    return sum(path.stat().st_size for path in files_of(place))


# --- single files ---------------------------------------------------------------------------------------------------


def _whole(path: Path) -> Header:
    """The header of a file that is complete. Raises Unusable."""
    try:
        if not is_file(path):
            raise Unusable(f"{path} is not a file, and does not lead to one. Remove it, or put the file there.")
        with path.open("rb") as file:
            header, there = safetensors_header.read(file.read), path.stat().st_size
    except NotSafetensors as error:
        cure = "Fetch it again, in safetensors format."
        raise Unusable(f"{path.name} {error}. {cure}") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}).") from None
    if there < header.file_bytes:
        raise Unusable(
            f"{path.name} is cut off: {gigabytes(there)} of {gigabytes(header.file_bytes)} are here. Fetch it again."
        )
    if there > header.file_bytes:
        more = f"has {there - header.file_bytes} bytes behind its last tensor, which its reader refuses"
        raise Unusable(f"{path.name} {more}. Fetch it again.")
    return header


def _in_file(path: Path, *, own_vae: bool) -> Model:
    _whole(path)
    with path.open("rb") as file:
        header = safetensors_header.read(file.read)
        try:
            found = single_file.identify(header, path.stem, take=single_file.behind_header(file), own_vae=own_vae)
        except single_file.WrongFile as error:
            raise Unusable(f"{path.name} {error}") from None
    base = FAMILIES[found.shape]
    model = replace(base, name=name_of(path.name), path=str(path), ignores=_ignored(found.guidance_features))
    if found.native == base.native:
        return model
    return replace(model, native=found.native, min_side=found.native // 2, max_side=found.native * 2)


# --- folders --------------------------------------------------------------------------------------------------------


def _problems_of_component(folder: Path) -> list[str]:
    where = f"{folder.parent.name}/{folder.name}"
    if not is_folder(folder) or not any(files_of(folder)):
        return [f"{where[:200]} is missing. Fetch the model again."]
    if folder.name == _SCHEDULER.parent.name and not (folder / _SCHEDULER.name).is_file():
        return [f"{where[:200]} has no {_SCHEDULER.name}. Fetch the model again."]
    if not (folder / "config.json").is_file():
        return []  # a tokenizer or a scheduler
    found = []
    weights = [path for path in files_of(folder) if path.suffix == ".safetensors"]
    for path in weights:
        try:
            _whole(path)
        except Unreadable:
            raise
        except Unusable as error:
            found.append(f"{where}: {error}")
    if not weights and any(path.suffix in _PICKLES for path in files_of(folder)):
        found.append(f"{where} holds only pickled weights, which are never loaded. Convert it to safetensors.")
    elif not weights:
        found.append(f"{where} has no weights. Fetch the model again.")
    elif not chosen(path.name for path in folder.iterdir()):
        found += [f"{where} {wrong}" for wrong in _why_closed(folder, {path.name for path in weights})]
    return found


def _why_closed(folder: Path, there: set[str]) -> list[str]:
    """What is wrong where no weights are whole by their names; nothing where a plain index leads to all of them."""
    indexes = sorted(folder.glob("*.safetensors*.index*.json"))
    missing = {index: _missing_shards(index, there) for index in indexes}
    if any(not names and index.name in PLAIN_INDEXES for index, names in missing.items()):
        return []
    if any(missing.values()):
        return [f"lacks {', '.join(min(filter(None, missing.values()), key=len)[:3])}. Fetch the model again."]
    if any("-of-" in name for name in there):
        return ["lacks some of its shards, or their index (.safetensors.index.json). Fetch the model again."]
    return [
        f"has weights under an unexpected name ({min(there)}). A text encoder's file is model.safetensors, "
        "and any other network's diffusion_pytorch_model.safetensors; both may have .fp16 or .bf16 before the ending."
    ]


def _missing_shards(index: Path, there: set[str]) -> list[str]:
    """The files that an index names and that are not there; the index itself where it cannot be read."""
    try:
        return sorted({str(shard) for shard in _read(index)["weight_map"].values()} - there)
    except Unreadable:
        raise
    except (Unusable, LookupError, AttributeError, TypeError):
        return [index.name]


def _in_folder(folder: Path) -> Model:
    """Raises Unusable."""
    scheduler = folder / SCHEDULER_CONFIG
    family = computed_family(_read(folder / INDEX), _read(scheduler) if scheduler.is_file() else {})
    name, path = name_of(str(folder)), str(folder)
    if family == "flux":
        config = folder / "transformer" / "config.json"
        guided = not config.is_file() or _read(config).get("guidance_embeds")
        return replace(FAMILIES[family], name=name, path=path, ignores=() if guided else ("cfg",))
    if family not in _UNETS and not all((folder / file).is_file() for file in _SIZED_BY):
        return replace(FAMILIES.get(family, FAMILIES[ANY]), name=name, path=path)
    unet, vae = (_read(folder / file) for file in _SIZED_BY)
    width = unet.get("cross_attention_dim")
    shape = (
        safetensors_header.shape_by_width(width)
        if type(width) is int and 0 < width <= _MOST_SIDE and family != ANY
        else ""
    )
    base = FAMILIES.get(shape if family == "sd" and shape in ("sd1", "sd2") else family, FAMILIES[ANY])
    try:
        shrink = 2 ** (len(vae.get("block_out_channels", (1, 1, 1, 1))) - 1)
        size = unet.get("sample_size", 64)
        native = int(size if isinstance(size, int) else size[0]) * shrink
        # A UNet halves the latents at every level but the last.
        multiple = shrink * 2 ** (len(unet.get("block_out_channels", (1, 1, 1, 1))) - 1)
    except (TypeError, ValueError, LookupError, OverflowError):
        multiple = native = 0
    if not 0 < multiple <= native <= _MOST_SIDE:
        sizes = "the sizes in unet/config.json and vae/config.json are impossible"
        raise Unusable(f"{folder}: {sizes}. Fetch the model again.")
    return replace(
        base,
        name=name,
        path=path,
        shape=shape,
        native=native,
        multiple=multiple,
        min_side=max(multiple, native // 2),
        max_side=native * 2,
        sizes=base.sizes if native == base.native else (),
        ignores=_ignored(unet.get("time_cond_proj_dim") if family in _UNETS else None),
    )


def _ignored(guidance_features: object) -> tuple[str, ...]:
    """What changes nothing with a UNet that takes its guidance as a number, of so many features, or does not."""
    return ("no",) if guidance_features else ()


def _read(path: Path) -> dict[str, Any]:
    """Raises Unusable."""
    if not path.exists():
        if path.name == INDEX:
            raise Unusable(f"{path.parent} has no {INDEX}: it is not a folder in diffusers' format.")
        raise Unusable(f"{path} is missing: the model's folder is incomplete; fetch it again.")
    try:
        if not path.is_file() or path.stat().st_size > _MOST_JSON:
            raise ValueError("it is no text of a few kilobytes")
        data = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise Unusable(f"{path} cannot be read: the folder is incomplete; fetch it again.") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise Unusable(
            f"{path} cannot be read ({str(error)[:200]}): the folder is incomplete; fetch it again."
        ) from None
    return data if isinstance(data, dict) else {}
