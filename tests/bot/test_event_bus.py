"""The hub: the newest wins, the last state always arrives, nobody waits for a slow watcher."""

import asyncio
from dataclasses import replace

from bot.event_bus import EventBus, Status, WorkerState
from core.events import Progress
from core.job import State
from tests.harness.sample_jobs import a_job


def step(number: int, preview: bytes = b"") -> Progress:
    return Progress(job="a", attempt=1, step=number, steps=9, gpu_ms=number, preview=preview)


async def test_a_slow_watcher_sees_the_newest_step_and_the_last_state() -> None:
    bus = EventBus()
    running = replace(a_job("a"), state=State.RUNNING, started_at=1.0)
    with bus.watch() as news:
        bus.changed(running)
        for number in range(1, 9):
            bus.progress(step(number))
        assert await anext(news) == running
        assert (await anext(news)).step == 8
        bus.progress(step(9))
        done = replace(running, state=State.DONE, finished_at=2.0)
        bus.changed(done)
        assert await anext(news) == done
        assert bus.latest("a") is None


async def test_a_preview_stays_until_the_next_one() -> None:
    bus = EventBus()
    bus.progress(step(1, b"jpeg"))
    bus.progress(step(2))
    assert bus.latest("a") == step(2, b"jpeg")
    bus.progress(replace(step(1), attempt=2))
    assert bus.latest("a").preview == b""


async def test_a_watcher_of_one_job_hears_of_no_other_but_of_the_worker() -> None:
    bus = EventBus()
    with bus.watch("b") as news:
        bus.changed(a_job("a"))
        bus.changed(a_job("b"))
        bus.worker(WorkerState(status=Status.AWAY, paused=False, since=0.0))
        assert (await anext(news)).id == "b"
        assert (await anext(news)).status is Status.AWAY


async def test_who_stopped_watching_is_forgotten() -> None:
    bus = EventBus()
    with bus.watch() as news:
        waiting = asyncio.create_task(anext(news))
        await asyncio.sleep(0)
        waiting.cancel()
    bus.changed(a_job("a"))
    assert not bus._watches
