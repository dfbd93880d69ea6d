"""Opens the header of a checkpoint in one `.safetensors` file; `configs/` holds the configs that such files lack.

What the file is says core/single_file.py. Loads no weights.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from core.safetensors_header import Header, NotSafetensors, read
from core.single_file import SingleFile, WrongFile, behind_header, identify
from worker.errors import CannotLoad

CONFIGS = Path(__file__).resolve().parent / "configs"


class Shape(StrEnum):
    """A folder of `configs/`."""

    SD1 = "sd1"
    SD2 = "sd2"
    SDXL = "sdxl"


FAMILIES: Mapping[str, str] = {Shape.SD1: "sd", Shape.SD2: "sd", Shape.SDXL: "sdxl"}


def read_header(path: Path) -> Header:
    """What a file says of its tensors, without reading these. Raises CannotLoad when it is no safetensors file."""
    with _open(path) as file:
        return _header(path, file)


def look(
    path: Path, *, name: str = "", own_vae: bool = False, any_size: bool = False
) -> tuple[Header, SingleFile]:  # fmt: skip
    """The file's header, and what it is. Raises CannotLoad with what would be right.

    `name`: its author's. `own_vae`: another autoencoder is there for it. `any_size`: configs come with it.
    """
    with _open(path) as file:
        header = _header(path, file)
        how = {"own_vae": own_vae, "any_size": any_size}
        try:
            return header, identify(header, name or path.stem, take=behind_header(file), **how)
        except WrongFile as error:
            raise CannotLoad(f"{path.name} {error}") from error


def _open(path: Path) -> BinaryIO:
    """Never waits, as a pipe's opening would. Raises CannotLoad."""
    if not path.is_file():
        raise CannotLoad(f"{path} is not a file, and does not lead to one.")
    return path.open("rb")


def _header(path: Path, file: BinaryIO) -> Header:
    try:
        header = read(file.read)
    except NotSafetensors as error:
        raise CannotLoad(f"{path.name} {error}. It should be a checkpoint in safetensors format.") from error
    size = path.stat().st_size
    if size < header.file_bytes:
        raise CannotLoad(f"{path.name} ends too early: the download is incomplete. Fetch it again.")
    if size > header.file_bytes:
        more = f"has {size - header.file_bytes} bytes behind its last tensor, which its reader refuses"
        raise CannotLoad(f"{path.name} {more}. Fetch it again.")
    return header


def family_of(path: Path) -> str:
    """`sd` or `sdxl`. Raises CannotLoad for files that are no such checkpoint."""
    return FAMILIES[look(path, own_vae=True, any_size=True)[1].shape]
