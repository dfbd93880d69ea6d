"""Lanes on the real scheduler and a worker's process: pauses, their ends, and what they must not be taken for."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.scheduling.queue_estimate import RemainingWork, estimates
from core.errors import QuotaSpent
from core.job import Job, Lane, State
from storage.jobs import QueuePlace
from tests.harness.headless_bot import FAKE_WORKER, HeadlessBot, headless_bot


def attempt(bot: HeadlessBot, job: Job) -> Any:
    return bot.scheduler._running_jobs.get(job.id)


async def until_step(bot: HeadlessBot, job: Job, step: int) -> None:
    """Waits until the job has done so many steps."""

    async def there() -> bool:
        progress = bot.bus.latest(job.id)
        return progress is not None and progress.step >= step

    await bot.eventually(there, f"step {step} of {job.id}")


async def until_paused(bot: HeadlessBot, job: Job, paused: bool = True) -> None:
    """Waits until the job is (or is not) paused."""

    async def there() -> bool:
        found = attempt(bot, job)
        return found is not None and found.paused is paused

    await bot.eventually(there, f"{job.id} paused: {paused}")


async def until_resting(bot: HeadlessBot, job: Job) -> None:
    """Waits until a heartbeat has shown that the worker does not compute it."""

    async def there() -> bool:
        return bool(attempt(bot, job).off_gpu)

    await bot.eventually(there, f"{job.id} at rest")


@asynccontextmanager
async def one_paused(tmp_path: Path, *worker: str, **more: Any) -> AsyncIterator[tuple[HeadlessBot, Job, Job]]:
    """A bot with a relax job that is paused for a long fast one."""
    async with headless_bot(tmp_path, "--step-ms", "20", *worker, **more) as bot:
        relaxed = await bot.imagine("relaxed", user="ann", lane=Lane.RELAX, steps=60)
        await until_step(bot, relaxed, 5)
        fast = await bot.imagine("fast", user="bob", steps=80)
        await until_paused(bot, relaxed)
        yield bot, relaxed, fast


async def test_a_fast_job_joins_at_the_next_step_and_relax_goes_on_from_its_own(tmp_path: Path) -> None:
    async with one_paused(tmp_path, DARKROOM_RELAX_SHARE="0") as (bot, relaxed, fast):
        await until_resting(bot, relaxed)
        await until_step(bot, fast, 30)  # what was said before the pause has been heard by now
        at = bot.bus.latest(relaxed.id).step
        await until_step(bot, fast, 60)
        assert bot.bus.latest(relaxed.id).step == at
        done = await bot.until(fast.id, State.DONE)
        ended = await bot.until(relaxed.id, State.DONE)
        assert ended.attempt == 1 and ended.finished_at > done.finished_at
        assert ended.gpu_ms == 60 * 20, "a pause costs nothing"
        await bot.clean()


async def test_turbo_pauses_fast_and_costs_double(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "20") as bot:
        fast = await bot.imagine("fast", user="ann", steps=60)
        await until_step(bot, fast, 3)
        turbo = await bot.imagine("turbo", user="bob", lane=Lane.TURBO, steps=10)
        await until_paused(bot, fast)
        done = await bot.until(turbo.id, State.DONE)
        assert done.reserved_ms == 2 * done.estimate_ms
        assert done.charged_ms == min(2 * done.gpu_ms, done.reserved_ms)
        assert (await bot.until(fast.id, State.DONE)).finished_at > done.finished_at
        await bot.clean()


async def test_relax_goes_on_in_slices_while_fast_work_never_ends(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "20", DARKROOM_RELAX_SHARE="0.5") as bot:
        fast = await bot.imagine("fast", user="ann", steps=75)
        relaxed = await bot.imagine("relaxed", user="bob", lane=Lane.RELAX, steps=40)
        done = await bot.until(relaxed.id, State.DONE)
        assert (await bot.until(fast.id, State.DONE)).finished_at > done.finished_at


async def test_a_paused_job_is_cancelled_and_pays_what_it_took(tmp_path: Path) -> None:
    async with one_paused(tmp_path) as (bot, relaxed, _):
        await bot.scheduler.cancel(relaxed.id)
        cancelled = await bot.until(relaxed.id, State.CANCELLED)
        assert 0 < cancelled.gpu_ms < 60 * 20
        await bot.clean()


async def test_a_pause_longer_than_a_lease_is_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.scheduling.attempt.LEASE_SECONDS", 1.0)
    async with one_paused(tmp_path, DARKROOM_RELAX_SHARE="0") as (bot, relaxed, fast):
        await bot.until(fast.id, State.DONE)
        ended = await bot.until(relaxed.id, State.DONE)
        assert (ended.attempt, ended.strikes) == (1, 0)


async def test_a_worker_that_dies_costs_the_paused_job_nothing_and_suspects_the_other(tmp_path: Path) -> None:
    async with one_paused(tmp_path, DARKROOM_RELAX_SHARE="0") as (bot, relaxed, fast):
        await until_resting(bot, relaxed)
        os.kill(bot.parts.worker_server.local.pid, signal.SIGKILL)
        for job, strikes in ((relaxed, 0), (fast, 1)):
            ended = await bot.until(job.id, State.DONE)
            assert (ended.strikes, ended.attempt) == (strikes, 2)
        assert not (await bot.jobs.get(relaxed.id)).solo
        await bot.clean()


async def test_a_restart_puts_a_paused_job_back_uncounted(tmp_path: Path) -> None:
    async with one_paused(tmp_path) as (_, relaxed, fast):
        pass
    async with headless_bot(tmp_path) as bot:
        for job in (relaxed, fast):
            ended = await bot.until(job.id, State.DONE)
            assert (ended.attempt, ended.strikes) == (2, 0)
        await bot.clean()


async def test_a_drain_puts_back_what_is_paused_and_cannot_end_in_time(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "20") as bot:
        relaxed = await bot.imagine("relaxed", user="ann", lane=Lane.RELAX, steps=1000)
        await until_step(bot, relaxed, 3)
        fast = await bot.imagine("fast", user="bob", steps=20)
        await until_paused(bot, relaxed)
        await bot.parts.drain(5.0)
        assert (await bot.jobs.get(fast.id)).state is State.DONE
        assert (await bot.jobs.get(relaxed.id)).state is State.QUEUED
        await bot.clean()


async def test_a_paused_queue_takes_paused_jobs_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.scheduling.scheduler.PAUSE_GRACE_SECONDS", 0.1)
    async with one_paused(tmp_path) as (bot, relaxed, fast):
        await bot.scheduler.pause()
        for job in (relaxed, fast):
            assert (await bot.until(job.id, State.QUEUED)).strikes == 0
        await bot.scheduler.resume()
        for job in (relaxed, fast):
            await bot.until(job.id, State.DONE)


async def test_a_member_whose_relax_jobs_are_paused_may_still_run_as_many_fast_ones(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "20", DARKROOM_RUNNING="1") as bot:
        relaxed = await bot.imagine("relaxed", lane=Lane.RELAX, steps=60)
        await until_step(bot, relaxed, 3)
        fast = [await bot.imagine(f"fast {n}", steps=30) for n in range(2)]
        await until_paused(bot, relaxed)
        first, second, _ = [await bot.until(job.id, State.DONE) for job in (*fast, relaxed)]
        assert second.started_at >= first.finished_at


async def test_a_second_worker_does_not_idle_when_those_who_wait_before_are_at_their_cap(tmp_path: Path) -> None:
    settings = {"DARKROOM_RUNNING": "1", "DARKROOM_RELAX_SHARE": "0", "DARKROOM_WORKER_KEY": "k" * 32}
    async with headless_bot(tmp_path, "--step-ms", "20", **settings) as bot:
        await bot.online()
        async with another_worker(bot, tmp_path):
            fast = [await bot.imagine(f"fast {n}", user="ann", steps=100) for n in range(2)]
            relaxed = await bot.imagine("relaxed", user="bob", lane=Lane.RELAX, steps=3)
            done = await bot.until(relaxed.id, State.DONE)
            first, then = [await bot.until(job.id, State.DONE) for job in fast]
            assert done.finished_at < first.finished_at <= then.started_at


async def test_nothing_spins_while_the_queue_is_paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with headless_bot(tmp_path, "--step-ms", "20") as bot:
        await bot.online()
        await bot.scheduler.pause()
        asked = []
        look = bot.jobs.waiting_lanes
        monkeypatch.setattr(bot.jobs, "waiting_lanes", lambda *cap: asked.append(cap) or look(*cap))
        for lane in Lane:
            await bot.imagine(lane=lane)
        for _ in range(50):
            await bot.jobs.waiting_total()  # the loop and the database turn meanwhile
        assert len(asked) <= 8


@asynccontextmanager
async def another_worker(bot: HeadlessBot, data: Path) -> AsyncIterator[None]:
    """A second one beside the local one, with its model loaded."""
    process = await asyncio.create_subprocess_exec(
        *FAKE_WORKER, "--connect", f"unix:{data}/worker.sock", "--step-ms", "20", "--heartbeat-ms", "100",
        env={**os.environ, "DARKROOM_WORKER_KEY": "k" * 32}, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip

    async def both() -> bool:
        return [connection.ready for connection in bot.parts.worker_server.connections.values()] == [True, True]

    try:
        await bot.eventually(both, "two workers")
        yield
    finally:
        process.kill()
        await process.wait()


async def test_a_short_job_takes_the_place_of_a_long_one_whose_member_was_served_more(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "20") as bot:
        long = [await bot.imagine(f"long {n}", user="ann", steps=1000) for n in range(2)]
        await until_step(bot, long[1], 10)
        short = await bot.imagine("short", user="bob", steps=1, width=32, height=32)
        await bot.until(short.id, State.DONE)
        assert [(await bot.jobs.get(job.id)).state for job in long] == [State.RUNNING] * 2
        await until_paused(bot, long[1], False)


async def test_a_pause_that_lasts_is_shown_and_a_slice_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.scheduling.scheduler.PAUSE_SHOWN_SECONDS", 3600.0)
    async with one_paused(tmp_path, DARKROOM_RELAX_SHARE="0") as (bot, relaxed, fast):
        assert not (await bot.scheduler.estimate(relaxed)).paused
        monkeypatch.setattr("bot.scheduling.scheduler.PAUSE_SHOWN_SECONDS", 0.3)
        with bot.bus.watch(relaxed.id) as news:
            async for item in news:
                if isinstance(item, Job):
                    break
        assert (await bot.scheduler.estimate(relaxed)).paused
        assert not (await bot.scheduler.estimate(fast)).paused
        await bot.until(fast.id, State.DONE)
        await until_paused(bot, relaxed, False)
        assert not (await bot.scheduler.estimate(relaxed)).paused


async def test_relaxs_credit_lives_over_a_restart(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "20", DARKROOM_RELAX_SHARE="0.01") as bot:
        await bot.imagine("fast", user="ann", steps=100)
        await bot.imagine("relaxed", user="bob", lane=Lane.RELAX, steps=50)

        async def kept() -> bool:
            return await bot.jobs.credit() > 0

        await bot.eventually(kept, "credit")
        await bot.parts.drain(0.0)
        credit = await bot.jobs.credit()
        assert credit == bot.scheduler._lane_control.credit_ms > 0
    async with headless_bot(tmp_path, DARKROOM_WORKER="none") as bot:
        assert bot.scheduler._lane_control.credit_ms == credit


async def test_fast_time_that_is_spent_names_turbos_price(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_WORKER="none", DARKROOM_FAST_MINUTES="0.015") as bot:
        await bot.imagine(lane=Lane.FAST)
        with pytest.raises(QuotaSpent, match="needed \\(in turbo each second of GPU time counts double\\)"):
            await bot.imagine(lane=Lane.TURBO)
        await bot.imagine(lane=Lane.FAST)
        with pytest.raises(QuotaSpent, match="needed\\. It renews"):
            await bot.imagine(lane=Lane.FAST)


def seconds(found: Any, *jobs: str) -> list[tuple[float, float]]:
    return [(round(found[job].starts_in_s, 3), round(found[job].ends_in_s, 3)) for job in jobs]


def test_an_estimate_counts_the_lanes_that_go_before_and_relaxs_share() -> None:
    remaining = [
        RemainingWork(job="fast", lane=Lane.FAST, left_ms=9000),
        RemainingWork(job="relaxed", lane=Lane.RELAX, left_ms=500, paused=True),
    ]
    line = {
        "next": QueuePlace(place=1, lane=Lane.FAST, ahead_ms=0, estimate_ms=9000),
        "later": QueuePlace(place=2, lane=Lane.RELAX, ahead_ms=0, estimate_ms=9500),
    }
    found = estimates(remaining, line, pace=1.0, working=True, share=0.1)
    # Relax gets a tenth while fast work lasts: its first 0.5 s take 5 s, and the fast jobs 10 s instead of 9.
    assert seconds(found, "fast", "next") == [(0.0, 10.0), (10.0, 20.0)]
    assert seconds(found, "relaxed", "later") == [(0.0, 5.0), (5.0, 28.0)]
    assert found["relaxed"].paused and not found["fast"].paused


def test_turbo_ends_before_fast_work_begins() -> None:
    line = {
        "turbo": QueuePlace(place=1, lane=Lane.TURBO, ahead_ms=0, estimate_ms=1000),
        "fast": QueuePlace(place=2, lane=Lane.FAST, ahead_ms=0, estimate_ms=1000),
    }
    found = estimates([], line, pace=1.0, working=True)
    assert seconds(found, "turbo", "fast") == [(0.0, 1.0), (1.0, 2.0)]


def test_without_a_worker_nothing_is_foretold() -> None:
    found = estimates(
        [], {"a": QueuePlace(place=1, lane=Lane.FAST, ahead_ms=0, estimate_ms=1)}, pace=1.0, working=False
    )
    assert (found["a"].starts_in_s, found["a"].ends_in_s) == (None, None)
