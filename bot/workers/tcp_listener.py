"""Opens the port that workers on other machines dial, or says what keeps it shut and the cure. Knows no worker."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable

from core.errors import ConfigError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Taken(ConfigError):
    """Another program, or this bot itself, has the port."""


async def listen(serve: Serve, host: str, port: int) -> asyncio.Server:
    """The server, listening. Raises ConfigError; Taken where the port is in use."""
    try:
        return await asyncio.start_server(serve, host, port)
    except (OSError, UnicodeError) as error:
        raise _shut(host, port, error) from error


async def attempt(host: str, port: int) -> None:
    """Takes the port and gives it back. Raises as `listen` does."""

    async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    try:
        server = await asyncio.start_server(nobody, host, port, start_serving=False)
    except (OSError, UnicodeError) as error:
        raise _shut(host, port, error) from error
    server.close()
    await server.wait_closed()


def _shut(host: str, port: int, error: OSError | UnicodeError) -> ConfigError:
    number, setting = getattr(error, "errno", None), f"DARKROOM_WORKER_LISTEN is “{host}:{port}”"
    if number == errno.EADDRINUSE:
        return Taken(f"{setting}, but another program is listening there. Stop it, or choose another port.")
    if number == errno.EACCES:
        return ConfigError(f"{setting}, but this user may not listen there. Choose a port above 1023.")
    reason = os.strerror(number) if number and number > 0 else getattr(error, "strerror", None) or error
    return ConfigError(
        f"{setting}, which is not an address of this machine ({reason}). Use one it has, or 0.0.0.0:{port} for all."
    )
