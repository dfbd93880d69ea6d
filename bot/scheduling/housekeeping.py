"""What is tidied each minute, and may take longer as history grows: nobody's answer and no start waits for it.

Knows which work there is, and none of what it does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bot.resources import Resources
from bot.storage_retry import PASSING

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 60.0
#: In one transaction, for which admissions wait.
_TOKENS_AT_ONCE = 200
#: Steps of going back through old prompts in a minute: 10,000 jobs.
_INDEXED_AT_ONCE = 200


class Housekeeping:
    """`book`: notes the overhead that was measured since the last time."""

    def __init__(self, resources: Resources, book: Callable[[], Awaitable[None]]) -> None:
        self._resources = resources
        self._book = book
        self._began = 0.0  # seconds since the epoch
        self._swept = False

    async def run(self) -> None:
        """Until cancelled."""
        self._began = self._resources.clock()
        await self._try(self._sweep)
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            await self._book()
            tidying = (self._sweep, self._prune, self._forget, self._expire, self._resources.jobs.tidy_counters)
            for work in (*tidying, self._index):
                await self._try(work)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except PASSING as error:
            log.error("Housekeeping failed (%s); trying again in a minute.", error)

    async def _sweep(self) -> None:
        """Once: what an earlier process left half written."""
        if not self._swept:
            await self._resources.images.sweep(self._began)
            self._swept = True

    async def _prune(self) -> None:
        await self._resources.images.prune()

    async def _forget(self) -> None:
        while await self._resources.jobs.forget_tokens(_TOKENS_AT_ONCE) == _TOKENS_AT_ONCE:
            pass

    async def _index(self) -> None:
        """Prompts of before the index, a share of them each minute."""
        for _ in range(_INDEXED_AT_ONCE):
            if not await self._resources.search.catch_up():
                break

    async def _expire(self) -> None:
        await self._resources.ledger.expire(self._resources.clock())
