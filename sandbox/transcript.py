"""Remembers what was asked and what happened, and tells whoever listens. Memory only; knows nothing of HTTP.

Entries are {n, at_ms, kind: "request"|"event", …}: a request has method, route (the path as sent), status, ms, bucket,
body (what was sent, files summarised) and answer; an event has name and body.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from sandbox.clock import Clock
from sandbox.value_types import Body, Json

KEPT = 10_000


class Transcript:
    """The last 10,000 entries."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: deque[Json] = deque(maxlen=KEPT)
        self._count = 0
        self.listeners: list[Callable[[Json], None]] = []

    def add(self, kind: str, **fields: Any) -> Json:
        self._count += 1
        entry: Json = {"n": self._count, "at_ms": self._clock.now_ms(), "kind": kind}
        entry |= {name: value for name, value in fields.items() if value is not None}
        self._entries.append(entry)
        for listener in tuple(self.listeners):
            listener(entry)
        return entry

    def after(self, number: int) -> list[Json]:
        return [entry for entry in self._entries if entry["n"] > number]

    @property
    def last(self) -> int:
        return self._count


def summary(body: Body | None) -> Any:
    """A request's body without its bytes."""
    if body is None:
        return None
    if not body.files:
        return body.data
    files = [
        {
            "field": f"files[{number}]",
            "filename": file.filename,
            "content_type": file.content_type,
            "size": len(file.data),
        }
        for number, file in sorted(body.files.items())
    ]
    return {"payload_json": body.data, "files": files}
