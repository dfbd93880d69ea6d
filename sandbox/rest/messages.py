"""Messages of a channel, as the bot reads and writes them."""

from sandbox import messages
from sandbox.buckets import Window
from sandbox.errors import RateLimited, refuse
from sandbox.messages import for_bot, message_object
from sandbox.rest import message_builder
from sandbox.rest.channels import told
from sandbox.rest.request import Call, Route
from sandbox.validate.tree import Problems
from sandbox.value_types import Event, Json, Reply
from sandbox.world import DM, THREADS

NONCE_SECONDS = 300


def _shown(call: Call, channel: Json, record: Json) -> Json:
    """A message as this bot may read it."""
    content = call.sandbox.config.privileged_intents
    body = message_object(call.world, record)
    return for_bot(body, call.world.bot_id, direct=channel["type"] == DM, content_intent=content)


def list_messages(call: Call) -> Reply:
    """Newest first, at most `limit` (50), before, after or around an id."""
    limit = _limit(call)
    channel = call.channel()
    if not call.world.may(call.world.bot_id, channel, "read_message_history"):
        return Reply(data=[])
    records = [r for r in call.world.messages_in(channel["id"]) if not r["visible_to"]]
    if before := call.query.get("before"):
        records = [r for r in records if int(r["id"]) < int(before)][-limit:]
    elif after := call.query.get("after"):
        records = [r for r in records if int(r["id"]) > int(after)][:limit]
    elif around := call.query.get("around"):
        records = sorted(records, key=lambda r: abs(int(r["id"]) - int(around)))[:limit]
        records.sort(key=lambda r: int(r["id"]))
    return Reply(data=[_shown(call, channel, r) for r in reversed(records[-limit:])])


def _limit(call: Call) -> int:
    """How many are wanted at most; refused, with the ids beside it, when it makes no sense."""
    problems, text = Problems(), call.query.get("limit", "50")
    try:
        problems.number(("limit",), int(text), 1, 100)
    except ValueError:
        problems.add(("limit",), "NUMBER_TYPE_COERCE", f'Value "{text}" is not int.')
    for name in ("before", "after", "around"):
        if value := call.query.get(name):
            problems.id((name,), value)
    problems.raise_if_any()
    return int(text)


def get_message(call: Call) -> Reply:
    channel = call.channel("read_message_history")
    return Reply(data=_shown(call, channel, call.message(channel)))


def create_message(call: Call) -> Reply:
    """A new message. With enforce_nonce, the same nonce within five minutes answers the message that it made."""
    channel = call.channel()
    needed = ["send_messages_in_threads" if channel["type"] in THREADS else "send_messages"]
    needed += ["attach_files"] if call.body.files else []
    needed += ["embed_links"] if call.json.get("embeds") else []
    needed += ["read_message_history"] if call.json.get("message_reference") else []
    call.channel(*needed)
    if channel["type"] == DM and not call.world.tables["user"][channel["recipient_id"]]["dms_open"]:
        raise refuse("dms_closed")
    if channel["locked"] or channel["archived"]:
        channel = _woken(call, channel)
    nonce = call.json.get("nonce")
    if nonce is not None and call.json.get("enforce_nonce") and (known := _by_nonce(call, channel, str(nonce))):
        return Reply(data=message_object(call.world, known))
    record = message_builder.create(call, channel, call.json, nonce=nonce)
    return Reply(data=message_builder.answer(call, record))


def _woken(call: Call, channel: Json) -> Json:
    """Writing opens an archived thread again, unless it is locked and the writer may not unlock it."""
    if channel["locked"] and not call.world.may(call.world.bot_id, channel, "manage_threads"):
        raise refuse("missing_permissions")
    woken = call.world.put("channel", channel["id"], channel | {"archived": False})
    told(call.world, "UPDATE", woken)
    return woken


def _by_nonce(call: Call, channel: Json, nonce: str) -> Json | None:
    record = call.world.get("message", call.world.nonces.get((channel["id"], nonce)))
    fresh = record is not None and call.world.clock.now() - record["at"] < NONCE_SECONDS
    return record if fresh else None


def edit_message(call: Call) -> Reply:
    channel = call.channel()
    record = call.message(channel)
    if record["author_id"] != call.world.bot_id:
        raise refuse("not_the_author")
    if call.body.files and not call.world.may(call.world.bot_id, channel, "attach_files"):
        raise refuse("missing_permissions")
    limit_old_edits(call, record)
    return Reply(data=message_builder.answer(call, message_builder.edit(call, record, call.json)))


def limit_old_edits(call: Call, record: Json) -> None:
    """Messages beyond the edit window share a small allowance of edits per channel; one too many is 429 with 30046."""
    limits, now = call.sandbox.limits, call.world.clock.now()
    if now - record["at"] <= limits.edit_window_seconds:
        return
    windows, key = call.sandbox.buckets.windows, f"old edits {record['channel_id']}"
    window = windows.get(key)
    if window is None or (window.limit, window.seconds) != limits.old_edits:
        window = windows[key] = Window(*limits.old_edits)
    if wait := window.spend(now):
        words = "Maximum number of edits to messages older than 1 hour reached. Try again later"
        raise RateLimited(wait, code=30046, message=words)


def delete_message(call: Call) -> Reply:
    channel = call.channel()
    record = call.message(channel)
    if record["author_id"] != call.world.bot_id and not call.world.may(call.world.bot_id, channel, "manage_messages"):
        raise refuse("missing_permissions")
    messages.delete(call.world, record)
    return Reply(status=204)


def bulk_delete(call: Call) -> Reply:
    channel = call.channel("manage_messages")
    for key in call.json.get("messages", []):
        record = call.world.get("message", key)
        if record is not None and record["channel_id"] == channel["id"]:
            messages.delete(call.world, record)
    return Reply(status=204)


def typing(call: Call) -> Reply:
    channel = call.channel("send_messages")
    body: Json = {"channel_id": channel["id"], "user_id": call.world.bot_id, "timestamp": int(call.world.clock.now())}
    scope = {"guild_id": channel["guild_id"], "channel_id": channel["id"]}
    call.world.emit(Event(name="TYPING_START", body=body, **scope))
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
