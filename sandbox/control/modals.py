"""POST modals: a person fills in what the bot has shown, or dismisses it (which tells the bot nothing)."""

from typing import Any

from sandbox.control.components import chosen
from sandbox.control.options import Resolved
from sandbox.control.request import ControlRequest, Route
from sandbox.errors import ControlError
from sandbox.interactions import MODAL
from sandbox.modals import modal_fields
from sandbox.validate import CHECKBOX, CHECKBOXES, LABEL, RADIO, SELECTS, STRING_SELECT, TEXT, TEXT_INPUT, UPLOAD
from sandbox.value_types import Json


async def submit(request: ControlRequest) -> Any:
    user = request.person()
    record = request.world.get("interaction", request.need("interaction"))
    if record is None or record["user_id"] != user["id"] or not record["open"]:
        raise ControlError("no_modal", "No such form is open for this person.", status=404)
    interactions = request.sandbox.interactions
    if request.body.get("dismiss"):
        interactions.change(record, open=False)
        return {"interaction": record["id"], "ack_ms": None, "response": {"kind": "none", "ephemeral": True}}
    channel = request.world.get("channel", record["channel_id"])
    if channel is None:
        raise ControlError("unknown_channel", "The channel is gone.", status=404)
    resolved = Resolved(request, user, channel)
    data = _data(record["modal"], request.body.get("values") or {}, resolved)
    data |= {"resolved": resolved.found} if resolved.found else {}
    interactions.change(record, open=False)
    source = request.world.get("message", record["source_id"])
    start = {"channel": channel, "data": data, "owners": record["owners"], "source": source, "cause": record}
    return await interactions.outcome(interactions.start(MODAL, user_id=user["id"], **start))


def _data(modal: Json, values: Json, resolved: Resolved) -> Json:
    known = {
        name for field in modal_fields(modal) if field["custom_id"] for name in (field["label"], field["custom_id"])
    }
    if unknown := set(values) - known:
        raise ControlError("unknown_field", f"The form has no {', '.join(sorted(unknown))}.")
    parts = []
    for number, part in enumerate(modal["components"]):
        base: Json = {"type": part["type"], "id": number * 2 + 1}
        if part["type"] == TEXT:
            parts.append(base)
            continue
        field = part["component"] if part["type"] == LABEL else part["components"][0]
        label = part.get("label") or field.get("label")
        given = values.get(label, values.get(field["custom_id"]))
        filled = {"type": field["type"], "id": number * 2 + 2, "custom_id": field["custom_id"]}
        filled |= _filled(field, str(label), given, resolved)
        parts.append(base | ({"component": filled} if part["type"] == LABEL else {"components": [filled]}))
    return {"custom_id": modal["custom_id"], "components": parts}


def _filled(field: Json, label: str, given: Any, resolved: Resolved) -> Json:
    kind = field["type"]
    if kind == TEXT_INPUT:
        return {"value": _text(field, label, given)}
    if kind == CHECKBOX:
        return {"value": bool(field.get("default")) if given is None else bool(given)}
    if kind == RADIO:
        return {"value": _radio(field, label, given)}
    if given is None:
        given = [option["value"] for option in field.get("options") or [] if option.get("default")]
    if not isinstance(given, list):
        raise ControlError("bad_field", f"{label} takes a list.")
    required = field.get("required", True)
    if not given and not required:
        return {"values": []}
    if not given:
        raise ControlError("missing_field", f"{label} is required.")
    if kind == UPLOAD:
        _between(label, given, field.get("min_values", 1), field.get("max_values", 1))
        return {"values": [resolved.file(file) for file in given]}
    if kind == CHECKBOXES:
        return {
            "values": chosen({"max_values": len(field["options"])} | field | {"type": STRING_SELECT}, given, resolved)
        }
    assert kind in SELECTS
    return {"values": chosen(field, given, resolved)}


def _between(label: str, given: list[Any], least: int, most: int) -> None:
    if not least <= len(given) <= most:
        raise ControlError("bad_field", f"{label} takes {least} to {most} files.")


def _text(field: Json, label: str, given: Any) -> str:
    value = field.get("value") or "" if given is None else given
    if not isinstance(value, str):
        raise ControlError("bad_field", f"{label} takes text.")
    if not value and field.get("required", True):
        raise ControlError("missing_field", f"{label} is required.")
    most, least = field.get("max_length") or 4000, field.get("min_length") or 0
    if len(value) > most or (value and len(value) < least):
        raise ControlError("bad_field", f"{label} must be {least} to {most} characters long.")
    return value


def _radio(field: Json, label: str, given: Any) -> str | None:
    value = given[0] if isinstance(given, list) and given else given
    if value is None:
        value = next((o["value"] for o in field["options"] if o.get("default")), None)
    if value is None and field.get("required", True):
        raise ControlError("missing_field", f"{label} is required.")
    found = next((o for o in field["options"] if value in (o["value"], o["label"])), None)
    if value is not None and found is None:
        raise ControlError("bad_field", f"{value} is not a choice of {label}.")
    return str(found["value"]) if found else None


ROUTES: list[Route] = [("POST", "/modals", submit)]
