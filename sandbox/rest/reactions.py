"""Reactions under messages."""

from urllib.parse import unquote

from sandbox.errors import refuse
from sandbox.messages import emoji_object
from sandbox.rest.request import RestRequest, Route
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


def _emoji(request: RestRequest) -> str:
    emoji = unquote(request.params["emoji"])
    if not emoji or (emoji.isascii() and ":" not in emoji):
        raise refuse("unknown_emoji")
    return emoji


def add(request: RestRequest) -> Reply:
    channel = request.channel("read_message_history")
    record = request.message(channel)
    if _emoji(request) not in record["reactions"]:
        request.channel("add_reactions")
    react(request.world, record, request.world.bot_id, _emoji(request))
    return Reply(status=204)


def remove_own(request: RestRequest) -> Reply:
    unreact(request.world, request.message(request.channel()), request.world.bot_id, _emoji(request))
    return Reply(status=204)


def remove_other(request: RestRequest) -> Reply:
    record = request.message(request.channel("manage_messages"))
    unreact(request.world, record, request.params["user_id"], _emoji(request))
    return Reply(status=204)


def clear(request: RestRequest) -> Reply:
    record = request.message(request.channel("manage_messages"))
    wanted = [_emoji(request)] if "emoji" in request.params else list(record["reactions"])
    for emoji in wanted:
        for user_id in list(record["reactions"].get(emoji, [])):
            unreact(request.world, request.world.tables["message"][record["id"]], user_id, emoji)
    return Reply(status=204)


def users(request: RestRequest) -> Reply:
    record = request.message(request.channel("read_message_history"))
    keys = record["reactions"].get(_emoji(request), [])
    return Reply(data=[user_object(request.world.tables["user"][key]) for key in keys])


BASE = "/channels/{channel_id}/messages/{message_id}/reactions"
ROUTES: list[Route] = [
    ("DELETE", BASE, clear),
    ("GET", BASE + "/{emoji}", users),
    ("DELETE", BASE + "/{emoji}", clear),
    ("PUT", BASE + "/{emoji}/@me", add),
    ("DELETE", BASE + "/{emoji}/@me", remove_own),
    ("DELETE", BASE + "/{emoji}/{user_id}", remove_other),
]
