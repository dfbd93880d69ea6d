"""POST context-menus: a person uses an app command on a message or on a user."""

from typing import Any

from sandbox.control.invoke import owners_of, registered
from sandbox.control.options import Resolved
from sandbox.control.request import Ask, Route
from sandbox.errors import ControlError
from sandbox.interactions import COMMAND
from sandbox.messages import message_object
from sandbox.validate.commands import MESSAGE, USER
from sandbox.value_types import Json


async def use(ask: Ask) -> Any:
    user = ask.person()
    channel = ask.seen_channel(user)
    if ("message" in ask.body) == ("user" in ask.body):
        raise ControlError("bad_target", "Give either a message or a user.")
    kind = MESSAGE if "message" in ask.body else USER
    command = registered(ask, kind, str(ask.need("name")), channel)
    owners = owners_of(ask, command, user, channel)
    target, resolved = _on_message(ask, user, channel) if kind == MESSAGE else _on_user(ask, user, channel)
    data: Json = {"id": command["id"], "name": command["name"], "type": kind, "target_id": target, "resolved": resolved}
    data |= {"guild_id": command["guild_id"]} if command.get("guild_id") else {}
    desk = ask.sandbox.desk
    started = desk.start(COMMAND, user_id=user["id"], channel=channel, data=data, owners=owners, name=command["name"])
    return await desk.outcome(started)


def _on_message(ask: Ask, user: Json, channel: Json) -> tuple[str, Json]:
    """What a message app hands over is complete, whatever the bot's intents are."""
    record = ask.seen_message(user, ask.need("message"))
    if record["channel_id"] != channel["id"]:
        raise ControlError("unknown_message", "The message is in another channel.", status=404)
    return record["id"], {"messages": {record["id"]: message_object(ask.world, record)}}


def _on_user(ask: Ask, user: Json, channel: Json) -> tuple[str, Json]:
    resolved = Resolved(ask, user, channel)
    return resolved.person(ask.need("user")), resolved.found


ROUTES: list[Route] = [("POST", "/context-menus", use)]
