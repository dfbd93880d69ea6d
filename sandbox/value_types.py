"""The names of the small values that every room of the sandbox passes around. Knows no behaviour."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


def without_none(value: Any) -> Any:
    """A body without the fields that are null: senders write null for "not given"."""
    if isinstance(value, dict):
        return {name: without_none(item) for name, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file as it came in: its name, its type as the sender claimed it, its bytes."""

    filename: str
    content_type: str
    data: bytes
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that changed. `to_bot` says whether the gateway may tell it; `visible_to` narrows who sees it."""

    name: str
    body: Json
    guild_id: str | None = None
    channel_id: str | None = None
    to_bot: bool = True
    visible_to: str | None = None
    bot_body: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a REST handler answers: a status and a JSON body, or nothing with 204."""

    data: Any = None
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A request's body: the JSON part and the files by their number."""

    data: Any = field(default_factory=dict)
    files: dict[int, Upload] = field(default_factory=dict)
