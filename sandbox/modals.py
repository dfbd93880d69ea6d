"""What a modal asks for, as a person sees it. Checks nothing: sandbox/validate/modals.py has."""

from sandbox.value_types import Json


def modal_fields(modal: Json) -> list[Json]:
    """A modal's fields as a person sees them: {label, custom_id, type, value, options?, …}.

    Words that stand alone have no custom_id, and their text is their content.
    """
    found = []
    for part in modal["components"]:
        if part["type"] == 10:
            found.append({"type": 10, "label": "", "custom_id": None, "content": part["content"]})
            continue
        field = part["component"] if part["type"] == 18 else part["components"][0]
        label = part.get("label") or field.get("label") or ""
        seen = {"label": label, "custom_id": field["custom_id"], "type": field["type"], "value": field.get("value")}
        names = ["options", "style", "placeholder", "required", "min_length", "max_length", "min_values", "max_values"]
        names += ["default", "default_values", "channel_types"]
        more = {name: field[name] for name in names if field.get(name) is not None}
        description = {"description": part["description"]} if part.get("description") else {}
        found.append(seen | more | description)
    return found
