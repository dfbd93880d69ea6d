"""Reactions under messages."""

from urllib.parse import unquote

from sandbox.errors import refuse
from sandbox.messages import emoji_object
from sandbox.rest.request import Call, Route
from sandbox.serializers import member_object, user_object
from sandbox.value_types import Event, Json, Reply
from sandbox.world import World


def react(world: World, record: Json, user_id: str, emoji: str) -> None:
    """Add a user's reaction; adding it twice changes nothing."""
    users = record["reactions"].get(emoji, [])
    if user_id in users:
        return
    reactions = record["reactions"] | {emoji: [*users, user_id]}
    world.put("message", record["id"], record | {"reactions": reactions})
    extra: Json = {"message_author_id": record["author_id"]}
    member = world.member(record["guild_id"], user_id)
    extra |= {"member": member_object(world, member)} if member else {}
    _tell(world, "MESSAGE_REACTION_ADD", record, user_id, emoji, extra)


def unreact(world: World, record: Json, user_id: str, emoji: str) -> None:
    users = [key for key in record["reactions"].get(emoji, []) if key != user_id]
    if users == record["reactions"].get(emoji, []):
        return
    reactions = record["reactions"] | {emoji: users}
    reactions = {name: who for name, who in reactions.items() if who}
    world.put("message", record["id"], record | {"reactions": reactions})
    _tell(world, "MESSAGE_REACTION_REMOVE", record, user_id, emoji, {})


def _tell(world: World, name: str, record: Json, user_id: str, emoji: str, extra: Json) -> None:
    body: Json = {"user_id": user_id, "channel_id": record["channel_id"], "message_id": record["id"]}
    body |= {"emoji": emoji_object(emoji), "burst": False, "type": 0} | extra
    body |= {"guild_id": record["guild_id"]} if record["guild_id"] else {}
    world.emit(Event(name=name, body=body, guild_id=record["guild_id"], channel_id=record["channel_id"]))


def _emoji(call: Call) -> str:
    emoji = unquote(call.params["emoji"])
    if not emoji or (emoji.isascii() and ":" not in emoji):
        raise refuse("unknown_emoji")
    return emoji


def add(call: Call) -> Reply:
    channel = call.channel("read_message_history")
    record = call.message(channel)
    if _emoji(call) not in record["reactions"]:
        call.channel("add_reactions")
    react(call.world, record, call.world.bot_id, _emoji(call))
    return Reply(status=204)


def remove_own(call: Call) -> Reply:
    unreact(call.world, call.message(call.channel()), call.world.bot_id, _emoji(call))
    return Reply(status=204)


def remove_other(call: Call) -> Reply:
    record = call.message(call.channel("manage_messages"))
    unreact(call.world, record, call.params["user_id"], _emoji(call))
    return Reply(status=204)


def clear(call: Call) -> Reply:
    record = call.message(call.channel("manage_messages"))
    wanted = [_emoji(call)] if "emoji" in call.params else list(record["reactions"])
    for emoji in wanted:
        for user_id in list(record["reactions"].get(emoji, [])):
            unreact(call.world, call.world.tables["message"][record["id"]], user_id, emoji)
    return Reply(status=204)


def users(call: Call) -> Reply:
    record = call.message(call.channel("read_message_history"))
    keys = record["reactions"].get(_emoji(call), [])
    return Reply(data=[user_object(call.world.tables["user"][key]) for key in keys])


BASE = "/channels/{channel_id}/messages/{message_id}/reactions"
ROUTES: list[Route] = [
    ("DELETE", BASE, clear),
    ("GET", BASE + "/{emoji}", users),
    ("DELETE", BASE + "/{emoji}", clear),
    ("PUT", BASE + "/{emoji}/@me", add),
    ("DELETE", BASE + "/{emoji}/@me", remove_own),
    ("DELETE", BASE + "/{emoji}/{user_id}", remove_other),
]
