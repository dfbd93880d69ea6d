"""Keeps other web pages away from the control interface, and from the bot's. Knows none of their calls.

A page of another site may make a browser send requests here. Browsers say so: by Origin, by Sec-Fetch-Site, and, when a
name is rebound to this address, by Host. Programs send none of these and pass.
"""

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.errors import ControlError


def check_control_request(request: web.Request) -> None:
    """Refuse a control call that did not come from the sandbox's own page or from a program."""
    check_sender(request)
    if request.can_read_body and request.content_type != "application/json":
        raise ControlError("not_json", "Send JSON with Content-Type: application/json.", status=415)


def check_sender(request: web.Request) -> None:
    """Refuse any request that a page of another site made."""
    host = request.headers.get("Host", "")
    if not _is_local_name(host):
        raise ControlError("foreign_host", "The sandbox is reached by its address or as localhost only.", status=403)
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != host:
        raise ControlError("foreign_origin", "Another site may not use this interface.", status=403)
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise ControlError("foreign_origin", "Another site may not use this interface.", status=403)


def _is_local_name(host: str) -> bool:
    """An address, or a name without a dot (localhost, a container's name): nobody else can point these here. No Host at
    all is no browser."""
    name = urlsplit(f"//{host}").hostname or ""
    if "." not in name and ":" not in name:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
