"""Collects the GPU time that no job pays, and books it now and then. Knows no job and no worker."""

import logging
from collections import Counter

from bot.storage_retry import PASSING
from storage.ledger import Ledger

log = logging.getLogger(__name__)

#: Each cause is a transaction of its own, and workers name them.
_MOST_CAUSES, _OTHER = 32, "other"


class OverheadUsage:
    """Memory between two bookings: one transaction a cause instead of one an event."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._spent: Counter[str] = Counter()

    def add(self, cause: str, gpu_ms: int) -> None:
        """`cause`: load, warmup, preview, padding, …"""
        self._spent[cause if cause in self._spent or len(self._spent) < _MOST_CAUSES else _OTHER] += gpu_ms

    async def book(self) -> None:
        """Writes down what was collected. What the database cannot take now is kept for the next time."""
        for cause in list(self._spent):
            gpu_ms = self._spent.pop(cause)
            try:
                await self._ledger.book_overhead(cause, gpu_ms)
            except PASSING as error:
                self._spent[cause] += gpu_ms
                log.error("Could not book GPU time (%s); trying again.", error)
                return
