"""Limits, faults, the gateway, the transcript and the reset."""

from typing import Any

from sandbox.control.request import ControlRequest, Route
from sandbox.errors import ControlError
from sandbox.value_types import Json

ACTIONS = ("disconnect", "reconnect", "invalid_session", "silence", "second_ready")


async def set_limits(request: ControlRequest) -> Any:
    return request.sandbox.set_limits(request.body).as_json()


async def order_fault(request: ControlRequest) -> Any:
    return {"id": request.sandbox.faults.order(request.body).id}


async def drop_faults(request: ControlRequest) -> Any:
    request.sandbox.faults.waiting.clear()
    return {}


async def act_on_gateway(request: ControlRequest) -> Any:
    action = request.need("action")
    if action not in ACTIONS:
        raise ControlError("bad_action", f"action is one of {', '.join(ACTIONS)}.")
    if not request.sandbox.gateway.online:
        raise ControlError("offline", "No bot is connected.", status=409)
    await request.sandbox.gateway.act(
        action, resumable=bool(request.body.get("resumable", action != "invalid_session"))
    )
    return {}


async def transcript(request: ControlRequest) -> Any:
    after = request.query.get("after") or "0"
    if not after.isdecimal():
        raise ControlError("bad_after", "after is the number of an entry.")
    entries: list[Json] = request.sandbox.transcript.after(int(after))
    return entries


async def reset(request: ControlRequest) -> Any:
    await request.sandbox.reset()
    request.sandbox.transcript.add("event", name="RESET", body={})
    return {}


ROUTES: list[Route] = [
    ("POST", "/limits", set_limits),
    ("POST", "/faults", order_fault),
    ("DELETE", "/faults", drop_faults),
    ("POST", "/gateway", act_on_gateway),
    ("GET", "/transcript", transcript),
    ("POST", "/reset", reset),
]
