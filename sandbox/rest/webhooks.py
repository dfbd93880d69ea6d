"""Messages by an interaction's token: the original answer and its follow-ups, public or for one person's eyes."""

from sandbox import messages
from sandbox.errors import ApiError, refuse
from sandbox.messages import EPHEMERAL, LOADING, REPLY, message_object
from sandbox.rest import message_builder
from sandbox.rest.messages import limit_old_edits
from sandbox.rest.request import RestRequest, Route
from sandbox.value_types import Json, Reply

FOLLOWUPS_WITHOUT_GUILD = 5


def _interaction(request: RestRequest) -> Json:
    if request.params["webhook_id"] != request.world.meta("application"):
        raise refuse("unknown_webhook")
    return request.sandbox.interactions.for_webhook(request.params["token"])


def _message(request: RestRequest, record: Json) -> Json:
    """The message in the path, if this interaction made it or its component was used."""
    key = request.params["message_id"]
    found = request.world.get("message", record["original_id"] if key == "@original" else key)
    if found is None or (found["interaction_id"] != record["id"] and found["id"] != record["original_id"]):
        raise refuse("unknown_message")
    return found


def follow_up(request: RestRequest) -> Reply:
    """A further message. The first one after a deferred answer becomes that answer's content."""
    record = _interaction(request)
    original = request.world.get("message", record["original_id"])
    if record["deferred"] and original is not None and original["flags"] & LOADING:
        body = {name: value for name, value in request.json.items() if name != "flags"}
        kept = {"flags": int(request.json.get("flags") or 0) & ~EPHEMERAL} if request.json.get("flags") else {}
        return Reply(data=message_builder.answer(request, _filled(request, record, original, body | kept)))
    if "0" not in record["owners"]:
        if record["followups"] >= FOLLOWUPS_WITHOUT_GUILD:
            words = "This interaction has reached the maximum number of follow up messages that can be sent"
            raise ApiError(400, 40094, words)
        request.sandbox.interactions.change(record, followups=record["followups"] + 1)
    channel = message_builder.channel_of(request, record)
    fields: Json = {"interaction_id": record["id"], "metadata": record["metadata"]}
    if original is not None:
        fields["metadata"] = record["metadata"] | {"original_response_message_id": original["id"]}
        reference = {"message_id": original["id"], "channel_id": channel["id"]}
        reference |= {"guild_id": channel["guild_id"]} if channel["guild_id"] else {}
        fields |= {"type": REPLY, "reference": reference}
    made = message_builder.create(request, channel, request.json, interaction=record, **fields)
    return Reply(data=message_builder.answer(request, made)) if request.flag("wait") else Reply(status=204)


def _filled(request: RestRequest, record: Json, message: Json, body: Json) -> Json:
    made = message_builder.edit(request, message, body)
    if record["deferred"] and message["id"] == record["original_id"]:
        request.sandbox.interactions.change(request.world.tables["interaction"][record["id"]], deferred=False)
    return made


def get_message(request: RestRequest) -> Reply:
    return Reply(data=message_object(request.world, _message(request, _interaction(request))))


def edit_message(request: RestRequest) -> Reply:
    record = _interaction(request)
    message = _message(request, record)
    limit_old_edits(request, message)
    return Reply(data=message_builder.answer(request, _filled(request, record, message, request.json)))


def delete_message(request: RestRequest) -> Reply:
    record = _interaction(request)
    messages.delete(request.world, _message(request, record))
    return Reply(status=204)


ONE = "/webhooks/{webhook_id}/{token}/messages/{message_id}"
ROUTES: list[Route] = [
    ("POST", "/webhooks/{webhook_id}/{token}", follow_up),
    ("GET", ONE, get_message),
    ("PATCH", ONE, edit_message),
    ("DELETE", ONE, delete_message),
]
