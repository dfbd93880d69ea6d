"""POST components: a person presses a button or chooses from a select."""

from collections.abc import Iterator
from typing import Any

from sandbox.control.options import Resolved
from sandbox.control.request import ControlRequest, Route
from sandbox.errors import ControlError
from sandbox.interactions import COMPONENT
from sandbox.validate import (
    BUTTON,
    CHANNEL_SELECT,
    LINK,
    MENTIONABLE_SELECT,
    ROLE_SELECT,
    SELECTS,
    STRING_SELECT,
    USER_SELECT,
)
from sandbox.value_types import Json
from sandbox.world import DM


def walk(parts: Any) -> Iterator[Json]:
    """All buttons and selects of a message, in the order of reading."""
    for part in parts or []:
        if part["type"] == BUTTON or part["type"] in SELECTS:
            yield part
        yield from walk(part.get("components"))
        if part.get("accessory"):
            yield from walk([part["accessory"]])


def label_of(part: Json) -> str:
    return str(part.get("label") or part.get("placeholder") or "")


def find(parts: Any, *, label: str | None = None, custom_id: str | None = None) -> Json | None:
    """By custom id; or by label, else by emoji, else by the label's beginning."""
    all_parts = list(walk(parts))
    if custom_id is not None:
        return next((p for p in all_parts if p.get("custom_id") == custom_id), None)
    exact = [p for p in all_parts if label_of(p) == label]
    emoji = [p for p in all_parts if (p.get("emoji") or {}).get("name") == label]
    begun = [p for p in all_parts if label and label_of(p).startswith(label)]
    return next(iter(exact + emoji + begun), None)


async def press(request: ControlRequest) -> Any:
    user = request.person()
    record = request.seen_message(user)
    part = find(record["components"], label=request.body.get("label"), custom_id=request.body.get("custom_id"))
    if part is None:
        there = ", ".join(label_of(p) or str((p.get("emoji") or {}).get("name")) for p in walk(record["components"]))
        raise ControlError(
            "unknown_component", f"The message has no such component; it has: {there or 'none'}.", status=404
        )
    if part.get("disabled"):
        raise ControlError("disabled", f"{label_of(part) or 'The component'} is disabled.", status=409)
    if part["type"] == BUTTON and part.get("style") == LINK:
        raise ControlError("link", "A link button opens a page and tells the bot nothing.")
    channel = request.world.tables["channel"][record["channel_id"]]
    data: Json = {"component_type": part["type"], "custom_id": part["custom_id"], "id": part["id"]}
    if part["type"] in SELECTS:
        resolved = Resolved(request, user, channel)
        data["values"] = chosen(part, request.body.get("values") or [], resolved)
        data |= {"resolved": resolved.found} if resolved.found else {}
    interactions = request.sandbox.interactions
    owners = _owners(request, record, channel)
    started = interactions.start(
        COMPONENT, user_id=user["id"], channel=channel, data=data, owners=owners, source=record
    )
    return await interactions.outcome(started)


def _owners(request: ControlRequest, record: Json, channel: Json) -> Json:
    """By which installation a message's components run: the one that made the message."""
    if record["metadata"]:
        return dict(record["metadata"]["authorizing_integration_owners"])
    return {"0": "0" if channel["type"] == DM else channel["guild_id"]}


def chosen(part: Json, values: list[Any], resolved: Resolved) -> list[str]:
    """The values of a select: within its numbers, among its options (by value or label), or ids of what is named."""
    least, most = part.get("min_values", 1), part.get("max_values", 1)
    if not least <= len(values) <= most:
        raise ControlError("bad_values", f"Choose {least} to {most}.")
    if part["type"] == STRING_SELECT:
        return [_option(part, value) for value in values]
    ways = {USER_SELECT: resolved.person, ROLE_SELECT: resolved.role, MENTIONABLE_SELECT: resolved.either}
    if part["type"] == CHANNEL_SELECT:
        return [resolved.place(value, part.get("channel_types")) for value in values]
    return [ways[part["type"]](value) for value in values]


def _option(part: Json, value: Any) -> str:
    found = next((o for o in part["options"] if value in (o["value"], o["label"])), None)
    if found is None:
        there = ", ".join(o["label"] for o in part["options"])
        raise ControlError("bad_values", f"{value} is not among {there}.")
    return str(found["value"])


ROUTES: list[Route] = [("POST", "/components", press)]
