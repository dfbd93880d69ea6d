"""Adds and removes reactions, and tells of them. Checks no permissions: callers have."""

from sandbox.messages import emoji_object
from sandbox.serializers import member_object
from sandbox.value_types import Event, Json
from sandbox.world import World

#: Different emoji below one message.
MOST_EMOJI = 20


def add_reaction(world: World, record: Json, user_id: str, emoji: str) -> None:
    """Add a user's reaction; adding it twice changes nothing."""
    users = record["reactions"].get(emoji, [])
    if user_id in users:
        return
    reactions = record["reactions"] | {emoji: [*users, user_id]}
    world.put("message", record["id"], record | {"reactions": reactions})
    extra: Json = {"message_author_id": record["author_id"]}
    member = world.member(record["guild_id"], user_id)
    extra |= {"member": member_object(world, member)} if member else {}
    _emit(world, "MESSAGE_REACTION_ADD", record, user_id, emoji, extra)


def remove_reaction(world: World, record: Json, user_id: str, emoji: str) -> None:
    users = [key for key in record["reactions"].get(emoji, []) if key != user_id]
    if users == record["reactions"].get(emoji, []):
        return
    reactions = record["reactions"] | {emoji: users}
    reactions = {name: who for name, who in reactions.items() if who}
    world.put("message", record["id"], record | {"reactions": reactions})
    _emit(world, "MESSAGE_REACTION_REMOVE", record, user_id, emoji, {})


def clear_reactions(world: World, record: Json, emoji: str | None = None) -> None:
    """Remove all reactions of one emoji, or of every one, and tell so in one event."""
    kept = {name: who for name, who in record["reactions"].items() if emoji not in (None, name)}
    if kept == record["reactions"]:
        return
    world.put("message", record["id"], record | {"reactions": kept})
    body: Json = {"channel_id": record["channel_id"], "message_id": record["id"]}
    body |= {"guild_id": record["guild_id"]} if record["guild_id"] else {}
    body |= {"emoji": emoji_object(emoji)} if emoji else {}
    name = "MESSAGE_REACTION_REMOVE_EMOJI" if emoji else "MESSAGE_REACTION_REMOVE_ALL"
    world.emit(Event(name=name, body=body, guild_id=record["guild_id"], channel_id=record["channel_id"]))


def _emit(world: World, name: str, record: Json, user_id: str, emoji: str, extra: Json) -> None:
    body: Json = {"user_id": user_id, "channel_id": record["channel_id"], "message_id": record["id"]}
    body |= {"emoji": emoji_object(emoji), "burst": False, "type": 0} | extra
    body |= {"guild_id": record["guild_id"]} if record["guild_id"] else {}
    world.emit(Event(name=name, body=body, guild_id=record["guild_id"], channel_id=record["channel_id"]))
