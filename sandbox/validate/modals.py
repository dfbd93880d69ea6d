"""Rules for modals. Pure."""

from typing import Any

from sandbox.validate.components import (
    LABEL,
    ROW,
    SELECTS,
    TEXT,
    TEXT_INPUT,
    UPLOAD,
    Seen,
    check_custom_id,
    check_options,
    check_select,
)
from sandbox.validate.problems import Path, Problems
from sandbox.value_types import Json

RADIO, CHECKBOXES, CHECKBOX = 21, 22, 23
FIELDS = (TEXT_INPUT, *SELECTS, UPLOAD, RADIO, CHECKBOXES, CHECKBOX)


def check_modal(data: Any) -> None:
    """Refuse a modal that Discord would refuse."""
    problems, path = Problems(), ("data",)
    if not isinstance(data, dict):
        problems.required(path)
        problems.raise_if_any()
    problems.text((*path, "title"), data.get("title"), 45, least=1, required=True)
    problems.text((*path, "custom_id"), data.get("custom_id"), 100, least=1, required=True)
    components = data.get("components")
    if problems.count((*path, "components"), components, 5, least=1):
        seen = Seen()
        for place, part in enumerate(components):
            _top(problems, (*path, "components", place), part, seen)
    problems.raise_if_any()


def _top(problems: Problems, path: Path, part: Any, seen: Seen) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == ROW:
        children = part.get("components")
        if problems.count((*path, "components"), children, 1, least=1):
            for place, child in enumerate(children):
                _field(problems, (*path, "components", place), child, (TEXT_INPUT,), seen, labelled=False)
    elif kind == LABEL:
        problems.text((*path, "label"), part.get("label"), 45, least=1, required=True)
        problems.text((*path, "description"), part.get("description"), 100)
        _field(problems, (*path, "component"), part.get("component"), FIELDS, seen, labelled=True)
    elif kind == TEXT:
        problems.text((*path, "content"), part.get("content"), 4000, least=1, required=True)
    else:
        problems.add((*path, "type"), "UNION_TYPE_CHOICES", 'Value of field "type" must be one of (1, 10, 18).')


def _field(problems: Problems, path: Path, part: Any, allowed: tuple[int, ...], seen: Seen, *, labelled: bool) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in allowed:
        problems.add((*path, "type"), "UNION_TYPE_CHOICES", f'Value of field "type" must be one of {allowed}.')
        return
    if kind in SELECTS:
        check_select(problems, path, part, seen)
        return
    check_custom_id(problems, path, part, seen)
    if kind == TEXT_INPUT:
        _text_input(problems, path, part, labelled=labelled)
    elif kind == UPLOAD:
        problems.number((*path, "min_values"), part.get("min_values"), 0, 10)
        problems.number((*path, "max_values"), part.get("max_values"), 1, 10)
    elif kind in (RADIO, CHECKBOXES):
        check_options(problems, (*path, "options"), part.get("options"), most=10, least=2 if kind == RADIO else 1)


def _text_input(problems: Problems, path: Path, part: Json, *, labelled: bool) -> None:
    if part.get("style") not in (1, 2):
        problems.add((*path, "style"), "BASE_TYPE_CHOICES", "Value must be one of (1, 2).")
    problems.text((*path, "label"), part.get("label"), 45, least=0 if labelled else 1, required=not labelled)
    problems.text((*path, "placeholder"), part.get("placeholder"), 100)
    problems.text((*path, "value"), part.get("value"), 4000)
    problems.number((*path, "min_length"), part.get("min_length"), 0, 4000)
    problems.number((*path, "max_length"), part.get("max_length"), 1, 4000)
    value, most = part.get("value"), part.get("max_length")
    if isinstance(value, str) and isinstance(most, int) and len(value) > most:
        problems.text((*path, "value"), value, most)
