"""The way of every control call: guard, body, handler, JSON. Knows no call itself."""

import json
import logging
from typing import Any

from aiohttp import web

from sandbox.control import (
    admin,
    commands,
    components,
    context_menus,
    entities,
    events,
    messages,
    modals,
    reactions,
    state,
    wait,
)
from sandbox.control.origin_check import check_control_request
from sandbox.control.request import ControlRequest, Handler, Route
from sandbox.errors import ControlError
from sandbox.sandbox import Sandbox

log = logging.getLogger(__name__)
ROUTES: list[Route] = [
    *state.ROUTES,
    *entities.ROUTES,
    *commands.ROUTES,
    *context_menus.ROUTES,
    *components.ROUTES,
    *modals.ROUTES,
    *messages.ROUTES,
    *reactions.ROUTES,
    *wait.ROUTES,
    *admin.ROUTES,
]


def add_control(app: web.Application, sandbox: Sandbox) -> None:
    for method, route, handler in ROUTES:
        app.router.add_route(method, "/control" + route, _endpoint(sandbox, handler))
    app[events.LISTENERS] = events.Listeners()
    app.router.add_get("/control/events", events.endpoint(sandbox))
    app.router.add_route("*", "/control/{rest:.*}", _endpoint(sandbox, _unknown))


async def _unknown(control_request: ControlRequest) -> Any:
    raise ControlError("unknown_call", f"There is no control call {control_request.params['rest']}.", status=404)


def _endpoint(sandbox: Sandbox, handler: Handler) -> Any:
    async def serve(request: web.Request) -> web.Response:
        try:
            check_control_request(request)
            control_request = ControlRequest(
                sandbox=sandbox, params=request.match_info, query=request.query, body=await _body(request)
            )
            return _json(await handler(control_request), 200)
        except ControlError as error:
            return _json(error.body(), error.status)
        except Exception:
            log.exception("the sandbox itself failed", extra={"call": f"{request.method} {request.path}"})
            failed = ControlError("failed", "The sandbox itself failed; its log says how.", status=500)
            return _json(failed.body(), 500)
        finally:
            sandbox.world.commit()

    return serve


async def _body(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        raise ControlError("bad_json", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise ControlError("bad_json", "The body must be an object.")
    return body


def _json(data: Any, status: int) -> web.Response:
    return web.Response(body=json.dumps(data).encode(), status=status, content_type="application/json")
