"""Builds one sandbox's web application and runs it on an address. Knows no command line and no bot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox import startup
from sandbox.control import add_control, check_sender, close_listeners
from sandbox.errors import ControlError
from sandbox.file_routes import add_files
from sandbox.rest import add_routes
from sandbox.sandbox import Config, Sandbox

ANYWHERE = ("", "0.0.0.0")  # noqa: S104 - only compared with
BODY_BYTES = 128 * 1024 * 1024


@web.middleware
async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:
    """The bot's interfaces are for programs only: a page elsewhere might know the bot's token, which is no secret."""
    if request.path.startswith(("/api/", "/gateway")):
        try:
            check_sender(request)
        except ControlError as error:
            return web.Response(status=error.status, text=error.sentence)
    answer: web.StreamResponse = await handler(request)
    return answer


def build(sandbox: Sandbox) -> web.Application:
    """All routes of one sandbox."""
    app = web.Application(client_max_size=BODY_BYTES, middlewares=[guarded])
    app.router.add_get("/gateway", sandbox.gateway.serve)
    app.router.add_get("/gateway/", sandbox.gateway.serve)
    add_control(app, sandbox)
    add_routes(app, sandbox)
    add_files(app, sandbox)
    app.on_shutdown.append(_hang_up(sandbox))
    return app


def _hang_up(sandbox: Sandbox) -> Any:
    async def close(app: web.Application) -> None:
        await sandbox.gateway.close()
        await close_listeners(app)

    return close


@asynccontextmanager
async def running(data: Path, *, host: str = "127.0.0.1", port: int = 0, **config: Any) -> AsyncIterator[Sandbox]:
    """A sandbox that answers on `sandbox.config.base` until the block ends. Port 0 takes a free one.

    Raises CannotStart.
    """
    with startup.open_listener(host, port) as listener:
        shown = f"[{host}]" if ":" in host else "127.0.0.1" if host in ANYWHERE else host
        base = f"http://{shown}:{listener.getsockname()[1]}"
        sandbox = startup.open_sandbox(Config(data=data, base=base, **config))
        runner = web.AppRunner(build(sandbox), access_log=None, shutdown_timeout=1, handler_cancellation=True)
        try:
            await runner.setup()
            await web.SockSite(runner, listener, backlog=512).start()
            yield sandbox
        finally:
            await runner.cleanup()
            sandbox.close()
