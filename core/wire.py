"""Messages as frames: a fixed prefix, a JSON header, raw bytes. Pure: reads and writes no socket; no pickle.

Frame = magic "DR" + version (1 byte) + flags (1 byte, 0) + header length (u32) + body length (u32) + header + body,
big endian. The header is `{"type": NAME, …fields}`; the bytes of a message are the body, one after the other, and the
header says at each bytes-field how many they are.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import MISSING, fields
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from core import events
from core.errors import FrameError
from core.job import Canvas, HouseStyle, Input, Lora, MadeWith, Request, Upscale

PREFIX = struct.Struct(">2sBBII")
MAGIC = b"DR"
MAX_HEADER = 1 << 20
MAX_BODY = 1 << 28

#: Frames whose name on the wire is older than their name here: workers of other builds know them by it.
_WIRE_NAMES: dict[type[Any], str] = {events.OverheadTime: "HouseTime"}
_TYPES: dict[str, type[Any]] = {_WIRE_NAMES.get(cls, cls.__name__): cls for cls in get_args(events.Message)}
_NESTED = (
    *(Request, MadeWith, Input, Lora, Canvas, HouseStyle, Upscale),
    *(events.ModelInfo, events.ModelPlace, events.LoraPlace),
)
_HINTS: dict[type[Any], dict[str, Any]] = {cls: get_type_hints(cls) for cls in (*_TYPES.values(), *_NESTED)}
_MANY = tuple[bytes, ...]


def encode(message: events.Message) -> bytes:
    """A message as one frame."""
    header: dict[str, Any] = {"type": _WIRE_NAMES.get(type(message), type(message).__name__)}
    parts: list[bytes] = []
    hints = _HINTS[type(message)]
    for field in fields(message):
        value = getattr(message, field.name)
        if hints[field.name] is bytes:
            header[field.name] = len(value)
            parts.append(value)
        elif hints[field.name] == _MANY:
            header[field.name] = [len(part) for part in value]
            parts.extend(value)
        else:
            header[field.name] = _plain(value)
    body = b"".join(parts)
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return PREFIX.pack(MAGIC, events.PROTOCOL, 0, len(head), len(body)) + head + body


def decode(header: bytes, body: bytes) -> events.Message | None:
    """A frame's two parts as a message; None for a type of a newer protocol. Raises FrameError."""
    try:
        data = json.loads(header)
        cls = _TYPES.get(data.pop("type"))
        return None if cls is None else _build(cls, data, body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FrameError(f"A frame could not be read: {error}. Are the bot and the worker the same version?") from error


def lengths(prefix: bytes) -> tuple[int, int]:
    """Header and body length from the 12 bytes before them. Raises FrameError."""
    magic, version, _flags, header, body = PREFIX.unpack(prefix)
    if magic != MAGIC or version != events.PROTOCOL:
        raise FrameError("The other side does not speak Darkroom's worker protocol, or speaks another version of it.")
    if header > MAX_HEADER or body > MAX_BODY:
        raise FrameError("A frame is larger than the protocol allows.")
    return header, body


class Splitter:
    """Cuts a stream of bytes into messages, however the chunks fall."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[events.Message]:
        """Messages completed by this chunk; unknown types are skipped. Raises FrameError."""
        self._buffer += chunk
        while len(self._buffer) >= PREFIX.size:
            head, body = lengths(bytes(self._buffer[: PREFIX.size]))
            end = PREFIX.size + head + body
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[PREFIX.size : end])
            del self._buffer[:end]
            message = decode(frame[:head], frame[head:])
            if message is not None:
                yield message


def _plain(value: Any) -> Any:
    if isinstance(value, _NESTED):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _build(cls: type[Any], data: dict[str, Any], body: bytes) -> Any:
    hints = _HINTS[cls]
    values: dict[str, Any] = {}
    left = body
    for field in fields(cls):
        hint = hints[field.name]
        if field.name in data and hint is bytes:
            values[field.name], left = _cut(left, data[field.name])
        elif field.name in data and hint == _MANY:
            parts = []
            for length in _typed(tuple[int, ...], data[field.name]):
                part, left = _cut(left, length)
                parts.append(part)
            values[field.name] = tuple(parts)
        elif field.name in data:
            values[field.name] = _typed(hint, data[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise KeyError(field.name)
    return cls(**values)


def _cut(body: bytes, length: Any) -> tuple[bytes, bytes]:
    """The first `length` bytes, and the rest. Raises ValueError when there are not as many."""
    if type(length) is not int or not 0 <= length <= len(body):
        raise ValueError("its body is shorter than its header says")
    return body[:length], body[length:]


def _typed(hint: Any, value: Any) -> Any:
    """`value` from JSON as what the hint asks for. Raises TypeError when it is something else."""
    origin = get_origin(hint)
    if origin is tuple:
        return _typed_tuple(get_args(hint), value)
    if origin in (UnionType, Union):
        return None if value is None else _typed(next(a for a in get_args(hint) if a is not type(None)), value)
    if hint in _NESTED:
        return _build(hint, value, b"")
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise TypeError(f"{value!r} is not {hint.__name__}")
    return value


def _typed_tuple(args: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_typed(args[0], item) for item in value)
    if len(args) != len(value):
        raise TypeError(f"{value!r} does not have {len(args)} items")
    return tuple(_typed(arg, item) for arg, item in zip(args, value, strict=True))
