"""What a companion's files say of themselves: configs, and names and shapes of tensors. Reads no weights.

Knows nothing of what a companion is for.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.checkpoint_formats import read_header
from worker.errors import CannotLoad, CannotOpen

#: Of a folder in transformers' format: all weights in one file, or the list of those that hold them.
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

Shapes = Mapping[str, tuple[int, ...]]


def config_of(folder: Path) -> Mapping[str, Any]:
    """A folder's config. Raises CannotOpen."""
    return _json(folder / "config.json", folder)


def shapes_of(files: Sequence[Path]) -> Shapes:
    """The shape of each tensor. Raises CannotOpen for a file that is none, or not whole."""
    try:
        return {name: tensor.shape for file in files for name, tensor in read_header(file).tensors.items()}
    except CannotLoad as error:
        raise CannotOpen(error.sentence) from error
    except OSError as error:
        raise CannotOpen(f"{error.filename} cannot be read ({error.strerror}).") from error


def weights_of(folder: Path) -> tuple[Path, ...]:
    """The files with the weights of a folder in transformers' format. Raises CannotOpen."""
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if not (folder / INDEX).is_file():
        raise CannotOpen(f"{folder} holds no {WEIGHTS}: fetch it again, or convert its weights to safetensors.")
    names = _json(folder / INDEX, folder).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CannotOpen(f"{folder / INDEX} names no weights. Fetch it again.")
    return tuple(folder / name for name in sorted(set(map(str, names.values()))))


def megabytes(shapes: Shapes, width: int) -> int:
    """What these tensors take in memory. `width`: bytes of a number in the precision that they will have."""
    return -(-sum(map(math.prod, shapes.values())) * width >> 20)


def _json(path: Path, folder: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise CannotOpen(f"{folder} holds no {path.name}: it is not a folder in transformers' format.")
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CannotOpen(f"{path} cannot be read ({error}). Is the download complete?") from error
    if not isinstance(told, dict):
        raise CannotOpen(f"{path} cannot be read. Is the download complete?")
    return told
