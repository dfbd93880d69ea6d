"""Spreads message edits over time: so many a second for the whole process, the important ones first.

Knows nothing of Discord; time is the event loop's.
"""

import asyncio
import heapq
import itertools
from enum import IntEnum


class Weight(IntEnum):
    """Who goes first when edits have to wait. A preview that waits is not lost: the newest one is sent."""

    RESULT = 0
    CHANGE = 1
    PLACE = 2
    PREVIEW = 3


class EditRateLimiter:
    """`per_second` turns, handed out by weight, then by age."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1.0 / per_second
        self._next = 0.0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, weight: Weight) -> None:
        """Returns when it is this edit's turn."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting, (weight, next(self._order), turn))
        self._pump()
        await turn

    def _pump(self) -> None:
        """Hands out what is due and sets one timer for the next."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            if self._waiting[0][2].done():  # its task was cancelled
                heapq.heappop(self._waiting)
            elif loop.time() >= self._next:
                turn = heapq.heappop(self._waiting)[2]
                self._next = loop.time() + self._gap
                turn.set_result(None)
            else:
                self._timer = loop.call_at(self._next, self._pump)
                return
