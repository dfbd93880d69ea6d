"""Channels themselves: read, change, delete, overwrites, pins."""

from sandbox.errors import refuse
from sandbox.messages import message_object, tell
from sandbox.permissions import ALL
from sandbox.rest.request import Call, Route
from sandbox.serializers import channel_object
from sandbox.validate.tree import Problems
from sandbox.value_types import Event, Json, Reply
from sandbox.world import DM, THREADS, World


def told(world: World, verb: str, channel: Json) -> Json:
    """Emit CHANNEL_… or THREAD_… for a channel; its object."""
    kind = "THREAD" if channel["type"] in THREADS else "CHANNEL"
    body = channel_object(world, channel)
    scope = {"guild_id": channel["guild_id"], "channel_id": channel["id"]}
    world.emit(Event(name=f"{kind}_{verb}", body=body, to_bot=channel["type"] != DM, **scope))
    return body


def forget(world: World, channel: Json) -> None:
    """Remove a channel with its messages and threads."""
    for thread in [c for c in world.all("channel") if c["parent_id"] == channel["id"]]:
        forget(world, thread)
    for record in list(world.messages_in(channel["id"])):
        world.remove("message", record["id"])
    told(world, "DELETE", channel)
    world.remove("channel", channel["id"])


def get_channel(call: Call) -> Reply:
    return Reply(data=channel_object(call.world, call.channel()))


def edit_channel(call: Call) -> Reply:
    channel = call.channel()
    call.channel("manage_threads" if channel["type"] in THREADS else "manage_channels")
    problems = Problems()
    problems.text(("name",), call.json.get("name"), 100, least=1)
    problems.raise_if_any()
    names = ("name", "topic", "nsfw", "archived", "locked", "position")
    changed = channel | {name: call.json[name] for name in names if call.json.get(name) is not None}
    if "permission_overwrites" in call.json:
        changed["overwrites"] = [_overwrite(entry, entry["id"]) for entry in call.json["permission_overwrites"] or []]
    return Reply(data=told(call.world, "UPDATE", call.world.put("channel", channel["id"], changed)))


def delete_channel(call: Call) -> Reply:
    channel = call.channel()
    if channel["type"] == DM:
        return Reply(data=channel_object(call.world, channel))
    call.channel("manage_threads" if channel["type"] in THREADS else "manage_channels")
    body = channel_object(call.world, channel)
    forget(call.world, channel)
    return Reply(data=body)


def _overwrite(entry: Json, key: str) -> Json:
    allow, deny = int(entry.get("allow") or 0) & ALL, int(entry.get("deny") or 0) & ALL
    return {"id": key, "type": int(entry.get("type", 0)), "allow": str(allow), "deny": str(deny)}


def put_overwrite(call: Call) -> Reply:
    channel, key = call.channel("manage_roles"), call.params["overwrite_id"]
    others = [entry for entry in channel["overwrites"] if entry["id"] != key]
    changed = channel | {"overwrites": [*others, _overwrite(call.json, key)]}
    told(call.world, "UPDATE", call.world.put("channel", channel["id"], changed))
    return Reply(status=204)


def delete_overwrite(call: Call) -> Reply:
    channel, key = call.channel("manage_roles"), call.params["overwrite_id"]
    changed = channel | {"overwrites": [entry for entry in channel["overwrites"] if entry["id"] != key]}
    told(call.world, "UPDATE", call.world.put("channel", channel["id"], changed))
    return Reply(status=204)


def list_pins(call: Call) -> Reply:
    channel = call.channel("read_message_history")
    return Reply(data=[message_object(call.world, r) for r in call.world.messages_in(channel["id"]) if r["pinned"]])


def put_pin(call: Call) -> Reply:
    return _pin(call, True)


def delete_pin(call: Call) -> Reply:
    return _pin(call, False)


def _pin(call: Call, pinned: bool) -> Reply:
    channel = call.channel()
    if not (call.world.may(call.world.bot_id, channel, "manage_messages") or channel["type"] == DM):
        raise refuse("missing_permissions")
    record = call.message(channel)
    tell(call.world, "MESSAGE_UPDATE", call.world.put("message", record["id"], record | {"pinned": pinned}))
    return Reply(status=204)


ROUTES: list[Route] = [
    ("GET", "/channels/{channel_id}", get_channel),
    ("PATCH", "/channels/{channel_id}", edit_channel),
    ("DELETE", "/channels/{channel_id}", delete_channel),
    ("PUT", "/channels/{channel_id}/permissions/{overwrite_id}", put_overwrite),
    ("DELETE", "/channels/{channel_id}/permissions/{overwrite_id}", delete_overwrite),
    ("GET", "/channels/{channel_id}/pins", list_pins),
]
for _path in ("/channels/{channel_id}/pins/{message_id}", "/channels/{channel_id}/messages/pins/{message_id}"):
    ROUTES += [("PUT", _path, put_pin), ("DELETE", _path, delete_pin)]
