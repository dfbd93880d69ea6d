"""POST context-menus: a person uses an app command on a message or on a user."""

from typing import Any

from sandbox.control.commands import owners_of, registered
from sandbox.control.options import Resolved
from sandbox.control.request import ControlRequest, Route
from sandbox.errors import ControlError
from sandbox.interactions import COMMAND
from sandbox.messages import message_object
from sandbox.validate import MESSAGE_COMMAND, USER_COMMAND
from sandbox.value_types import Json


async def use(request: ControlRequest) -> Any:
    user = request.person()
    channel = request.seen_channel(user)
    if ("message" in request.body) == ("user" in request.body):
        raise ControlError("bad_target", "Give either a message or a user.")
    kind = MESSAGE_COMMAND if "message" in request.body else USER_COMMAND
    command = registered(request, kind, str(request.need("name")), channel)
    owners = owners_of(request, command, user, channel)
    target, resolved = (
        _on_message(request, user, channel) if kind == MESSAGE_COMMAND else _on_user(request, user, channel)
    )
    data: Json = {"id": command["id"], "name": command["name"], "type": kind, "target_id": target, "resolved": resolved}
    data |= {"guild_id": command["guild_id"]} if command.get("guild_id") else {}
    interactions = request.sandbox.interactions
    started = interactions.start(
        COMMAND, user_id=user["id"], channel=channel, data=data, owners=owners, name=command["name"]
    )
    return await interactions.outcome(started)


def _on_message(request: ControlRequest, user: Json, channel: Json) -> tuple[str, Json]:
    """What a message app hands over is complete, whatever the bot's intents are."""
    record = request.seen_message(user, request.need("message"))
    if record["channel_id"] != channel["id"]:
        raise ControlError("unknown_message", "The message is in another channel.", status=404)
    return record["id"], {"messages": {record["id"]: message_object(request.world, record)}}


def _on_user(request: ControlRequest, user: Json, channel: Json) -> tuple[str, Json]:
    resolved = Resolved(request, user, channel)
    return resolved.person(request.need("user")), resolved.found


ROUTES: list[Route] = [("POST", "/context-menus", use)]
