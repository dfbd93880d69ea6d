"""Scenarios of a job, one process each, killed with SIGKILL at every storage statement in turn. Run by test_crash.py.

`python -m tests.storage.crash_scenarios SCENARIO FOLDER`: forks a child for point 1, 2, 3, … The child runs the
scenario on a database in FOLDER/<point> and kills itself at that point: before or after the next write statement or
COMMIT. It goes on until a child comes through alive, and prints how many points there were.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from core.job import Job
from core.preemption import Capacity
from storage.database import Database
from storage.outbox import Way
from tests.harness.opened_storage import MADE, Clock, OpenedStorage, job_maker

COST_MS = 700
INTERACTION = "the interaction"


async def submit(store: OpenedStorage) -> None:
    """The member asks, or Discord repeats what was asked."""
    await store.admit(interaction=INTERACTION, estimate=1000)


async def compute(store: OpenedStorage) -> Job:
    """A worker takes it and has begun."""
    claim = await store.jobs.claim(boot=store.boot, worker="w", capacity=Capacity())
    assert claim is not None
    job = claim.job
    await store.jobs.started(job.id, job.attempt, MADE)
    await store.jobs.renew([(job.id, job.attempt, 300)])
    return job


def post(discord: Path, line: str, *, look: bool) -> None:
    """A message, unless an earlier try posted it."""
    with discord.open("a+") as channel:
        channel.seek(0)
        if not look or line not in channel.read().splitlines():
            channel.write(f"{line}\n")


async def deliver(store: OpenedStorage, discord: Path) -> None:
    """The outbox is emptied into `discord`, a file that stands for the channel: one line a message."""
    for due in await store.outbox.undelivered(store.clock()):
        begun = await store.outbox.begin(due.job, Way.NEW)
        assert begun is not None
        post(discord, f"{due.job} {due.kind}", look=begun.tries > 1)
        await store.outbox.posted(due.job, "message")


async def done(store: OpenedStorage, discord: Path) -> None:
    """From the first word to the picture."""
    await submit(store)
    job = await compute(store)
    await store.jobs.finish(job.id, job.attempt, COST_MS)
    await deliver(store, discord)


async def requeued(store: OpenedStorage, discord: Path) -> None:
    """Its first worker dies, a second one computes it."""
    await submit(store)
    job = await compute(store)
    await store.jobs.requeue(job.id, job.attempt, strike=True, solo=True)
    job = await compute(store)
    await store.jobs.finish(job.id, job.attempt, COST_MS)
    await deliver(store, discord)


async def cancelled(store: OpenedStorage, discord: Path) -> None:
    """The member thinks better of it."""
    await submit(store)
    job = await compute(store)
    await store.jobs.renew([(job.id, job.attempt, COST_MS)])
    await store.jobs.request_cancel(job.id)
    await store.jobs.cancelled(job.id, job.attempt, COST_MS)
    await deliver(store, discord)


SCENARIOS: dict[str, Callable[[OpenedStorage, Path], Awaitable[None]]] = {
    "done": done,
    "requeued": requeued,
    "cancelled": cancelled,
}


async def run_scenario(name: str, folder: Path, point: int) -> None:
    """One run, killed at `point`."""
    passed = 0

    def trace(sql: str, when: str) -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    clock = Clock()
    async with Database.open(folder / "data", clock=clock) as db:
        store = OpenedStorage(db=db, clock=clock, make=job_maker())
        db.trace = trace
        await store.jobs.new_boot(store.boot)
        await SCENARIOS[name](store, folder / "discord.txt")


def main(name: str, folder: Path) -> None:
    """Points from 1 on until a run is not cut short."""
    point = 0
    while True:
        point += 1
        place = folder / str(point)
        place.mkdir(parents=True)
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(run_scenario(name, place, point))
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGKILL:
            sys.exit(status) if status else print(point)
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
