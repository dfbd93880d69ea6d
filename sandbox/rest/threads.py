"""Threads: made from a message or alone, joined and left."""

from sandbox.channels import open_thread, set_member
from sandbox.clock import iso
from sandbox.errors import ApiError, refuse
from sandbox.rest.request import RestRequest, Route
from sandbox.serializers import channel_object
from sandbox.validate import Problems
from sandbox.value_types import Json, Reply
from sandbox.world import PRIVATE_THREAD, THREADS


def _name(request: RestRequest) -> str:
    problems = Problems()
    problems.text(("name",), request.json.get("name"), 100, least=1, required=True)
    problems.raise_if_any()
    return str(request.json["name"])


def from_message(request: RestRequest) -> Reply:
    channel = request.channel("create_public_threads")
    record = request.message(channel)
    if record["thread_id"]:
        raise ApiError(400, 160004, "A thread has already been created for this message")
    thread = open_thread(request.world, channel, _name(request), owner_id=request.world.bot_id)
    request.world.put("message", record["id"], record | {"thread_id": thread["id"]})
    return Reply(data=channel_object(request.world, thread), status=201)


def alone(request: RestRequest) -> Reply:
    kind = int(request.json.get("type", PRIVATE_THREAD))
    channel = request.channel("create_private_threads" if kind == PRIVATE_THREAD else "create_public_threads")
    thread = open_thread(request.world, channel, _name(request), owner_id=request.world.bot_id, kind=kind)
    return Reply(data=channel_object(request.world, thread), status=201)


def join(request: RestRequest) -> Reply:
    set_member(request.world, request.channel(), request.params["user_id"], inside=True)
    return Reply(status=204)


def leave(request: RestRequest) -> Reply:
    set_member(request.world, request.channel(), request.params["user_id"], inside=False)
    return Reply(status=204)


def members(request: RestRequest) -> Reply:
    """Only the bot: the others' names need the members intent."""
    return Reply(data=[_member(request, request.channel(), request.world.bot_id)])


def member(request: RestRequest) -> Reply:
    """One person, which needs no intent."""
    thread, user_id = request.channel(), request.params["user_id"]
    if user_id not in thread.get("thread_members", []):
        raise refuse("unknown_member")
    return Reply(data=_member(request, thread, user_id))


def _member(request: RestRequest, thread: Json, user_id: str) -> Json:
    joined = iso(request.world.clock.now())
    return {"id": thread["id"], "user_id": user_id, "join_timestamp": joined, "flags": 0}


def active(request: RestRequest) -> Reply:
    threads = [
        c for c in request.world.channels_of(request.guild()["id"]) if c["type"] in THREADS and not c["archived"]
    ]
    seen = [t for t in threads if request.world.may(request.world.bot_id, t, "view_channel")]
    return Reply(data={"threads": [channel_object(request.world, t) for t in seen], "members": []})


ROUTES: list[Route] = [
    ("POST", "/channels/{channel_id}/messages/{message_id}/threads", from_message),
    ("POST", "/channels/{channel_id}/threads", alone),
    ("GET", "/channels/{channel_id}/thread-members", members),
    ("GET", "/channels/{channel_id}/thread-members/{user_id}", member),
    ("PUT", "/channels/{channel_id}/thread-members/{user_id}", join),
    ("DELETE", "/channels/{channel_id}/thread-members/{user_id}", leave),
    ("GET", "/guilds/{guild_id}/threads/active", active),
]
