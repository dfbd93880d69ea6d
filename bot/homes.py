"""Whose plan pays in a direct message: that of a served server which the person is a member of, their home.

Without one nobody is served there: else anybody on Discord could use the GPU. Knows nothing of plans and prices.
"""

import asyncio
import time
from collections.abc import Callable

import discord

from bot.trouble import REQUEST_ERRORS
from core.errors import NotAllowed

_FRESH_SECONDS = 600.0
_REMEMBERED = 10_000
_ASK_SECONDS = 1.5  # the first answer has to come within three
_MOST_SERVERS = 20


class Homes:
    """`served`: server ids, None for all that the bot is in. `monotonic` ages what was learned."""

    def __init__(
        self,
        client: discord.Client,
        served: frozenset[str] | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._served = served
        self._monotonic = monotonic
        self._known: dict[int, tuple[float, str | None]] = {}

    async def of(self, user: int) -> str | None:
        """The server's id; None for a stranger. Raises NotAllowed when Discord does not say in time."""
        known = self._known.get(user)
        if known is not None and self._monotonic() - known[0] < _FRESH_SECONDS:
            return known[1]
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                home = await self._ask(user)
        except (TimeoutError, *REQUEST_ERRORS):
            raise NotAllowed("Discord did not say which servers you are in. Please try again.", rule="place") from None
        self._remember(user, home)
        return home

    async def _ask(self, user: int) -> str | None:
        for guild in sorted(self._client.guilds, key=lambda guild: guild.id)[:_MOST_SERVERS]:
            if self._served is not None and str(guild.id) not in self._served:
                continue
            try:
                await guild.fetch_member(user)
            except discord.NotFound:
                continue
            return str(guild.id)
        return None

    def _remember(self, user: int, home: str | None) -> None:
        self._known[user] = (self._monotonic(), home)
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
