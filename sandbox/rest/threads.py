"""Threads: made from a message or alone, joined and left."""

from sandbox import messages
from sandbox.channels import change_thread_member, open_thread
from sandbox.errors import ApiError, refuse
from sandbox.rest.request import RestRequest, Route
from sandbox.serializers import channel_object, thread_member
from sandbox.validate import Problems
from sandbox.value_types import Json, Reply
from sandbox.world import PRIVATE_THREAD, TEXT, THREADS


def _name(request: RestRequest) -> str:
    problems = Problems()
    problems.text(("name",), request.json.get("name"), 100, least=1, required=True)
    problems.raise_if_any()
    return str(request.json["name"])


def _parent(request: RestRequest, *needed: str) -> Json:
    channel = request.channel(*needed)
    if channel["type"] != TEXT:
        raise refuse("wrong_channel_type")
    return channel


def from_message(request: RestRequest) -> Reply:
    channel = _parent(request, "create_public_threads")
    record = request.message(channel)
    if record["thread_id"]:
        raise ApiError(400, 160004, "A thread has already been created for this message")
    thread = open_thread(request.world, channel, _name(request), owner_id=request.world.bot_id, source=record)
    fields = {"thread_id": thread["id"], "flags": record["flags"] | messages.HAS_THREAD}
    messages.tell(request.world, "MESSAGE_UPDATE", request.world.put("message", record["id"], record | fields))
    return Reply(data=channel_object(request.world, thread), status=201)


def alone(request: RestRequest) -> Reply:
    """A thread below no message. That a public one was begun is said in its channel."""
    kind = int(request.json.get("type", PRIVATE_THREAD))
    channel = _parent(request, "create_private_threads" if kind == PRIVATE_THREAD else "create_public_threads")
    name, bot = _name(request), request.world.bot_id
    thread = open_thread(request.world, channel, name, owner_id=bot, kind=kind)
    if kind != PRIVATE_THREAD:
        reference = {"channel_id": thread["id"], "guild_id": thread["guild_id"]}
        fields: Json = {"type": messages.THREAD_CREATED, "content": name, "reference": reference}
        messages.create(request.world, channel, bot, **fields)
    return Reply(data=channel_object(request.world, thread), status=201)


def _thread(request: RestRequest) -> Json:
    thread = request.channel()
    if thread["type"] not in THREADS:
        raise refuse("wrong_channel_type")
    return thread


def _user(request: RestRequest) -> str:
    key = request.params["user_id"]
    return request.world.bot_id if key == "@me" else key


def join(request: RestRequest) -> Reply:
    """Who is added must be able to see the channel that the thread hangs from."""
    thread, user = _thread(request), _user(request)
    if thread["archived"]:
        raise refuse("archived_thread")
    if request.world.member(thread["guild_id"], user) is None:
        raise refuse("unknown_member")
    change_thread_member(request.world, thread, user, there=True)
    return Reply(status=204)


def leave(request: RestRequest) -> Reply:
    thread, user = _thread(request), _user(request)
    if user != request.world.bot_id and thread["owner_id"] != request.world.bot_id:
        request.channel("manage_threads")
    change_thread_member(request.world, thread, user, there=False)
    return Reply(status=204)


def members(request: RestRequest) -> Reply:
    thread, now = _thread(request), request.world.clock.now()
    return Reply(data=[thread_member(thread, user, now) for user in thread.get("members", [])])


def member(request: RestRequest) -> Reply:
    thread, user = _thread(request), _user(request)
    if user not in thread.get("members", []):
        raise refuse("unknown_member")
    return Reply(data=thread_member(thread, user, request.world.clock.now()))


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
