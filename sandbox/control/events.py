"""WS /control/events: every change as it happens, as the transcript's entries, from the moment of connecting.

Each frame is one entry, {n, at_ms, kind, …}. Those of kind "request" are what the bot asked; here they come without
body and answer, which `GET transcript` has. Those of kind "event" have a name and a body:

MESSAGE_CREATE, MESSAGE_UPDATE  the message object, with guild_id, ephemeral, visible_to (the one person who may see it,
                                or null), reference_visible_to (the same of the message that it replies to: the
                                others cannot see that one) and edits. A loading answer ("is thinking") has flags & 128.
MESSAGE_DELETE                  {id, channel_id, guild_id, visible_to?}
MESSAGE_REACTION_ADD, _REMOVE   {user_id, channel_id, message_id, emoji: {id, name}, …}
MESSAGE_REACTION_REMOVE_ALL, _REMOVE_EMOJI    {channel_id, message_id, emoji?}: all of a message, or of one emoji
TYPING_START                    {channel_id, user_id, timestamp}
INTERACTION_CREATE              what was sent to the bot; visible_to is who asked
INTERACTION_RESPONSE            {user_id, visible_to, interaction, ack_ms, response}: what the control call answers too
CHANNEL_CREATE, _UPDATE, _DELETE, THREAD_CREATE, …    the channel object
GUILD_CREATE, _UPDATE, _DELETE, GUILD_ROLE_…, GUILD_MEMBER_…    as the gateway tells them; read `GET state` again
COMMANDS_UPDATE                 {}: the bot registered commands; read `GET state` again
BOT_ONLINE, BOT_OFFLINE, READY, RESUMED, INVALID_SESSION, RESET

All go to every listener, whoever it shows; a page hides what its person may not see.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from sandbox.control.origin_check import check_control_request
from sandbox.errors import ControlError
from sandbox.sandbox import Sandbox
from sandbox.value_types import Json


class Listeners:
    """The open sockets of pages, to be closed with the sandbox."""

    def __init__(self) -> None:
        self.sockets: set[web.WebSocketResponse] = set()


LISTENERS = web.AppKey("listeners", Listeners)


async def close_listeners(app: web.Application) -> None:
    """Ends every connection, since the sandbox stops."""
    for socket in tuple(app[LISTENERS].sockets):
        await socket.close(code=1001)


def endpoint(sandbox: Sandbox) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            check_control_request(request)
        except ControlError as error:
            return web.Response(status=error.status, text=json.dumps(error.body()), content_type="application/json")
        socket = web.WebSocketResponse(heartbeat=20, compress=False)
        await socket.prepare(request)
        queue: asyncio.Queue[Json] = asyncio.Queue()
        writer = asyncio.get_running_loop().create_task(_write(socket, queue))
        request.app[LISTENERS].sockets.add(socket)
        sandbox.transcript.listeners.append(queue.put_nowait)
        try:
            async for _ in socket:
                pass
        finally:
            sandbox.transcript.listeners.remove(queue.put_nowait)
            request.app[LISTENERS].sockets.discard(socket)
            writer.cancel()
        return socket

    return serve


async def _write(socket: web.WebSocketResponse, queue: asyncio.Queue[Json]) -> None:
    with suppress(ConnectionError, RuntimeError):
        while True:
            entry = await queue.get()
            if entry["kind"] == "request":
                entry = {name: value for name, value in entry.items() if name not in ("body", "answer")}
            await socket.send_str(json.dumps(entry))
