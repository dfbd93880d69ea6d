"""Messages as frames: a fixed prefix, a JSON header, raw bytes. Pure: reads and writes no socket; no pickle.

Frame = magic "DR" + version (1 byte) + flags (1 byte, 0) + header length (u32) + body length (u32) + header + body,
big endian. The header is `{"type": NAME, …fields}`; the bytes of a message are the body, one after the other, and the
header says at each bytes-field how many they are. What arrives is held against its type and its rule
(`core/wire_values.py`), and no more bytes are waited for than what the header tells of can have.
"""

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, replace
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from core import events, wire_values
from core.errors import FrameError
from core.job import Canvas, HouseStyle, Input, Lora, MadeWith, Request, Upscale
from core.wire_values import ANY_LINE, ANY_LIST, ANY_NUMBER, MAX_PREVIEW, Many, Words, check_text, shortly

PREFIX = struct.Struct(">2sBBII")
MAGIC = b"DR"
MAX_HEADER = 1 << 20
#: The bot's catalogue may name tens of thousands of LoRAs.
MAX_ORDER_HEADER = 1 << 24
MAX_BODY = 1 << 28

#: Frames whose name on the wire is older than their name here: workers of other builds know them by it.
_WIRE_NAMES: dict[type[Any], str] = {events.OverheadTime: "HouseTime"}
_TYPES: dict[str, type[Any]] = {_WIRE_NAMES.get(cls, cls.__name__): cls for cls in get_args(events.Message)}
_NESTED = (
    *(Request, MadeWith, Input, Lora, Canvas, HouseStyle, Upscale),
    *(events.ModelInfo, events.ModelPlace, events.LoraPlace),
)
_HINTS: dict[type[Any], dict[str, Any]] = {
    cls: get_type_hints(cls, include_extras=True) for cls in (*_TYPES.values(), *_NESTED)
}
#: What the bot orders has texts of members in it, of any length and with line breaks. A worker's are lines.
_ORDERED = frozenset({*get_args(events.Order), *_NESTED} - {MadeWith, events.ModelInfo})
_MANY = tuple[bytes, ...]
#: The fields whose bytes follow the header, in their order.
_BYTES: dict[type[Any], tuple[str, ...]] = {
    cls: tuple(name for name, hint in hints.items() if hint in (bytes, _MANY)) for cls, hints in _HINTS.items()
}


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
            header[field.name] = _plain(hints[field.name], value)
    body = b"".join(parts)
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return PREFIX.pack(MAGIC, events.PROTOCOL, 0, len(head), len(body)) + head + body


def decode(header: bytes, body: bytes) -> events.Message | None:
    """A frame's two parts as a message; None for a type of a newer protocol. Raises FrameError."""
    data = _parsed(header)
    message = _read(data)
    return None if message is None else _filled(message, data, body)


def built(cls: type[Any], data: Mapping[str, Any]) -> Any:
    """A value as it would come over the wire, from JSON that was kept. Raises FrameError."""
    try:
        return _build(cls, data)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise FrameError(f"{shortly(data)} is no {cls.__name__}: {error}.") from error


def most_bytes(message: events.Message) -> int:
    """So many bytes can follow what a header announces at most. Raises FrameError for a picture of too many pixels."""
    if isinstance(message, events.Picture):
        if message.width * message.height > wire_values.MAX_PIXELS:
            raise FrameError(f"A picture of {message.width}×{message.height} pixels is too large.")
        # Four channels, a filter's byte in each row, and what deflate and chunks add to what cannot be made smaller.
        plain = message.height * (4 * message.width + 1)
        return plain + plain // 500 + (1 << 16)
    if isinstance(message, events.Progress):
        return MAX_PREVIEW
    return MAX_BODY if isinstance(message, events.Submit) else 0


def lengths(prefix: bytes, max_header: int = MAX_HEADER) -> tuple[int, int]:
    """Header and body length from the 12 bytes before them. Raises FrameError."""
    magic, version, _flags, header, body = PREFIX.unpack(prefix)
    if magic != MAGIC or version != events.PROTOCOL:
        raise FrameError("The other side does not speak Darkroom's worker protocol, or speaks another version of it.")
    if header > max_header or body > MAX_BODY:
        raise FrameError("A frame is larger than the protocol allows.")
    return header, body


class Splitter:
    """Cuts a stream of bytes into messages, however the chunks fall.

    `allow` says of a message whose header is here how many bytes may follow it, or raises FrameError.
    """

    def __init__(
        self, allow: Callable[[events.Message], int] = most_bytes, *, max_header: int = MAX_ORDER_HEADER
    ) -> None:
        self.allow = allow
        self.max_header = max_header
        self._buffer = bytearray()
        # Of the frame that is coming, once it was looked at: its header, and what that says.
        self._begun: tuple[dict[str, Any], events.Message | None] | None = None

    def feed(self, chunk: bytes) -> Iterator[events.Message]:
        """Messages completed by this chunk; unknown types are skipped. Raises FrameError."""
        self._buffer += chunk
        while len(self._buffer) >= PREFIX.size:
            head, body = lengths(bytes(self._buffer[: PREFIX.size]), self.max_header)
            if len(self._buffer) < PREFIX.size + head:
                return
            if self._begun is None:
                self._begun = self._looked_at(bytes(self._buffer[PREFIX.size : PREFIX.size + head]), body)
            end = PREFIX.size + head + body
            if len(self._buffer) < end:
                return
            header, message = self._begun
            whole = bytes(self._buffer[PREFIX.size + head : end])
            del self._buffer[:end]
            self._begun = None
            if message is not None:
                yield _filled(message, header, whole)

    def _looked_at(self, header: bytes, body: int) -> tuple[dict[str, Any], events.Message | None]:
        """Before its body comes: a message with nothing in the place of its bytes. Raises FrameError."""
        parsed = _parsed(header)
        message = _read(parsed)
        most = MAX_HEADER if message is None else self.allow(message)
        if body > most:
            raise FrameError(f"{body} bytes follow a {type(message).__name__}, which can have {most} at most.")
        return parsed, message


def _parsed(header: bytes) -> dict[str, Any]:
    """Raises FrameError."""
    try:
        data = json.loads(header)
        if not isinstance(data, dict):
            raise TypeError("its header is no object")
        return data
    except (ValueError, TypeError, RecursionError) as error:
        raise _unreadable(error) from error


def _read(data: Mapping[str, Any]) -> events.Message | None:
    """A message with nothing in the place of its bytes; None for a type of a newer protocol. Raises FrameError."""
    try:
        cls = _TYPES.get(data["type"])
        return None if cls is None else _build(cls, data)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(error) from error


def _filled(message: events.Message, data: Mapping[str, Any], body: bytes) -> events.Message:
    """The same message with its bytes. Raises FrameError when the header does not say where they end."""
    names = [name for name in _BYTES[type(message)] if name in data]
    if not names:
        return message
    values: dict[str, Any] = {}
    try:
        for name in names:
            if _HINTS[type(message)][name] is bytes:
                values[name], body = _cut(body, data[name])
                continue
            parts = []
            for length in _typed(tuple[int, ...], data[name], free=True):
                part, body = _cut(body, length)
                parts.append(part)
            values[name] = tuple(parts)
    except (ValueError, TypeError) as error:
        raise _unreadable(error) from error
    return replace(message, **values)


def _unreadable(error: Exception) -> FrameError:
    return FrameError(f"A frame could not be read: {str(error)[:300]}. Are the bot and the worker the same version?")


def _plain(hint: Any, value: Any) -> Any:
    """As JSON has it; words are made to fit their rule."""
    if isinstance(value, _NESTED):
        hints = _HINTS[type(value)]
        return {field.name: _plain(hints[field.name], getattr(value, field.name)) for field in fields(value)}
    if get_origin(hint) is Annotated:
        hint, rule = get_args(hint)
        if isinstance(rule, Words) and isinstance(value, str):
            return rule.fitted(value)
    if isinstance(value, tuple):
        args = get_args(hint)
        item = args[0] if len(args) == 2 and args[1] is Ellipsis else None
        return [_plain(item, one) for one in value]
    return value


def _build(cls: type[Any], data: Mapping[str, Any]) -> Any:
    """What the header says; bytes-fields are empty."""
    if not isinstance(data, Mapping):
        raise TypeError(f"{shortly(data)} is no {cls.__name__}")
    hints, free = _HINTS[cls], cls in _ORDERED
    values: dict[str, Any] = {}
    for field in fields(cls):
        hint = hints[field.name]
        if field.name in data:
            is_bytes = field.name in _BYTES[cls]
            values[field.name] = hint() if is_bytes else _typed(hint, data[field.name], free=free)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise KeyError(field.name)
    return cls(**values)


def _cut(body: bytes, length: Any) -> tuple[bytes, bytes]:
    """The first `length` bytes, and the rest. Raises ValueError when there are not as many."""
    if type(length) is not int or length < 0:
        raise ValueError("a length in its header is none")
    if length > len(body):
        raise ValueError("its body is shorter than its header says")
    return body[:length], body[length:]


def _typed(hint: Any, value: Any, *, free: bool) -> Any:
    """`value` from JSON as what the hint asks for. `free`: texts may have many lines.

    Raises TypeError or ValueError when it is something else.
    """
    origin = get_origin(hint)
    if origin is Annotated:
        hint, rule = get_args(hint)
        if isinstance(rule, Many):
            rule.check(value)  # before any of its items is looked at
        value = _typed(hint, value, free=free or hint is str)
        rule.check(value)
        return value
    if origin is tuple:
        return _typed_tuple(get_args(hint), value, free=free)
    if origin in (UnionType, Union):
        of = next(a for a in get_args(hint) if a is not type(None))
        return None if value is None else _typed(of, value, free=free)
    if hint in _NESTED:
        return _build(hint, value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    if hint is float and type(value) is int:
        ANY_NUMBER.check(value)
        return float(value)
    if type(value) is not hint:
        raise TypeError(f"{shortly(value)} is not {hint.__name__}")
    _check_any(value, free=free)
    return value


def _check_any(value: Any, *, free: bool) -> None:
    """What holds where a field has no rule of its own. Raises ValueError."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number that can be used")
    if type(value) is int:
        ANY_NUMBER.check(value)
    elif isinstance(value, str):
        check_text(value) if free else ANY_LINE.check(value)


def _typed_tuple(args: tuple[Any, ...], value: Any, *, free: bool) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):  # a tuple where it was kept and never written
        raise TypeError(f"{shortly(value)} is not a list")
    if not free:
        ANY_LIST.check(value)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_typed(args[0], item, free=free) for item in value)
    if len(args) != len(value):
        raise TypeError(f"{shortly(value)} does not have {len(args)} items")
    return tuple(_typed(arg, item, free=free) for arg, item in zip(args, value, strict=True))
