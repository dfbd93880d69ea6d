"""Reads a request's body: JSON, or a form with payload_json and files. Knows no route."""

import json
import re
from typing import Any

from aiohttp import BodyPartReader, web

from sandbox.errors import refuse
from sandbox.value_types import Body, Upload

FILE_FIELD = re.compile(r"files?\[(\d+)\]")


async def read_body(request: web.Request) -> Body:
    """The whole body. Nothing at all reads as an empty object."""
    if request.content_type.startswith("multipart/"):
        return await _read_form(request)
    raw = await request.read()
    if not raw:
        return Body()
    return Body(data=_parse(raw))


def _parse(raw: bytes | bytearray) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        raise refuse("invalid_json") from None


async def _read_form(request: web.Request) -> Body:
    payload: Any = {}
    files: dict[int, Upload] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise refuse("bad_request")
        data = bytes(await part.read(decode=True))
        name = part.name or ""
        found = FILE_FIELD.fullmatch(name)
        if name == "payload_json":
            payload = _parse(data)
        elif found or name == "file":
            number = int(found[1]) if found else 0
            kind = part.headers.get("Content-Type", "")
            files[number] = Upload(filename=part.filename or "file", content_type=kind, data=data)
    return Body(data=payload, files=files)
