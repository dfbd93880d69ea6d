"""A real database in a temporary folder, whose books are checked when the test is over."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.database import Database
from tests.storage.opened_storage import Clock, OpenedStorage, job_maker

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, in memory where there is one: each commit waits for the disk, and these tests commit thousands
    of times. A killed process loses nothing there either; only a power cut would."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="darkroom-", dir=MEMORY if usable else None) as name:
        yield Path(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(folder: Path, clock: Clock) -> AsyncIterator[OpenedStorage]:
    """An open store whose books are checked when the test is over."""
    async with Database.open(folder / "data", clock=clock) as db:
        opened = OpenedStorage(db=db, clock=clock, make=job_maker())
        await opened.jobs.new_boot("boot1")
        yield opened
        assert await opened.ledger.audit() == []
