"""Remembers which interactions are being answered right now, so that no result overtakes the message it belongs to.

Memory only: after a crash nothing is being answered, and the message is looked for instead.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class PendingResponses:
    """By interaction id."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Event] = {}

    @contextmanager
    def open(self, interaction: str) -> Iterator[None]:
        """From before a job exists until its first answer has arrived or failed."""
        event = self._open[interaction] = asyncio.Event()
        try:
            yield
        finally:
            del self._open[interaction]
            event.set()

    async def settled(self, interaction: str) -> bool:
        """Returns when nothing is pending; whether it had to wait."""
        event = self._open.get(interaction)
        if event is None:
            return False
        await event.wait()
        return True

    async def all_settled(self, seconds: float) -> None:
        """Returns when nothing is pending any more, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self._open:
                    await next(iter(self._open.values())).wait()
        except TimeoutError:
            return
