"""Holds bodies against the vendor's own OpenAPI description. Knows nothing of the sandbox but its transcript's entries.

The description is looked for in DARKROOM_OPENAPI, then beside the repository; `missing()` says why there is none.

Known mismatches, which are not counted:
* discord.py sends an attachment's id as an integer, and so the number of a new file; the description wants a string.
* The description gives the codes inside `errors` as integers; the vendor's documentation, and the sandbox, as words.
* discord.py sends recipient_id as an integer when it opens a direct channel; the description wants a string.
"""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped, unused-ignore]
from referencing import Registry
from referencing.jsonschema import DRAFT202012

Json = dict[str, Any]
NAME = "urn:discord"
PLACES = (Path(__file__).resolve().parents[3] / "shared" / "discord" / "openapi.json",)


@cache
def _path() -> Path | None:
    named = os.environ.get("DARKROOM_OPENAPI")
    places = (Path(named),) if named else PLACES
    return next((place for place in places if place.is_file()), None)


def missing() -> str | None:
    """Why nothing can be refereed, or None."""
    return None if _path() else "the vendor's OpenAPI description is not here (set DARKROOM_OPENAPI)"


@cache
def _document() -> Json:
    path = _path()
    assert path is not None, missing()
    found: Json = json.loads(path.read_text())
    return found


@cache
def _registry() -> Any:
    return Registry().with_resource(NAME, DRAFT202012.create_resource(_document()))


@cache
def _routes() -> list[tuple[re.Pattern[str], str]]:
    """Paths as patterns; those with fewer holes first, so that @original and @me win."""
    paths = sorted(_document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]


def operation(method: str, route: str) -> tuple[str, Json] | None:
    """The description of a request: its path as written there, and the operation."""
    for pattern, path in _routes():
        if pattern.fullmatch(route) and method.lower() in _document()["paths"][path]:
            return path, _document()["paths"][path][method.lower()]
    return None


def _validate(pointer: list[str], body: Any) -> list[str]:
    escaped = "/".join(part.replace("~", "~0").replace("/", "~1") for part in pointer)
    schema = {"$ref": f"{NAME}#/{escaped}"}
    validator = Draft202012Validator(schema, registry=_registry())
    found = []
    for error in validator.iter_errors(body):
        worst = best_match([error]) or error
        while worst.context:
            worst = best_match(worst.context) or worst.context[0]
        found.append(f"{'/'.join(map(str, worst.absolute_path)) or '(body)'}: {worst.message[:300]}")
    return found


def _corrected(body: Any) -> Any:
    """A body without the known mismatches of discord.py."""
    if isinstance(body, dict):
        found = {name: _corrected(value) for name, value in body.items()}
        if isinstance(found.get("recipient_id"), int):
            found["recipient_id"] = str(found["recipient_id"])
        if isinstance(found.get("attachments"), list):
            found["attachments"] = [item | {"id": str(item["id"])} for item in found["attachments"]]
        return found
    return [_corrected(item) for item in body] if isinstance(body, list) else body


def check_request(entry: Json) -> list[str]:
    """What is wrong with the body of a request; an empty list when nothing is."""
    found = operation(entry["method"], entry["route"])
    if found is None:
        return [f"{entry['method']} {entry['route']} is not in the description"]
    path, described = found
    body = entry.get("body") or {}
    if isinstance(body, dict) and set(body) == {"payload_json", "files"}:
        body = body["payload_json"]
    content = described.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return ["a body where none is described"] if body else []
    where = ["paths", path, entry["method"].lower(), "requestBody", "content", "application/json", "schema"]
    return _validate(where, _corrected(body))


def check_answer(entry: Json) -> list[str]:
    """What is wrong with the sandbox's answer."""
    found = operation(entry["method"], entry["route"])
    if found is None:
        return [f"{entry['method']} {entry['route']} is not in the description"]
    path, described = found
    status = str(entry["status"])
    responses = described["responses"]
    key = status if status in responses else f"{status[0]}XX"
    if key not in responses:
        return [f"status {status} is not described"]
    answer = responses[key]
    where = ["paths", path, entry["method"].lower(), "responses", key]
    if "$ref" in answer:
        where = answer["$ref"].removeprefix("#/").split("/")
        answer = _document()["components"]["responses"][where[-1]]
    content = answer.get("content", {})
    body = entry.get("answer")
    if "application/json" not in content:
        return ["an answer where none is described"] if body is not None else []
    if isinstance(body, dict) and "errors" in body:
        body = {name: value for name, value in body.items() if name != "errors"}
    return [] if body is None else _validate([*where, "content", "application/json", "schema"], body)


def check(entries: list[Json]) -> list[str]:
    """All that is wrong in a transcript: requests that were taken, and every answer but those of ordered faults."""
    wrong = []
    for entry in entries:
        if entry["kind"] != "request" or entry.get("dropped") or entry["status"] >= 500:
            continue
        head = f"{entry['method']} {entry['route']} {entry['status']}"
        if entry["status"] < 400:
            wrong += [f"{head} request: {problem}" for problem in check_request(entry)]
        wrong += [f"{head} answer: {problem}" for problem in check_answer(entry)]
    return wrong
