"""The way of every REST request: body, faults, token, buckets, handler, commit, transcript. Knows no resource.

A handler's changes are committed before its answer is sent; whatever it raises undoes nothing, since handlers check
first and change last.
"""

import asyncio
import json
import logging
import sys
from typing import Any

from aiohttp import web

from sandbox.errors import ApiError, Page, RateLimited, refuse
from sandbox.faults import Fault
from sandbox.rest import (
    applications,
    callbacks,
    channels,
    gateway_info,
    guilds,
    messages,
    reactions,
    threads,
    users,
    webhooks,
)
from sandbox.rest.body import read_body
from sandbox.rest.request import Handler, RestRequest, Route
from sandbox.sandbox import Sandbox
from sandbox.transcript import summary
from sandbox.value_types import Body, Reply

log = logging.getLogger(__name__)
PREFIX = "/api/v10"
ROUTES: list[Route] = [
    *applications.ROUTES,
    *callbacks.ROUTES,
    *channels.ROUTES,
    *guilds.ROUTES,
    *messages.ROUTES,
    *gateway_info.ROUTES,
    *reactions.ROUTES,
    *threads.ROUTES,
    *users.ROUTES,
    *webhooks.ROUTES,
]
# These prove themselves by the token in their path, or need no proof.
NO_TOKEN = ("/webhooks/{webhook_id}/{token}", "/interactions/")
MAJOR = ("channel_id", "guild_id", "webhook_id", "token")


def add_routes(app: web.Application, sandbox: Sandbox) -> None:
    """Put the whole API under /api/v10; anything else there fails loudly."""
    for method, route, handler in ROUTES:
        app.router.add_route(method, PREFIX + route, Endpoint(sandbox, route, handler).serve)
    app.router.add_route("*", "/api/{rest:.*}", Endpoint(sandbox, None, _unknown).serve)


def _unknown(rest_request: RestRequest) -> Reply:
    raise ApiError(404, 0, "404: Not Found")


class Endpoint:
    """One route of the API."""

    def __init__(self, sandbox: Sandbox, route: str | None, handler: Handler) -> None:
        self._sandbox, self._route, self._handler = sandbox, route, handler
        self._open = route == "/gateway" or (route or "").startswith(NO_TOKEN)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request. Once its body is here it is done to the end, even if the bot no longer listens."""
        received = self._sandbox.clock.now()
        fault = self._sandbox.faults.take(request.method, request.path.removeprefix(PREFIX))
        try:
            body: Body | ApiError = await read_body(request)
        except ApiError as error:
            body = error
        return await asyncio.shield(self._answer(request, body, fault, received))

    async def _answer(
        self, request: web.Request, body: Body | ApiError, fault: Fault | None, received: float
    ) -> web.Response:
        headers: dict[str, str] = {}
        dropped, page = fault.drop if fault else None, None
        try:
            if isinstance(body, ApiError):
                raise body
            if fault:
                await _apply_fault(fault)
            if dropped == "before":
                reply = Reply(status=0)
            else:
                self._enter(request, headers)
                reply = self._work(request, body, received)
        except ApiError as error:
            headers |= error.headers() if isinstance(error, RateLimited | Page) else {}
            page = error if isinstance(error, Page) else None
            reply = Reply(data=self._explained(error, request), status=error.status)
            if "interaction_id" in request.match_info:
                self._sandbox.interactions.refused(request.match_info["interaction_id"], error)
        sent = body if isinstance(body, Body) else None
        self._note(request, sent, reply, received, headers.get("X-RateLimit-Bucket"), dropped)
        if dropped:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if page is not None:
            return web.Response(text=page.html(), status=page.status, headers=headers, content_type="text/html")
        return response(reply, headers)

    def _enter(self, request: web.Request, headers: dict[str, str]) -> None:
        """Check the token and the buckets; put the rate limit headers."""
        sandbox = self._sandbox
        authorization = request.headers.get("Authorization", "")
        if not self._open and authorization != f"Bot {sandbox.config.token}":
            raise refuse("unauthorized")
        if self._route is None:
            return
        major = "/".join(request.match_info.get(name, "") for name in MAJOR)
        count = (sandbox.limits, request.method, self._route, major, sandbox.clock.now())
        try:
            sandbox.buckets.spend(*count)
        finally:
            headers |= sandbox.buckets.peek(*count)

    def _work(self, request: web.Request, body: Body, received: float) -> Reply:
        sandbox = self._sandbox
        if any(len(file.data) > sandbox.limits.upload_bytes for file in body.files.values()):
            raise refuse("too_large")
        rest_request = RestRequest(
            sandbox=sandbox, params=request.match_info, query=request.query, body=body, received=received
        )
        try:
            rest_request.check_ids()
            return self._handler(rest_request)
        except ApiError:
            raise
        except Exception:
            log.exception("the sandbox itself failed", extra={"route": f"{request.method} {request.path}"})
            raise ApiError(500, 0, "500: Internal Server Error") from None
        finally:
            sandbox.world.commit()

    def _explained(self, error: ApiError, request: web.Request) -> dict[str, Any]:
        if self._route is not None or error.status != 404:
            return error.body()
        words = f"The sandbox has no route {request.method} {request.path}"
        print(words, file=sys.stderr, flush=True)
        return error.body() | {"message": f"404: Not Found: {words}"}

    def _note(
        self,
        request: web.Request,
        body: Body | None,
        reply: Reply,
        received: float,
        bucket: str | None,
        dropped: str | None,
    ) -> None:
        sandbox = self._sandbox
        sandbox.transcript.add(
            "request",
            method=request.method,
            route=request.path.removeprefix(PREFIX),
            template=self._route,
            query=dict(request.query) or None,
            status=reply.status,
            ms=round((sandbox.clock.now() - received) * 1000, 2),
            bucket=bucket,
            body=summary(body),
            answer=reply.data,
            dropped=dropped,
        )


async def _apply_fault(fault: Fault) -> None:
    """Do what an ordered fault says, short of dropping the connection."""
    if fault.delay_ms:
        await asyncio.sleep(fault.delay_ms / 1000)
    if fault.page and fault.status:
        raise Page(fault.status, fault.retry_after)
    if fault.status == 429:
        raise RateLimited(fault.retry_after or 1.0, code=fault.code)
    if fault.status:
        raise ApiError(fault.status, fault.code, "A fault that was ordered")


def response(reply: Reply, headers: dict[str, str] | None = None) -> web.Response:
    """An HTTP response; the content type is application/json to the letter, as discord.py demands."""
    if reply.data is None:
        return web.Response(status=reply.status if reply.status != 200 else 204, headers=headers)
    raw = json.dumps(reply.data, separators=(",", ":")).encode()
    return web.Response(body=raw, status=reply.status, headers=headers, content_type="application/json")
