"""A few threads for one kind of blocking work, so that no other kind waits behind it. Knows none of the work.

The threads that asyncio shares out (`asyncio.to_thread`) also look up addresses for every request to Discord: what may
take long, or comes in numbers, belongs into a pool of its own.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPool:
    """`size`: how many threads at most; the others' work waits in line."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self._executor = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns. Cancelled, it goes to its end all the same."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: work(*args, **kwargs))
