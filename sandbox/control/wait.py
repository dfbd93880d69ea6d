"""POST wait: hold until a message is as wanted, by listening and not by asking again.

`until` may hold: message (an id, to look at this one only), content_contains, button (the label's beginning, emoji or
custom id of a component that can be used), attachments (exactly so many), deleted (this message is gone). Without
`message` the newest one that fits is answered.
"""

import asyncio
from typing import Any

from sandbox.control.components import find
from sandbox.control.messages import shown
from sandbox.control.request import ControlRequest, Route, visible
from sandbox.errors import ControlError
from sandbox.value_types import Event, Json

KNOWN = {"message", "content_contains", "button", "attachments", "deleted"}


async def wait(request: ControlRequest) -> Any:
    user = request.person()
    channel = request.seen_channel(user)
    until = request.need("until")
    if not isinstance(until, dict):
        raise ControlError("wrong_field", f"until must be an object of {', '.join(sorted(KNOWN))}.")
    if unknown := set(until) - KNOWN:
        raise ControlError("unknown_field", f"until does not take {', '.join(sorted(unknown))}.")
    if until.get("deleted") and not until.get("message"):
        raise ControlError("missing_field", "deleted needs the message to wait for.")
    woken = asyncio.Event()

    def listen(event: Event) -> None:
        if event.channel_id in (None, channel["id"]) and until.get("message") in (None, event.body.get("id")):
            woken.set()

    request.world.listeners.append(listen)
    try:
        async with asyncio.timeout(float(request.body.get("timeout_ms", 10_000)) / 1000):
            while True:
                woken.clear()
                if (found := _found(request, user, channel, until)) is not None:
                    return found
                await woken.wait()
    except TimeoutError:
        there = [_brief(r) for r in request.world.messages_in(channel["id"]) if visible(request.world, r, user)]
        raise ControlError("not_yet", "The time ran out first.", status=408, there=there[-10:]) from None
    finally:
        request.world.listeners.remove(listen)


def _found(request: ControlRequest, user: Json, channel: Json, until: Json) -> Json | None:
    key = until.get("message")
    if until.get("deleted"):
        gone = request.world.get("message", key) is None
        return {"id": str(key), "deleted": True} if gone else None
    if key is not None:
        record = request.world.get("message", key)
        here = record is not None and record["channel_id"] == channel["id"] and visible(request.world, record, user)
        return shown(request.world, record, user) if here and record and _fits(record, until) else None
    records = [r for r in request.world.messages_in(channel["id"]) if visible(request.world, r, user)]
    for record in reversed(records):
        if _fits(record, until):
            return shown(request.world, record, user)
    return None


def _fits(record: Json, until: Json) -> bool:
    if until.get("content_contains") and until["content_contains"] not in record["content"]:
        return False
    if "attachments" in until and len(record["attachments"]) != until["attachments"]:
        return False
    if wanted := until.get("button"):
        part = find(record["components"], label=wanted) or find(record["components"], custom_id=wanted)
        return part is not None and not part.get("disabled")
    return True


def _brief(record: Json) -> Json:
    return {"id": record["id"], "content": record["content"][:200], "attachments": len(record["attachments"])}


ROUTES: list[Route] = [("POST", "/wait", wait)]
