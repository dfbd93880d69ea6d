"""The first answer to an interaction."""

from collections.abc import Callable
from typing import Any

from sandbox import messages
from sandbox.errors import refuse
from sandbox.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL
from sandbox.messages import CHAT_COMMAND, CONTEXT_COMMAND, EPHEMERAL, LOADING, REPLY
from sandbox.modals import modal_fields
from sandbox.rest import message_builder
from sandbox.rest.request import RestRequest, Route
from sandbox.validate import Problems, check_choices, check_modal, flags_of
from sandbox.value_types import Json, Reply, without_none

MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, SHOW_MODAL = 4, 5, 6, 7, 8, 9
# Which callbacks each type of interaction takes. A modal may update a message only if a component opened it.
TAKES = {
    COMMAND: (MESSAGE, DEFERRED, SHOW_MODAL),
    COMPONENT: (MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, SHOW_MODAL),
    AUTOCOMPLETE: (CHOICES,),
    MODAL: (MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE),
}


def callback(request: RestRequest) -> Reply:
    """POST /interactions/{id}/{token}/callback: check all, then answer, then tell who asked."""
    interactions = request.sandbox.interactions
    record = interactions.for_callback(request.params["interaction_id"], request.params["token"], request.received)
    kind: Any = request.json.get("type")
    allowed: tuple[int, ...] = TAKES[record["type"]]
    if record["type"] == MODAL and not record["source_id"]:
        allowed = (MESSAGE, DEFERRED)
    if kind not in allowed:
        problems = Problems()
        problems.add(("type",), "INTERACTION_CALLBACK_TYPE_INVALID", f"Value must be one of {allowed}.")
        problems.raise_if_any()
    data = request.json.get("data") or {}
    more = HANDLERS[kind](request, record, data)
    record = request.world.tables["interaction"][record["id"]]
    interactions.answered(record, kind, received=request.received, **more)
    if not request.flag("with_response"):
        return Reply(status=204)
    return Reply(data=_resource(request, record, kind, more.get("message")))


def _resource(request: RestRequest, record: Json, kind: int, message: Json | None) -> Json:
    """The callback's answer for `with_response`: the interaction and what it made."""
    loading = bool(message and message["flags"] & LOADING)
    found: Json = {"id": record["id"], "type": record["type"]}
    if message:
        found |= {"response_message_id": message["id"], "response_message_loading": loading}
        found["response_message_ephemeral"] = bool(message["flags"] & EPHEMERAL)
    found |= {"channel_id": record["channel_id"]}
    found |= {"guild_id": record["guild_id"]} if record["guild_id"] else {}
    answer: Json = {"interaction": found}
    if message and kind in (MESSAGE, UPDATE):
        answer["resource"] = {"type": kind, "message": message}
    return answer


def message_fields(request: RestRequest, record: Json) -> Json:
    """What an answer's message carries besides its content: its kind, its cause, the message it follows."""
    cause = record["metadata"]
    found: Json = {"interaction_id": record["id"], "metadata": cause}
    if record["type"] == COMMAND:
        context = "target_user" in cause or "target_message_id" in cause
        return found | {"type": CONTEXT_COMMAND if context else CHAT_COMMAND}
    source = request.world.get("message", record["source_id"])
    if source is None:
        return found
    reference = {"message_id": source["id"], "channel_id": source["channel_id"]}
    reference |= {"guild_id": source["guild_id"]} if source["guild_id"] else {}
    return found | {"type": REPLY, "reference": reference}


def _message(request: RestRequest, record: Json, data: Json) -> Json:
    channel = message_builder.channel_of(request, record)
    fields = message_fields(request, record)
    made = message_builder.create(request, channel, data, interaction=record, prefix=("data",), **fields)
    hidden = made["visible_to"] is not None
    request.sandbox.interactions.change(record, answered=MESSAGE, original_id=made["id"], ephemeral=hidden)
    return {"message": message_builder.answer(request, made)}


def _deferred(request: RestRequest, record: Json, data: Json) -> Json:
    """A loading message, which "is thinking" until its content comes."""
    channel = message_builder.channel_of(request, record)
    flags = flags_of(data, interaction=True) & EPHEMERAL
    hidden = record["user_id"] if flags else None
    fields = message_fields(request, record) | {"flags": flags | LOADING, "visible_to": hidden}
    made = messages.create(request.world, channel, request.world.bot_id, **fields)
    interactions = request.sandbox.interactions
    interactions.change(record, answered=DEFERRED, original_id=made["id"], deferred=True, ephemeral=hidden is not None)
    return {"message": message_builder.answer(request, made)}


def _source(request: RestRequest, record: Json) -> Json:
    source = request.world.get("message", record["source_id"])
    if source is None:
        raise refuse("unknown_message")
    return source


def _deferred_update(request: RestRequest, record: Json, data: Json) -> Json:
    request.sandbox.interactions.change(record, answered=DEFERRED_UPDATE, original_id=record["source_id"])
    return {}


def _update(request: RestRequest, record: Json, data: Json) -> Json:
    made = message_builder.edit(request, _source(request, record), data, prefix=("data",))
    hidden = made["visible_to"] is not None
    request.sandbox.interactions.change(record, answered=UPDATE, original_id=made["id"], ephemeral=hidden)
    return {"message": message_builder.answer(request, made)}


def _choices(request: RestRequest, record: Json, data: Json) -> Json:
    check_choices(data.get("choices"))
    request.sandbox.interactions.change(record, answered=CHOICES)
    return {"choices": data["choices"]}


def _modal(request: RestRequest, record: Json, data: Json) -> Json:
    data = without_none(data)
    check_modal(data)
    request.sandbox.interactions.change(record, answered=SHOW_MODAL, modal=data, open=True)
    return {"modal": {"title": data["title"], "custom_id": data["custom_id"], "fields": modal_fields(data)}}


HANDLERS: dict[int, Callable[[RestRequest, Json, Any], Json]] = {
    MESSAGE: _message,
    DEFERRED: _deferred,
    DEFERRED_UPDATE: _deferred_update,
    UPDATE: _update,
    CHOICES: _choices,
    SHOW_MODAL: _modal,
}
ROUTES: list[Route] = [("POST", "/interactions/{interaction_id}/{token}/callback", callback)]
