"""Opens and removes channels and threads, and tells of what happens to them. Checks no permissions: callers have."""

from sandbox.seed import add_channel
from sandbox.serializers import channel_object, thread_member
from sandbox.value_types import Event, Json
from sandbox.world import DM, PUBLIC_THREAD, THREADS, World


def emit_channel(world: World, verb: str, channel: Json, **more: bool) -> Json:
    """Emit CHANNEL_… or THREAD_… for a channel; its object."""
    kind = "THREAD" if channel["type"] in THREADS else "CHANNEL"
    body = channel_object(world, channel) | more
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


def open_thread(
    world: World, parent: Json, name: str, *, owner_id: str, kind: int = PUBLIC_THREAD, source: Json | None = None
) -> Json:
    """A thread whose owner is its member. One that hangs from a message, the `source`, has that message's id."""
    fields = {"parent_id": parent["id"], "owner_id": owner_id, "nsfw": parent["nsfw"], "members": [owner_id]}
    key = source["id"] if source else None
    thread = add_channel(world, parent["guild_id"], name, kind=kind, key=key, **fields)
    emit_channel(world, "CREATE", thread, newly_created=True)
    return thread


def change_thread_member(world: World, thread: Json, user_id: str, *, there: bool) -> Json:
    """Put a user into a thread or take them out; the thread afterwards."""
    members = [key for key in thread.get("members", []) if key != user_id] + ([user_id] if there else [])
    if set(members) == set(thread.get("members", [])):
        return thread
    changed = world.put("channel", thread["id"], thread | {"members": members})
    body: Json = {"id": thread["id"], "guild_id": thread["guild_id"], "member_count": len(members)}
    body |= {"added_members": [thread_member(thread, user_id, world.clock.now())] if there else []}
    body |= {"removed_member_ids": [] if there else [user_id]}
    # Without the members intent a bot is told of itself alone.
    scope = {"guild_id": thread["guild_id"], "channel_id": thread["id"], "to_bot": user_id == world.bot_id}
    world.emit(Event(name="THREAD_MEMBERS_UPDATE", body=body, **scope))
    return changed


def direct_channel(world: World, user_id: str) -> Json:
    """The direct channel with a person, opened if need be. Opening never fails; sending may."""
    return world.direct_channel(user_id) or add_channel(world, None, "", kind=DM, recipient_id=user_id)
