"""Whose plan pays in a direct message: that of a served server which the person is a member of, their home.

Without one nobody is served there: else anybody on Discord could use the GPU. Knows nothing of plans and prices.
"""

import asyncio
import time
from collections.abc import Callable

import discord

from bot.messages import REQUEST_ERRORS, ErrorKind, error_kind
from core.bounded_dict import BoundedDict
from core.errors import NotAllowed

_NOT_YET = "Discord did not say yet which servers you are in. Please try again in a few seconds."
_FRESH_SECONDS = 600.0
_REMEMBERED = 10_000
_ASK_SECONDS = 1.5  # the first answer has to come within three
_MOST_SEARCHES = 20  # that go on at once
_ASKED_AT_ONCE = 10  # of a search; Discord takes fifty requests a second from a bot, and results need some of them


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
        self._searches: dict[int, _Search] = {}  # by person; those that have no answer yet
        self._known: BoundedDict[int, tuple[float, str | None]] = BoundedDict(_REMEMBERED)

    async def of(self, user: int) -> str | None:
        """The server's id; None for a stranger. Raises NotAllowed when Discord does not say in time.

        What is learned after that moment counts at the next call, so that any number of servers is got through.
        """
        known = self._known.get(user)
        if known is not None and self._is_fresh(known):
            return known[1]
        if known is not None and known[1] is not None and await self._is_still_in(known[1], user):
            self._remember(user, known[1])
            return known[1]
        search = self._searches.get(user)
        if search is None or self._monotonic() - search.begun > _FRESH_SECONDS:
            search = self._begin(user)
        home = await search.home(_ASK_SECONDS)
        if self._searches.get(user) is search:  # of two calls at once the first one ends it
            self._end(user)
        if home is None and any(self._is_served(guild) is None for guild in self._client.guilds):
            raise NotAllowed(_NOT_YET, rule="place")
        self._remember(user, home)
        return home

    def _is_fresh(self, known: tuple[float, str | None]) -> bool:
        return self._monotonic() - known[0] < _FRESH_SECONDS

    def close(self) -> None:
        """Asks nothing more."""
        for user in list(self._searches):
            self._end(user)

    def _guilds(self) -> list[discord.Guild]:
        """Those that are served, the oldest first, so that of several it is the same one each time."""
        return sorted(filter(self._is_served, self._client.guilds), key=lambda guild: guild.id)

    async def _is_still_in(self, home: str, user: int) -> bool:
        """One question instead of all of them. Where nobody says for now, what was known holds."""
        guild = next((guild for guild in self._guilds() if str(guild.id) == home), None)
        if guild is None:
            return False
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                return await _is_member(guild, user) is not False
        except TimeoutError:
            return True

    def _begin(self, user: int) -> "_Search":
        self._end(user)
        while len(self._searches) >= _MOST_SEARCHES:
            self._end(next(iter(self._searches)))
        search = self._searches[user] = _Search(self._guilds(), user, self._monotonic())
        return search

    def _end(self, user: int) -> None:
        if (search := self._searches.pop(user, None)) is not None:
            search.stop()

    def _remember(self, user: int, home: str | None) -> None:
        self._known[user] = (self._monotonic(), home)


class _Search:
    """Which of the servers, in their order, a person is in: what is known so far, while the rest is asked."""

    def __init__(self, guilds: list[discord.Guild], user: int, begun: float) -> None:
        self.begun = begun
        self._guilds = guilds
        self._user = user
        self._gate = asyncio.Semaphore(_ASKED_AT_ONCE)
        self._asked: dict[int, asyncio.Task[bool | None]] = {}

    async def home(self, seconds: float) -> str | None:
        """The first server of those that have answered; None when none has them. Raises NotAllowed: not yet known."""
        for guild in self._guilds:
            before = self._asked.get(guild.id)
            if before is None or (before.done() and _said(before) is None):
                self._asked[guild.id] = asyncio.create_task(self._ask(guild))
        if self._asked:
            await asyncio.wait(self._asked.values(), timeout=seconds)
        said = [_said(task) for task in self._asked.values()]
        home = next((str(guild) for guild, member in zip(self._asked, said, strict=True) if member), None)
        if home is None and None in said:
            raise NotAllowed(_NOT_YET, rule="place")
        return home

    def stop(self) -> None:
        """Asks nothing more; what is known stays."""
        for task in self._asked.values():
            task.cancel()

    async def _ask(self, guild: discord.Guild) -> bool | None:
        async with self._gate:
            return await _is_member(guild, self._user)


def _said(task: asyncio.Task[bool | None]) -> bool | None:
    return task.result() if task.done() and not task.cancelled() else None


async def _is_member(guild: discord.Guild, user: int) -> bool | None:
    """None where Discord does not say for now. A server that lets us see nobody serves nobody here."""
    try:
        await guild.fetch_member(user)
    except REQUEST_ERRORS as error:
        return None if error_kind(error) is ErrorKind.LATER else False
    return True
