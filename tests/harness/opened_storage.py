"""All of storage over one database, jobs to put into it, and a clock that only moves when told."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.cost import AccountPlan, price_ms
from core.job import Account, Job, Kind, Lane, MadeWith, PayerKind, Request, Source, State, Where
from core.preemption import Capacity
from storage.database import Database
from storage.history import History
from storage.image_retention import ImageRetention
from storage.jobs import Dedupe, Jobs
from storage.ledger import Ledger
from storage.outbox import Outbox
from storage.search import SearchIndex
from storage.settings import Settings

NOON = 1_780_315_200.0  # 2026-06-01 12:00 UTC
_MEMORY = Path("/dev/shm")
MULTIPLIERS = {Lane.TURBO: 2.0, Lane.FAST: 1.0, Lane.RELAX: 0.0}
MADE = MadeWith(model="postcard", digest="d", dtype="float32", device="cpu", engine="1")


@dataclass
class Clock:
    """Seconds since the epoch; stands still unless moved."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


def job_maker() -> Callable[..., Job]:
    """A function that makes jobs with fresh ids and interactions: make(user="alice", lane=Lane.FAST, estimate=1000)."""
    numbers = itertools.count(1)

    def make(
        user: str = "alice",
        lane: Lane = Lane.FAST,
        estimate: int = 1000,
        *,
        count: int = 4,
        width: int = 256,
        source: Source | None = None,
        interaction: str | None = None,
        at: float = NOON,
        state: State = State.QUEUED,
        kind: Kind = Kind.GRID,
    ) -> Job:
        number = next(numbers)
        return Job(
            id=f"job{number}",
            kind=kind,
            state=state,
            lane=lane,
            account=Account(kind=PayerKind.MEMBER, server="guild", id=user),
            user=user,
            where=Where(guild="guild", channel="channel", message=None, token="secret", token_expires_at=at + 900,
                        interaction=interaction or f"interaction{number}"),
            typed="a red boat",
            request=Request(prompt="a red boat", width=width, height=256, seed=7, steps=20, guidance=4.0,
                            sampler="euler", count=count, model="postcard"),
            source=source,
            multiplier=MULTIPLIERS[lane],
            estimate_ms=estimate,
            reserved_ms=price_ms(estimate, MULTIPLIERS[lane]),
            created_at=at,
        )  # fmt: skip

    return make


@dataclass
class OpenedStorage:
    """All of storage over one database, and the steps that most tests need."""

    db: Database
    clock: Clock
    make: Callable[..., Job]
    boot: str = "boot1"
    plan: AccountPlan = field(
        default_factory=lambda: AccountPlan(
            name="default", fast_ms_per_period=60_000, running=3, waiting=10, max_work=10**12
        )
    )

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.db)
        self.jobs = Jobs(self.db, self.ledger)
        self.outbox = Outbox(self.db)
        self.history = History(self.db)
        self.search = SearchIndex(self.db)
        self.results = ImageRetention(self.db)
        self.settings = Settings(self.db)

    async def admit(self, job: Job | None = None, *, dedupe: Dedupe | None = None, **wishes: Any) -> Job:
        """Grant, reserve and insert in one transaction, as the bot does."""
        wanted = replace(job or self.make(**wishes), created_at=self.clock())
        async with self.db.transaction() as tx:
            await self.ledger.renew(tx, wanted.account, self.plan, self.clock())
            return await self.jobs.submit(tx, wanted, dedupe=dedupe)

    async def claim(self, capacity: Capacity | None = None) -> Job:
        """The next job; there must be one."""
        claim = await self.jobs.claim(boot=self.boot, worker="worker1", capacity=capacity or Capacity())
        assert claim is not None
        return claim.job

    async def running(self, **wishes: Any) -> Job:
        """A job that was admitted, claimed and started."""
        await self.admit(**wishes)
        claimed = await self.claim()
        started = await self.jobs.started(claimed.id, claimed.attempt, MADE)
        assert started is not None
        return started

    async def balance(self, user: str = "alice") -> int:
        """What a member can still reserve."""
        account = Account(kind=PayerKind.MEMBER, server="guild", id=user)
        return await self.ledger.balance(account, self.clock())

    async def rows(self, table: str, where: str = "true") -> list[dict[str, Any]]:
        """Rows of a table as they stand."""
        return [dict(row) for row in await self.db.read(f"SELECT * FROM {table} WHERE {where}")]


@contextmanager
def memory_folder() -> Iterator[Path]:
    """An empty folder, in memory where there is one: each commit waits for the disk, and tests commit very often.

    A killed process loses nothing there either; only a power cut would.
    """
    usable = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="darkroom-", dir=_MEMORY if usable else None) as name:
        yield Path(name)
