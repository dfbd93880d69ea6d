"""How much room a disk has. A disk that does not answer keeps nobody waiting: the last answer holds until it does.

Knows not what the room is for.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from bot.file_storage import free_bytes
from bot.thread_pool import ThreadPool

#: So long the disk's own answer is waited for.
PATIENCE_SECONDS = 0.5


class DiskRoom:
    """`look` tells the free bytes of a path, or raises OSError. It has a thread of its own, and no other work does."""

    def __init__(self, folder: Path, look: Callable[[Path], int] = free_bytes) -> None:
        self._folder = folder
        self._look = look
        self._thread = ThreadPool("disk room", 1)
        self._looking: asyncio.Task[int] | None = None
        self._seen: int | None = None

    async def free_bytes(self) -> int:
        """Raises OSError when nobody can say."""
        looking = self._looking
        if looking is None or looking.done():
            looking = self._looking = asyncio.create_task(self._thread.run(self._look, self._folder))
            looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait([looking], timeout=None if self._seen is None else PATIENCE_SECONDS)
        # Of the look that was waited for: meanwhile another one may have begun.
        if looking.done():
            self._seen = looking.result()
        assert self._seen is not None
        return self._seen
