"""Repeats what storage could not take just now. Knows no table and no file."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.backoff import backoff_seconds
from core.errors import DiskFull, PicturesAway

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 5.0
#: What passes: a full disk, a locked or interrupted database, a file system that is away for a moment.
PASSING = (sqlite3.OperationalError, DiskFull, PicturesAway, OSError)

T = TypeVar("T")


async def until_stored(work: Callable[[], Awaitable[T]], what: str, *, job: str | None = None) -> T:
    """The result of `work`, however often it takes. Only for statements that are guarded, so that twice is once."""
    failures = 0
    while True:
        try:
            return await work()
        except PASSING as error:
            failures += 1
            wait = backoff_seconds(failures, first=FIRST_WAIT_SECONDS, longest=LONGEST_WAIT_SECONDS)
            log.error("Could not %s (%s). The next try is in %.1f s.", what, error, wait, extra={"job": job})
            await asyncio.sleep(wait)
