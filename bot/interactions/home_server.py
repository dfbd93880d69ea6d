"""Whose plan pays in a direct message: that of a served server which the person is a member of, their home.

Without one nobody is served there: else anybody on Discord could use the GPU. Knows nothing of plans and prices.
"""

import asyncio
import time
from collections.abc import Callable

import discord

from bot.messages import REQUEST_ERRORS
from core.bounded_dict import BoundedDict
from core.errors import NotAllowed

_FRESH_SECONDS = 600.0
_REMEMBERED = 10_000
_ASK_SECONDS = 1.5  # the first answer has to come within three
_ASKED_AT_ONCE = 10  # Discord takes fifty requests a second from a bot, and results need some of them


class HomeServers:
    """`is_served` says whether a server is served, None when nobody knows yet. `monotonic` ages what was learned."""

    def __init__(
        self,
        client: discord.Client,
        is_served: Callable[[discord.Guild], bool | None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._is_served = is_served
        self._monotonic = monotonic
        self._known: BoundedDict[int, tuple[float, str | None]] = BoundedDict(_REMEMBERED)

    async def of(self, user: int) -> str | None:
        """The server's id; None for a stranger. Raises NotAllowed when Discord does not say in time."""
        known = self._known.get(user)
        if known is not None and self._monotonic() - known[0] < _FRESH_SECONDS:
            return known[1]
        home = await self._ask(user)
        self._remember(user, home)
        return home

    async def _ask(self, user: int) -> str | None:
        """Of several the oldest server, so that it is the same each time. One that does not answer is no obstacle."""
        guilds = sorted(self._client.guilds, key=lambda guild: guild.id)
        unknown = any(self._is_served(guild) is None for guild in guilds)
        guilds = [guild for guild in guilds if self._is_served(guild)]
        gate = asyncio.Semaphore(_ASKED_AT_ONCE)
        asked = [asyncio.create_task(_is_member(guild, user, gate)) for guild in guilds]
        try:
            if asked:
                await asyncio.wait(asked, timeout=_ASK_SECONDS)
            said = [task.result() if task.done() else None for task in asked]
        finally:
            for task in asked:
                task.cancel()
        home = next((str(guild.id) for guild, member in zip(guilds, said, strict=True) if member), None)
        if home is None and (unknown or None in said):
            raise NotAllowed("Discord did not say which servers you are in. Please try again.", rule="place")
        return home

    def _remember(self, user: int, home: str | None) -> None:
        self._known[user] = (self._monotonic(), home)


async def _is_member(guild: discord.Guild, user: int, gate: asyncio.Semaphore) -> bool | None:
    """None where Discord does not say for now. A server that lets us see nobody serves nobody here."""
    async with gate:
        try:
            await guild.fetch_member(user)
        except (discord.NotFound, discord.Forbidden):
            return False
        except REQUEST_ERRORS:
            return None
        return True
