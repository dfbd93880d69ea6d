"""Reads a .safetensors file's header, and tells whether it is a LoRA's; what a checkpoint is says single_file.py.

Pure: it is given bytes, opens no file, and knows neither torch nor what a model is good for. Format: 8 bytes with the
header's length (little endian), the header as JSON, then the tensors' bytes without a gap.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core import lora_tensors

#: Bytes before the header, which say how long it is.
PREFIX = 8
#: Headers of the largest known checkpoints have less than a tenth of it.
MAX_HEADER = 100_000_000

_JSON = json.JSONDecoder()
_BLANKS = re.compile(r"[ \t\n\r]*+")
#: No file and no tensor has numbers beyond this, and no tensor so many sides.
_MOST, _MOST_SIDES = (1 << 63) - 1, 64

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4,
}  # fmt: skip
#: First bytes of files that people take for safetensors, with what they are and what to do.
_STRANGERS = (
    (b"PK\x03\x04", "a pickle in torch's format, which may run any program"),
    (b"PK\x05\x06", "an empty archive"),
    (b"\x80\x02", "a pickle, which may run any program"),
    (b"\x80\x03", "a pickle, which may run any program"),
    (b"\x80\x04", "a pickle, which may run any program"),
    (b"\x80\x05", "a pickle, which may run any program"),
    (b"GGUF", "a GGUF file"),
    (b"version ", "a Git LFS pointer instead of the file that it stands for"),
    (b"<!DOCTYP", "a web page"),
    (b"<html", "a web page"),
)
#: Width of the text that a Stable Diffusion UNet looks at, by which its generations differ.
_BY_WIDTH = {768: "sd1", 1024: "sd2", 1280: "sdxl-refiner", 2048: "sdxl"}


class NotSafetensors(ValueError):
    """The bytes are no safetensors header; the text says what they are, to stand behind "it is" or "it"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One entry: type as the format names it (`F16`), shape, and where its bytes lie behind the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """All tensors by name, what the writer noted beside them, and how many bytes the whole file must have."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    file_bytes: int


def length(prefix: bytes) -> int:
    """Bytes of the header, from the file's first 8. Raises NotSafetensors for pickles, pointers and the like."""
    size = int.from_bytes(prefix[:PREFIX], "little")
    if len(prefix) >= PREFIX and 2 <= size <= MAX_HEADER:
        return size
    _refuse_stranger(prefix)
    raise NotSafetensors("is cut off before its header" if len(prefix) < PREFIX else "has no safetensors header")


def _refuse_stranger(data: bytes) -> None:
    for magic, what in _STRANGERS:
        if data[:PREFIX].startswith(magic[:PREFIX]):
            raise NotSafetensors(f"is {what}")


def read(take: Callable[[int], bytes]) -> Header:
    """The header of a file of which `take` gives so many bytes on, from its beginning. Raises NotSafetensors."""
    prefix = take(PREFIX)
    return parse(prefix + take(length(prefix)))


def parse(data: bytes) -> Header:
    """The header from a file's beginning: the prefix and at least `length` bytes. Raises NotSafetensors."""
    size = length(data[:PREFIX])
    if not data.startswith(b"{", PREFIX):
        # Only then: a header of 896 bytes begins as a pickle does.
        _refuse_stranger(data)
    if len(data) < PREFIX + size:
        raise NotSafetensors("is cut off inside its header")
    try:
        metadata: Any = {}
        tensors: dict[str, Tensor] = {}
        for name, entry in _entries(data[PREFIX : PREFIX + size].decode()):
            if name == "__metadata__":
                metadata = entry or {}
            else:
                tensors[_name(name)] = _tensor(entry)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NotSafetensors("has a damaged header") from None
    end = max((tensor.end for tensor in tensors.values()), default=0)
    told = {_text(name): _text(value) for name, value in metadata.items()} if isinstance(metadata, dict) else {}
    return Header(tensors=tensors, metadata=told, file_bytes=PREFIX + size + end)


def is_lora(header: Header) -> bool:
    """Whether the tensors are those of a LoRA, of whichever kind."""
    return any(lora_tensors.is_telling(name) for name in header.tensors)


def shape_by_width(width: int) -> str:
    """How checkpoints are called that look at text of this width; a small model of one's own by the width itself."""
    return _BY_WIDTH.get(width, f"width-{width}")


def _entries(text: str) -> Iterator[tuple[str, Any]]:
    """Of an object in JSON, one after the other. Raises ValueError or IndexError.

    To read a header of megabytes at once keeps the interpreter for seconds, and all that others wait for.
    """
    at, more = _behind_blanks(text, 1), True
    if text[at] == "}":
        at, more = at + 1, False
    while more:
        name, at = _JSON.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError(at)
        value, at = _JSON.raw_decode(text, _behind(":", text, at))
        yield name, value
        at = _behind_blanks(text, at)
        more = text[at] != "}"
        at = _behind(",", text, at) if more else at + 1
    if _behind_blanks(text, at) != len(text):
        raise ValueError(at)


def _behind(sign: str, text: str, at: int) -> int:
    """Where it goes on behind the sign and the blanks around it. Raises ValueError where there is another one."""
    at = _behind_blanks(text, at)
    if text[at] != sign:
        raise ValueError(at)
    return _behind_blanks(text, at + 1)


def _behind_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    assert match is not None  # none is fine too
    return match.end()


def _name(name: str) -> str:
    """Raises ValueError for half a character, which no library that reads tensors takes."""
    name.encode()
    return name


def _text(value: object) -> str:
    """What a writer noted, in whole characters."""
    return str(value).encode("utf-8", "replace").decode()


def _tensor(entry: Mapping[str, object]) -> Tensor:
    """Raises KeyError, TypeError or ValueError for what is none, and where its bytes are not as many as it needs."""
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise TypeError(entry)
    begin, end = offsets
    numbers = [*shape, begin, end]
    if any(type(number) is not int or not 0 <= number <= _MOST for number in numbers) or end < begin:
        raise ValueError(entry)
    if len(shape) > _MOST_SIDES:
        raise ValueError(len(shape))
    if dtype in _BITS and (end - begin) * 8 != math.prod(shape) * _BITS[dtype]:
        raise ValueError(entry)
    return Tensor(dtype=dtype, shape=tuple(shape), begin=begin, end=end)
