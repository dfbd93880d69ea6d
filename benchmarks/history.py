"""Whether anything takes longer because much has been: `python -m benchmarks.history [--small] [--jobs N] …`.

The real bot below Discord's surface over two data folders, by turns: an empty one, and one with a million past jobs,
300,000 kept pictures, and a member who has asked for 50,000 jobs of 10,000 kinds. Measured is what first answers wait
for and what is done each minute: admission, a claim, a job's end, /info, the scan for results to post, pruning, and a
start. Prints a table, then one line of JSON; exits with 1 when a goal is missed.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._history.past import EMPTY, PICTURE_BYTES, SERVER, Past, account, make, request, user
from bot.admission import JobRequest
from bot.config import Config
from bot.main import Parts, build
from cogs.info import account_info
from core.job import Job, Kind, Lane, Where
from core.preemption import Capacity
from storage.image_retention import ImageRetention

RATIO_GOAL, READ_GOAL_MS = 1.5, 50.0
WAITING = 20  # members with a job in the queue
_numbers = itertools.count(10**17)


@dataclass(slots=True)
class Subject:
    """A bot over one past. `took`: seconds by name of what was done; `longest`: of a single statement."""

    parts: Parts
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    longest: float = 0.0

    async def timed(self, name: str, work: Awaitable[Any]) -> Any:
        """What `work` gives; how long it took is noted."""
        began = time.perf_counter()
        found = await work
        self.took[name].append(time.perf_counter() - began)
        return found


@asynccontextmanager
async def bot(folder: Path, past: Past) -> AsyncIterator[Parts]:
    """The bot without workers and surface. Its pictures fill what it may keep."""
    kept = max(4, past.pictures) * PICTURE_BYTES / 1e9
    environ = {
        "DARKROOM_DATA": str(folder), "DISCORD_TOKEN": "none", "DARKROOM_WORKER": "none", "DARKROOM_LOG": "error",
        "DARKROOM_FAST_MINUTES": "100000", "DARKROOM_RUNNING": "100", "DARKROOM_WAITING": "1000",
        "DARKROOM_QUEUE": "100000", "DARKROOM_DISK_FREE_MB": "1", "DARKROOM_DISK_GB": str(kept),
    }  # fmt: skip
    async with build(Config.from_env(environ, folder / "no.env")) as parts:
        yield parts


def watch_reads(subject: Subject) -> None:
    """Notes how long the longest read of the connection took that first answers wait for."""
    db = subject.parts.services.db
    read = db.read

    async def watched(sql: str, params: Any = None) -> Any:
        began = time.perf_counter()
        rows = await read(sql, params)
        subject.longest = max(subject.longest, time.perf_counter() - began)
        return rows

    db.read = watched  # type: ignore[method-assign]


def wish(member: int, lane: Lane = Lane.FAST, prompt: str = "a red boat on the sea") -> JobRequest:
    """A member asks for a grid."""
    where = Where(
        guild=SERVER, channel="2", message=None, interaction=str(next(_numbers)), token="none",
        token_expires_at=time.time() + 900,
    )  # fmt: skip
    return JobRequest(
        kind=Kind.GRID, lane=lane, user=user(member), account=account(member), where=where, typed=prompt,
        request=request(prompt),
    )  # fmt: skip


async def a_round(subject: Subject) -> None:
    """A job of the member with the longest past from its admission to its message, and what happens beside it."""
    services = subject.parts.services
    await subject.timed("admission", services.admission.submit(wish(0)))
    surface: Any = SimpleNamespace(services=services)
    await subject.timed("/info", account_info(surface, user(0), int(SERVER)))
    claim = await subject.timed("a claim", services.jobs.claim(boot=_boot(subject), worker="w", capacity=Capacity()))
    assert claim is not None
    await _keep_pictures(subject, claim.job)
    await subject.timed("a job's end", services.jobs.finish(claim.job.id, claim.job.attempt, 700))
    for _ in range(5):  # it is so short that the waking of a thread is most of a single one
        await subject.timed("the delivery scan", _scan(subject))
    await services.outbox.posted(claim.job.id, "1")
    await subject.timed("pruning", services.images.prune())


def _boot(subject: Subject) -> str:
    return subject.parts.services.scheduler._boot


async def _keep_pictures(subject: Subject, job: Job) -> None:
    retention = ImageRetention(subject.parts.services.db)
    for index in range(4):
        await retention.add(job.id, index, f"{job.id[:2]}/{job.id}-{index}.png", PICTURE_BYTES, "0" * 64)


async def _scan(subject: Subject) -> None:
    outbox = subject.parts.services.outbox
    assert len(await outbox.undelivered(time.time())) == 1
    assert await outbox.next_due() is not None


async def housekeeping(subject: Subject) -> None:
    """What is done beside everything else, and how long an admission takes meanwhile."""
    services = subject.parts.services
    work: dict[str, Callable[[], Awaitable[Any]]] = {
        "housekeeping: the sweep of the folders": lambda: services.images.sweep(0.0),
        "housekeeping: lots that are over": lambda: services.ledger.expire(time.time()),
        "housekeeping: counters": services.jobs.tidy_counters,
    }
    for name, one in work.items():
        beside = asyncio.create_task(subject.timed(name, one()))
        while not beside.done():
            await subject.timed("admission beside housekeeping", services.admission.submit(wish(0)))
        await beside


async def measure(past: Past, rounds: int, folder: Path) -> dict[str, Subject]:
    """Both by turns, so that what else the machine does meets them alike."""
    pasts = {"empty": EMPTY, "full": past}
    for name, one in pasts.items():
        await make(folder / name, one, time.time())
    found: dict[str, Subject] = {}
    async with AsyncExitStack() as stack:
        for name, one in pasts.items():
            found[name] = Subject(await stack.enter_async_context(bot(folder / name, one)))
            watch_reads(found[name])
            for member in range(1, WAITING + 1):
                await found[name].parts.services.admission.submit(wish(member))
            await a_round(found[name])  # once for the caches
            found[name].took.clear()
        for _ in range(rounds):
            for subject in found.values():
                await a_round(subject)
        for subject in found.values():
            await housekeeping(subject)
    for _ in range(max(3, rounds // 5)):
        for name, one in pasts.items():
            began = time.perf_counter()
            async with bot(folder / name, one):
                found[name].took["a start"].append(time.perf_counter() - began)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table, in milliseconds; only what first answers, a start or each minute need has a goal."""

    name: str
    empty_ms: float
    full_ms: float

    @property
    def bound(self) -> bool:
        """Whether it has a goal."""
        return "housekeeping" not in self.name

    @property
    def met(self) -> bool:
        """Whether it is met."""
        return not self.bound or self.full_ms <= RATIO_GOAL * self.empty_ms

    def __str__(self) -> str:
        goal = f"goal ≤ {RATIO_GOAL} {'met' if self.met else 'MISSED'}" if self.bound else ""
        ratio = self.full_ms / self.empty_ms
        return f"{self.name:<42} {self.empty_ms:>9.2f} {self.full_ms:>9.2f} ms  {ratio:>7.2f}  {goal}".rstrip()


def rows(found: dict[str, Subject]) -> list[Row]:
    """The medians, beside one another."""
    empty, full = found["empty"].took, found["full"].took
    return [
        Row(name=name, empty_ms=statistics.median(empty[name]) * 1000, full_ms=statistics.median(full[name]) * 1000)
        for name in full
    ]


def main(arguments: Sequence[str]) -> int:
    """0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--small", action="store_true", help="does it run at all?")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=300_000)
    parser.add_argument("--kinds", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args(arguments)
    past = Past(jobs=options.jobs, pictures=options.pictures, kinds=options.kinds, members=10_000)
    if options.small:
        past, options.rounds = Past(jobs=2000, pictures=400, kinds=100, members=100), 3
    with tempfile.TemporaryDirectory(prefix="darkroom-", ignore_cleanup_errors=True) as folder:
        found = asyncio.run(measure(past, options.rounds, Path(folder)))
    table = rows(found)
    longest = found["full"].longest * 1000
    print(f"{'':<42} {'empty':>9} {'full':>9}       times")
    for row in table:
        print(row)
    quick = longest <= READ_GOAL_MS
    print(f"{'the longest read that answers wait for':<42} {longest:>19.2f} ms           "
          f"goal ≤ {READ_GOAL_MS:g} {'met' if quick else 'MISSED'}")  # fmt: skip
    numbers = {
        row.name: {"empty_ms": round(row.empty_ms, 3), "full_ms": round(row.full_ms, 3), "met": row.met}
        for row in table
    }
    about = {"jobs": past.jobs, "pictures": past.pictures, "kinds": past.kinds, "members": past.members,
             "rounds": options.rounds, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}  # fmt: skip
    print(json.dumps({"benchmark": "history", **about, "longest_read_ms": round(longest, 2), "rows": numbers}))
    return 0 if quick and all(row.met for row in table) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
