"""Killed before and after every storage statement of a job's life: it still ends once, charged once, told once."""

import asyncio
import sys
from pathlib import Path

import pytest

from core.job import State
from core.preemption import Capacity
from storage.database import Database
from storage.outbox import DeliveryState
from tests.harness.opened_storage import Clock, OpenedStorage, job_maker
from tests.storage.crash_scenarios import COST_MS, SCENARIOS, compute, deliver, submit

ROOT = Path(__file__).parents[2]


async def restart(folder):
    """A new boot over what the kill left, lived to its end."""
    clock = Clock()
    async with Database.open(folder / "data", clock=clock) as db:
        store = OpenedStorage(db=db, clock=clock, make=job_maker(), boot="after")
        assert await store.ledger.audit() == [], folder
        await store.jobs.new_boot(store.boot)
        assert await store.ledger.audit() == [], folder
        await submit(store)
        if (await store.jobs.live()) != []:
            job = await compute(store)
            await store.jobs.finish(job.id, job.attempt, COST_MS)
        await deliver(store, folder / "discord.txt")
        await check(store, folder)


async def check(store, folder):
    assert await store.ledger.audit() == [], folder
    (row,) = await store.rows("job")
    job = await store.jobs.get(row["id"])
    assert job.state in (State.DONE, State.CANCELLED), folder
    assert (job.gpu_ms, job.charged_ms) == (COST_MS, COST_MS), folder
    assert job.strikes <= 1, folder  # a kill of the bot is nobody's strike
    assert await store.balance() == 60_000 - COST_MS, folder
    (booked,) = await store.rows("usage", "payer = 'account'")
    assert booked["gpu_ms"] == COST_MS, folder
    assert [row["state"] for row in await store.rows("delivery")] == [DeliveryState.POSTED], folder
    told = (folder / "discord.txt").read_text().splitlines()
    assert told == [f"{job.id} {'result' if job.state is State.DONE else 'cancelled'}"], folder
    assert await store.jobs.claim(boot=store.boot, worker="w", capacity=Capacity()) is None
    (served,) = await store.rows("service", "scope = 'account'")
    assert served["ms"] == COST_MS, folder  # the fairness counters followed, too


@pytest.mark.crash
@pytest.mark.timeout(300)  # five seconds on two quiet cores
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_kill_at_any_statement_changes_nothing_that_anybody_sees(scenario, folder):
    program = (sys.executable, "-m", "tests.storage.crash_scenarios", scenario, str(folder))
    lives = await asyncio.create_subprocess_exec(*program, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    points = int((await lives.communicate())[0])
    assert points > 60
    for point in range(1, points + 1):
        await restart(folder / str(point))
