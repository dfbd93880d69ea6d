"""Opens and removes channels and threads, and tells of what happens to them. Checks no permissions: callers have."""

from sandbox.seed import add_channel
from sandbox.serializers import channel_object
from sandbox.value_types import Event, Json
from sandbox.world import DM, PUBLIC_THREAD, THREADS, World


def emit_channel(world: World, verb: str, channel: Json) -> Json:
    """Emit CHANNEL_… or THREAD_… for a channel; its object."""
    kind = "THREAD" if channel["type"] in THREADS else "CHANNEL"
    body = channel_object(world, channel)
    scope = {"guild_id": channel["guild_id"], "channel_id": channel["id"]}
    world.emit(Event(name=f"{kind}_{verb}", body=body, to_bot=channel["type"] != DM, **scope))
    return body


def remove_channel(world: World, channel: Json) -> None:
    """Remove a channel with its messages and threads."""
    for thread in [c for c in world.all("channel") if c["parent_id"] == channel["id"]]:
        remove_channel(world, thread)
    for record in list(world.messages_in(channel["id"])):
        world.remove("message", record["id"])
    emit_channel(world, "DELETE", channel)
    world.remove("channel", channel["id"])


def open_thread(world: World, parent: Json, name: str, *, owner_id: str, kind: int = PUBLIC_THREAD) -> Json:
    fields = {"parent_id": parent["id"], "owner_id": owner_id, "nsfw": parent["nsfw"], "thread_members": [owner_id]}
    thread = add_channel(world, parent["guild_id"], name, kind=kind, **fields)
    emit_channel(world, "CREATE", thread)
    return thread


def set_member(world: World, thread: Json, user_id: str, *, inside: bool) -> None:
    """Who is in a thread; of a private one, who sees it."""
    others = [other for other in thread.get("thread_members", []) if other != user_id]
    world.put("channel", thread["id"], thread | {"thread_members": others + [user_id] * inside})


def direct_channel(world: World, user_id: str) -> Json:
    """The direct channel with a person, opened if need be. Opening never fails; sending may."""
    return world.direct_channel(user_id) or add_channel(world, None, "", kind=DM, recipient_id=user_id)
