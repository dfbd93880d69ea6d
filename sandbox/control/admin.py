"""Limits, faults, the gateway, the transcript and the reset."""

from typing import Any

from sandbox.control.request import Ask, Route
from sandbox.errors import ControlError
from sandbox.value_types import Json

ACTIONS = ("disconnect", "reconnect", "invalid_session", "silence", "second_ready")


async def set_limits(ask: Ask) -> Any:
    return ask.sandbox.set_limits(ask.body).as_json()


async def order_fault(ask: Ask) -> Any:
    return {"id": ask.sandbox.faults.order(ask.body).id}


async def drop_faults(ask: Ask) -> Any:
    ask.sandbox.faults.waiting.clear()
    return {}


async def act_on_gateway(ask: Ask) -> Any:
    action = ask.need("action")
    if action not in ACTIONS:
        raise ControlError("bad_action", f"action must be one of {', '.join(ACTIONS)}.")
    if not ask.sandbox.gateway.online:
        raise ControlError("offline", "No bot is connected.", status=409)
    await ask.sandbox.gateway.act(action, resumable=bool(ask.body.get("resumable", action != "invalid_session")))
    return {}


async def transcript(ask: Ask) -> Any:
    after = ask.query.get("after") or "0"
    if not after.isdecimal():
        raise ControlError("bad_after", "after must be the number of an entry.")
    entries: list[Json] = ask.sandbox.transcript.after(int(after))
    return entries


async def reset(ask: Ask) -> Any:
    await ask.sandbox.reset()
    ask.sandbox.transcript.add("event", name="RESET", body={})
    return {}


ROUTES: list[Route] = [
    ("POST", "/limits", set_limits),
    ("POST", "/faults", order_fault),
    ("DELETE", "/faults", drop_faults),
    ("POST", "/gateway", act_on_gateway),
    ("GET", "/transcript", transcript),
    ("POST", "/reset", reset),
]
