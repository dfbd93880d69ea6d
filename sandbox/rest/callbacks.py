"""The first answer to an interaction."""

from collections.abc import Callable
from typing import Any

from sandbox import messages
from sandbox.errors import refuse
from sandbox.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL
from sandbox.messages import CHAT_COMMAND, CONTEXT_COMMAND, EPHEMERAL, LOADING, REPLY
from sandbox.rest import message_builder
from sandbox.rest.request import Call, Route
from sandbox.validate.commands import check_choices
from sandbox.validate.message import flags_of
from sandbox.validate.modals import check_modal
from sandbox.validate.tree import Problems
from sandbox.value_types import Json, Reply, without_none

MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, SHOW_MODAL = 4, 5, 6, 7, 8, 9
# Which callbacks each type of interaction takes. A modal may update a message only if a component opened it.
TAKES = {
    COMMAND: (MESSAGE, DEFERRED, SHOW_MODAL),
    COMPONENT: (MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, SHOW_MODAL),
    AUTOCOMPLETE: (CHOICES,),
    MODAL: (MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE),
}


def callback(call: Call) -> Reply:
    """POST /interactions/{id}/{token}/callback: check all, then answer, then tell who asked."""
    desk = call.sandbox.desk
    record = desk.for_callback(call.params["interaction_id"], call.params["token"], call.received)
    kind: Any = call.json.get("type")
    allowed: tuple[int, ...] = TAKES[record["type"]]
    if record["type"] == MODAL and not record["source_id"]:
        allowed = (MESSAGE, DEFERRED)
    if kind not in allowed:
        problems = Problems()
        problems.add(("type",), "INTERACTION_CALLBACK_TYPE_INVALID", f"Value must be one of {allowed}.")
        problems.raise_if_any()
    data = call.json.get("data") or {}
    more = HANDLERS[kind](call, record, data)
    record = call.world.tables["interaction"][record["id"]]
    desk.answered(record, kind, received=call.received, **more)
    if not call.flag("with_response"):
        return Reply(status=204)
    return Reply(data=_resource(call, record, kind, more.get("message")))


def _resource(call: Call, record: Json, kind: int, message: Json | None) -> Json:
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


def message_fields(call: Call, record: Json) -> Json:
    """What an answer's message carries besides its content: its kind, its cause, the message it follows."""
    cause = record["metadata"]
    found: Json = {"interaction_id": record["id"], "metadata": cause}
    if record["type"] == COMMAND:
        context = "target_user" in cause or "target_message_id" in cause
        return found | {"type": CONTEXT_COMMAND if context else CHAT_COMMAND}
    source = call.world.get("message", record["source_id"])
    if source is None:
        return found
    reference = {"message_id": source["id"], "channel_id": source["channel_id"]}
    reference |= {"guild_id": source["guild_id"]} if source["guild_id"] else {}
    return found | {"type": REPLY, "reference": reference}


def _message(call: Call, record: Json, data: Json) -> Json:
    channel = message_builder.channel_of(call, record)
    fields = message_fields(call, record)
    made = message_builder.create(call, channel, data, interaction=record, prefix=("data",), **fields)
    hidden = made["visible_to"] is not None
    call.sandbox.desk.change(record, answered=MESSAGE, original_id=made["id"], ephemeral=hidden)
    return {"message": message_builder.answer(call, made)}


def _deferred(call: Call, record: Json, data: Json) -> Json:
    """A loading message, which "is thinking" until its content comes."""
    channel = message_builder.channel_of(call, record)
    flags = flags_of(data, interaction=True) & EPHEMERAL
    hidden = record["user_id"] if flags else None
    fields = message_fields(call, record) | {"flags": flags | LOADING, "visible_to": hidden}
    made = messages.create(call.world, channel, call.world.bot_id, **fields)
    desk = call.sandbox.desk
    desk.change(record, answered=DEFERRED, original_id=made["id"], deferred=True, ephemeral=hidden is not None)
    return {"message": message_builder.answer(call, made)}


def _source(call: Call, record: Json) -> Json:
    source = call.world.get("message", record["source_id"])
    if source is None:
        raise refuse("unknown_message")
    return source


def _deferred_update(call: Call, record: Json, data: Json) -> Json:
    call.sandbox.desk.change(record, answered=DEFERRED_UPDATE, original_id=record["source_id"])
    return {}


def _update(call: Call, record: Json, data: Json) -> Json:
    made = message_builder.edit(call, _source(call, record), data, prefix=("data",))
    hidden = made["visible_to"] is not None
    call.sandbox.desk.change(record, answered=UPDATE, original_id=made["id"], ephemeral=hidden)
    return {"message": message_builder.answer(call, made)}


def _choices(call: Call, record: Json, data: Json) -> Json:
    check_choices(data.get("choices"))
    call.sandbox.desk.change(record, answered=CHOICES)
    return {"choices": data["choices"]}


def _modal(call: Call, record: Json, data: Json) -> Json:
    data = without_none(data)
    check_modal(data)
    call.sandbox.desk.change(record, answered=SHOW_MODAL, modal=data, open=True)
    return {"modal": {"title": data["title"], "custom_id": data["custom_id"], "fields": fields_of(data)}}


def fields_of(modal: Json) -> list[Json]:
    """A modal's fields as a person sees them: {label, custom_id, type, value, options?, …}."""
    found = []
    for part in modal["components"]:
        if part["type"] == 10:
            continue
        field = part["component"] if part["type"] == 18 else part["components"][0]
        label = part.get("label") or field.get("label") or ""
        seen = {"label": label, "custom_id": field["custom_id"], "type": field["type"], "value": field.get("value")}
        names = ["options", "style", "placeholder", "required", "min_length", "max_length", "min_values", "max_values"]
        more = {name: field[name] for name in names if field.get(name) is not None}
        description = {"description": part["description"]} if part.get("description") else {}
        found.append(seen | more | description)
    return found


HANDLERS: dict[int, Callable[[Call, Json, Any], Json]] = {
    MESSAGE: _message,
    DEFERRED: _deferred,
    DEFERRED_UPDATE: _deferred_update,
    UPDATE: _update,
    CHOICES: _choices,
    SHOW_MODAL: _modal,
}
ROUTES: list[Route] = [("POST", "/interactions/{interaction_id}/{token}/callback", callback)]
