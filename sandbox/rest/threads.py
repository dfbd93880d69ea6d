"""Threads: made from a message or alone, joined and left."""

from sandbox.clock import iso
from sandbox.errors import ApiError
from sandbox.rest.channels import told
from sandbox.rest.request import Call, Route
from sandbox.seed import add_channel
from sandbox.serializers import channel_object
from sandbox.validate.tree import Problems
from sandbox.value_types import Json, Reply
from sandbox.world import PRIVATE_THREAD, PUBLIC_THREAD, THREADS, World


def open_thread(world: World, parent: Json, name: str, *, owner_id: str, kind: int = PUBLIC_THREAD) -> Json:
    fields = {"parent_id": parent["id"], "owner_id": owner_id, "nsfw": parent["nsfw"]}
    thread = add_channel(world, parent["guild_id"], name, kind=kind, **fields)
    told(world, "CREATE", thread)
    return thread


def _name(call: Call) -> str:
    problems = Problems()
    problems.text(("name",), call.json.get("name"), 100, least=1, required=True)
    problems.raise_if_any()
    return str(call.json["name"])


def from_message(call: Call) -> Reply:
    channel = call.channel("create_public_threads")
    record = call.message(channel)
    if record["thread_id"]:
        raise ApiError(400, 160004, "A thread has already been created for this message")
    thread = open_thread(call.world, channel, _name(call), owner_id=call.world.bot_id)
    call.world.put("message", record["id"], record | {"thread_id": thread["id"]})
    return Reply(data=channel_object(call.world, thread), status=201)


def alone(call: Call) -> Reply:
    kind = int(call.json.get("type", PRIVATE_THREAD))
    channel = call.channel("create_private_threads" if kind == PRIVATE_THREAD else "create_public_threads")
    thread = open_thread(call.world, channel, _name(call), owner_id=call.world.bot_id, kind=kind)
    return Reply(data=channel_object(call.world, thread), status=201)


def join(call: Call) -> Reply:
    call.channel()
    return Reply(status=204)


def members(call: Call) -> Reply:
    thread = call.channel()
    user = {"id": thread["id"], "user_id": call.world.bot_id, "join_timestamp": iso(call.world.clock.now()), "flags": 0}
    return Reply(data=[user])


def active(call: Call) -> Reply:
    threads = [c for c in call.world.channels_of(call.guild()["id"]) if c["type"] in THREADS and not c["archived"]]
    seen = [t for t in threads if call.world.may(call.world.bot_id, t, "view_channel")]
    return Reply(data={"threads": [channel_object(call.world, t) for t in seen], "members": []})


ROUTES: list[Route] = [
    ("POST", "/channels/{channel_id}/messages/{message_id}/threads", from_message),
    ("POST", "/channels/{channel_id}/threads", alone),
    ("GET", "/channels/{channel_id}/thread-members", members),
    ("PUT", "/channels/{channel_id}/thread-members/{user_id}", join),
    ("DELETE", "/channels/{channel_id}/thread-members/{user_id}", join),
    ("GET", "/guilds/{guild_id}/threads/active", active),
]
