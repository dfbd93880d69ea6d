"""Messages by an interaction's token: the original answer and its follow-ups, public or for one person's eyes."""

from sandbox import messages
from sandbox.errors import ApiError, refuse
from sandbox.messages import EPHEMERAL, LOADING, REPLY, message_object
from sandbox.rest import message_builder
from sandbox.rest.messages import limit_old_edits
from sandbox.rest.request import Call, Route
from sandbox.value_types import Json, Reply

FOLLOWUPS_WITHOUT_GUILD = 5


def _interaction(call: Call) -> Json:
    if call.params["webhook_id"] != call.world.meta("application"):
        raise refuse("unknown_webhook")
    return call.sandbox.desk.for_webhook(call.params["token"])


def _message(call: Call, record: Json) -> Json:
    """The message in the path, if this interaction made it or its component was used."""
    key = call.params["message_id"]
    found = call.world.get("message", record["original_id"] if key == "@original" else key)
    if found is None or (found["interaction_id"] != record["id"] and found["id"] != record["original_id"]):
        raise refuse("unknown_message")
    return found


def follow_up(call: Call) -> Reply:
    """A further message. The first one after a deferred answer becomes that answer's content."""
    record = _interaction(call)
    original = call.world.get("message", record["original_id"])
    if record["deferred"] and original is not None and original["flags"] & LOADING:
        body = {name: value for name, value in call.json.items() if name != "flags"}
        kept = {"flags": int(call.json.get("flags") or 0) & ~EPHEMERAL} if call.json.get("flags") else {}
        return Reply(data=message_builder.answer(call, _filled(call, record, original, body | kept)))
    if "0" not in record["owners"]:
        if record["followups"] >= FOLLOWUPS_WITHOUT_GUILD:
            words = "This interaction has reached the maximum number of follow up messages that can be sent"
            raise ApiError(400, 40094, words)
        call.sandbox.desk.change(record, followups=record["followups"] + 1)
    channel = message_builder.channel_of(call, record)
    fields: Json = {"interaction_id": record["id"], "metadata": record["metadata"]}
    if original is not None:
        fields["metadata"] = record["metadata"] | {"original_response_message_id": original["id"]}
        reference = {"message_id": original["id"], "channel_id": channel["id"]}
        reference |= {"guild_id": channel["guild_id"]} if channel["guild_id"] else {}
        fields |= {"type": REPLY, "reference": reference}
    made = message_builder.create(call, channel, call.json, interaction=record, **fields)
    return Reply(data=message_builder.answer(call, made)) if call.flag("wait") else Reply(status=204)


def _filled(call: Call, record: Json, message: Json, body: Json) -> Json:
    made = message_builder.edit(call, message, body)
    if record["deferred"] and message["id"] == record["original_id"]:
        call.sandbox.desk.change(call.world.tables["interaction"][record["id"]], deferred=False)
    return made


def get_message(call: Call) -> Reply:
    return Reply(data=message_object(call.world, _message(call, _interaction(call))))


def edit_message(call: Call) -> Reply:
    record = _interaction(call)
    message = _message(call, record)
    limit_old_edits(call, message)
    return Reply(data=message_builder.answer(call, _filled(call, record, message, call.json)))


def delete_message(call: Call) -> Reply:
    record = _interaction(call)
    messages.delete(call.world, _message(call, record))
    return Reply(status=204)


ONE = "/webhooks/{webhook_id}/{token}/messages/{message_id}"
ROUTES: list[Route] = [
    ("POST", "/webhooks/{webhook_id}/{token}", follow_up),
    ("GET", ONE, get_message),
    ("PATCH", ONE, edit_message),
    ("DELETE", ONE, delete_message),
]
