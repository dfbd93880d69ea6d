"""A real database in a temporary folder, whose books are checked when the test is over."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.database import Database
from tests.harness.opened_storage import Clock, OpenedStorage, job_maker, memory_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, in memory where there is one."""
    with memory_folder() as path:
        yield path


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
