"""Messages of a channel, as the bot reads and writes them."""

from sandbox import messages
from sandbox.buckets import Window
from sandbox.channels import emit_channel
from sandbox.errors import RateLimited, refuse
from sandbox.messages import for_bot, message_object
from sandbox.rest import message_builder
from sandbox.rest.request import RestRequest, Route
from sandbox.validate import Problems
from sandbox.value_types import Event, Json, Reply
from sandbox.world import DM, THREADS

NONCE_SECONDS = 300


def _shown(request: RestRequest, channel: Json, record: Json) -> Json:
    """A message as this bot may read it."""
    content = request.sandbox.config.privileged_intents
    body = message_object(request.world, record)
    return for_bot(body, request.world.bot_id, direct=channel["type"] == DM, content_intent=content)


def list_messages(request: RestRequest) -> Reply:
    """Newest first, at most `limit` (50), before, after or around an id."""
    limit = _limit(request)
    channel = request.channel()
    if not request.world.may(request.world.bot_id, channel, "read_message_history"):
        return Reply(data=[])
    records = [r for r in request.world.messages_in(channel["id"]) if not r["visible_to"]]
    if before := request.query.get("before"):
        records = [r for r in records if int(r["id"]) < int(before)][-limit:]
    elif after := request.query.get("after"):
        records = [r for r in records if int(r["id"]) > int(after)][:limit]
    elif around := request.query.get("around"):
        records = sorted(records, key=lambda r: abs(int(r["id"]) - int(around)))[:limit]
        records.sort(key=lambda r: int(r["id"]))
    return Reply(data=[_shown(request, channel, r) for r in reversed(records[-limit:])])


def _limit(request: RestRequest) -> int:
    """How many are wanted at most; refused, with the ids beside it, when it makes no sense."""
    problems, text = Problems(), request.query.get("limit", "50")
    try:
        problems.number(("limit",), int(text), 1, 100)
    except ValueError:
        problems.add(("limit",), "NUMBER_TYPE_COERCE", f'Value "{text}" is not int.')
    for name in ("before", "after", "around"):
        if value := request.query.get(name):
            problems.id((name,), value)
    problems.raise_if_any()
    return int(text)


def get_message(request: RestRequest) -> Reply:
    channel = request.channel("read_message_history")
    return Reply(data=_shown(request, channel, request.message(channel)))


def create_message(request: RestRequest) -> Reply:
    """A new message. With enforce_nonce, the same nonce within five minutes answers the message that it made."""
    channel = request.channel()
    needed = ["send_messages_in_threads" if channel["type"] in THREADS else "send_messages"]
    needed += ["attach_files"] if request.body.files else []
    needed += ["embed_links"] if request.json.get("embeds") else []
    needed += ["read_message_history"] if request.json.get("message_reference") else []
    request.channel(*needed)
    if channel["type"] == DM and not request.world.tables["user"][channel["recipient_id"]]["dms_open"]:
        raise refuse("dms_closed")
    if channel["locked"] or channel["archived"]:
        channel = _unarchived(request, channel)
    nonce = request.json.get("nonce")
    if nonce is not None and request.json.get("enforce_nonce") and (known := _by_nonce(request, channel, str(nonce))):
        return Reply(data=message_object(request.world, known))
    record = message_builder.create(request, channel, request.json, nonce=nonce)
    return Reply(data=message_builder.answer(request, record))


def _unarchived(request: RestRequest, channel: Json) -> Json:
    """Writing opens an archived thread again, unless it is locked and the writer may not unlock it."""
    if channel["locked"] and not request.world.may(request.world.bot_id, channel, "manage_threads"):
        raise refuse("missing_permissions")
    unarchived = request.world.put("channel", channel["id"], channel | {"archived": False})
    emit_channel(request.world, "UPDATE", unarchived)
    return unarchived


def _by_nonce(request: RestRequest, channel: Json, nonce: str) -> Json | None:
    record = request.world.get("message", request.world.nonces.get((channel["id"], nonce)))
    fresh = record is not None and request.world.clock.now() - record["at"] < NONCE_SECONDS
    return record if fresh else None


def edit_message(request: RestRequest) -> Reply:
    channel = request.channel()
    record = request.message(channel)
    if record["author_id"] != request.world.bot_id:
        raise refuse("not_the_author")
    if request.body.files and not request.world.may(request.world.bot_id, channel, "attach_files"):
        raise refuse("missing_permissions")
    limit_old_edits(request, record)
    return Reply(data=message_builder.answer(request, message_builder.edit(request, record, request.json)))


def limit_old_edits(request: RestRequest, record: Json) -> None:
    """Messages beyond the edit window share a small allowance of edits per channel; one too many is 429 with 30046."""
    limits, now = request.sandbox.limits, request.world.clock.now()
    if now - record["at"] <= limits.edit_window_seconds:
        return
    windows, key = request.sandbox.buckets.windows, f"old edits {record['channel_id']}"
    window = windows.get(key)
    if window is None or (window.limit, window.seconds) != limits.old_edits:
        window = windows[key] = Window(*limits.old_edits)
    if wait := window.spend(now):
        words = "Maximum number of edits to messages older than 1 hour reached. Try again later"
        raise RateLimited(wait, code=30046, message=words)


def delete_message(request: RestRequest) -> Reply:
    channel = request.channel()
    record = request.message(channel)
    if record["author_id"] != request.world.bot_id and not request.world.may(
        request.world.bot_id, channel, "manage_messages"
    ):
        raise refuse("missing_permissions")
    messages.delete(request.world, record)
    return Reply(status=204)


def bulk_delete(request: RestRequest) -> Reply:
    channel = request.channel("manage_messages")
    for key in request.json.get("messages", []):
        record = request.world.get("message", key)
        if record is not None and record["channel_id"] == channel["id"]:
            messages.delete(request.world, record)
    return Reply(status=204)


def typing(request: RestRequest) -> Reply:
    channel = request.channel("send_messages")
    body: Json = {
        "channel_id": channel["id"],
        "user_id": request.world.bot_id,
        "timestamp": int(request.world.clock.now()),
    }
    scope = {"guild_id": channel["guild_id"], "channel_id": channel["id"]}
    request.world.emit(Event(name="TYPING_START", body=body, **scope))
    return Reply(status=204)


ONE = "/channels/{channel_id}/messages/{message_id}"
ROUTES: list[Route] = [
    ("GET", "/channels/{channel_id}/messages", list_messages),
    ("POST", "/channels/{channel_id}/messages", create_message),
    ("POST", "/channels/{channel_id}/messages/bulk-delete", bulk_delete),
    ("GET", ONE, get_message),
    ("PATCH", ONE, edit_message),
    ("DELETE", ONE, delete_message),
    ("POST", "/channels/{channel_id}/typing", typing),
]
