"""The clocks and sizes in force, all adjustable. Knows nothing of who asks."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sandbox.errors import ControlError
from sandbox.value_types import Json

# "METHOD /route": [requests, seconds], per channel or per webhook token; None lifts the limit.
BUCKETS: dict[str, tuple[int, float] | None] = {
    "POST /channels/{channel_id}/messages": (5, 5.0),
    "PATCH /channels/{channel_id}/messages/{message_id}": (5, 5.0),
    "DELETE /channels/{channel_id}/messages/{message_id}": (5, 1.0),
    "POST /channels/{channel_id}/typing": (5, 5.0),
    "PUT /channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me": (4, 1.0),
    "POST /webhooks/{webhook_id}/{token}": (5, 2.0),
    "PATCH /webhooks/{webhook_id}/{token}/messages/{message_id}": (5, 2.0),
    "DELETE /webhooks/{webhook_id}/{token}/messages/{message_id}": (5, 2.0),
    "GET /webhooks/{webhook_id}/{token}/messages/{message_id}": (5, 2.0),
    "POST /users/@me/channels": (10, 10.0),
    "POST /interactions/{interaction_id}/{token}/callback": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`heartbeat_ms` is an addition of ours, so that a test of silence need not last a minute."""

    ack_ms: int = 3000
    token_seconds: float = 900.0
    edit_window_seconds: float = 3600.0
    old_edits: tuple[int, float] = (5, 60.0)
    upload_bytes: int = 10 * 1024 * 1024
    global_per_second: int = 50
    heartbeat_ms: int = 41_250
    buckets: dict[str, tuple[int, float] | None] = field(default_factory=lambda: dict(BUCKETS))

    def as_json(self) -> Json:
        return asdict(self)


def changed(limits: Limits, wanted: Json) -> Limits:
    """The limits with what is wanted put in; an unknown name or a senseless number is refused."""
    known = {item.name for item in fields(Limits)}
    for name, value in wanted.items():
        if name not in known:
            raise ControlError(
                "unknown_limit", f"There is no limit called {name}; use one of {', '.join(sorted(known))}."
            )
        if name not in ("buckets", "old_edits") and (not isinstance(value, int | float) or value < 0):
            raise ControlError("bad_limit", f"{name} must be a number that is not negative.")
    values: dict[str, Any] = dict(wanted)
    if "buckets" in values:
        values["buckets"] = limits.buckets | {route: _pair(route, pair) for route, pair in values["buckets"].items()}
    if "old_edits" in values:
        values["old_edits"] = _pair("old_edits", values["old_edits"])
    return replace(limits, **values)


def _pair(name: str, pair: Any) -> tuple[int, float] | None:
    if pair is None:
        return None
    if not isinstance(pair, list | tuple) or len(pair) != 2 or pair[0] < 1 or pair[1] <= 0:
        raise ControlError("bad_limit", f"{name} must be [requests, seconds], or null for no limit.")
    return int(pair[0]), float(pair[1])
