"""Channels themselves: read, change, delete, overwrites, pins."""

from sandbox.channels import emit_channel, remove_channel
from sandbox.errors import refuse
from sandbox.messages import message_object, tell
from sandbox.permissions import ALL
from sandbox.rest.request import RestRequest, Route
from sandbox.serializers import channel_object
from sandbox.validate import Problems
from sandbox.value_types import Json, Reply
from sandbox.world import DM, THREADS


def get_channel(request: RestRequest) -> Reply:
    return Reply(data=channel_object(request.world, request.channel()))


def edit_channel(request: RestRequest) -> Reply:
    channel = request.channel()
    request.channel("manage_threads" if channel["type"] in THREADS else "manage_channels")
    problems = Problems()
    problems.text(("name",), request.json.get("name"), 100, least=1)
    problems.raise_if_any()
    names = ("name", "topic", "nsfw", "archived", "locked", "position")
    changed = channel | {name: request.json[name] for name in names if request.json.get(name) is not None}
    if "permission_overwrites" in request.json:
        changed["overwrites"] = [
            _overwrite(entry, entry["id"]) for entry in request.json["permission_overwrites"] or []
        ]
    return Reply(data=emit_channel(request.world, "UPDATE", request.world.put("channel", channel["id"], changed)))


def delete_channel(request: RestRequest) -> Reply:
    channel = request.channel()
    if channel["type"] == DM:
        return Reply(data=channel_object(request.world, channel))
    request.channel("manage_threads" if channel["type"] in THREADS else "manage_channels")
    body = channel_object(request.world, channel)
    remove_channel(request.world, channel)
    return Reply(data=body)


def _overwrite(entry: Json, key: str) -> Json:
    allow, deny = int(entry.get("allow") or 0) & ALL, int(entry.get("deny") or 0) & ALL
    return {"id": key, "type": int(entry.get("type", 0)), "allow": str(allow), "deny": str(deny)}


def put_overwrite(request: RestRequest) -> Reply:
    channel, key = request.channel("manage_roles"), request.params["overwrite_id"]
    others = [entry for entry in channel["overwrites"] if entry["id"] != key]
    changed = channel | {"overwrites": [*others, _overwrite(request.json, key)]}
    emit_channel(request.world, "UPDATE", request.world.put("channel", channel["id"], changed))
    return Reply(status=204)


def delete_overwrite(request: RestRequest) -> Reply:
    channel, key = request.channel("manage_roles"), request.params["overwrite_id"]
    changed = channel | {"overwrites": [entry for entry in channel["overwrites"] if entry["id"] != key]}
    emit_channel(request.world, "UPDATE", request.world.put("channel", channel["id"], changed))
    return Reply(status=204)


def list_pins(request: RestRequest) -> Reply:
    channel = request.channel("read_message_history")
    return Reply(
        data=[message_object(request.world, r) for r in request.world.messages_in(channel["id"]) if r["pinned"]]
    )


def put_pin(request: RestRequest) -> Reply:
    return _pin(request, True)


def delete_pin(request: RestRequest) -> Reply:
    return _pin(request, False)


def _pin(request: RestRequest, pinned: bool) -> Reply:
    channel = request.channel()
    if not (request.world.may(request.world.bot_id, channel, "manage_messages") or channel["type"] == DM):
        raise refuse("missing_permissions")
    record = request.message(channel)
    tell(request.world, "MESSAGE_UPDATE", request.world.put("message", record["id"], record | {"pinned": pinned}))
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
