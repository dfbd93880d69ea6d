"""The hub: the newest wins, the last state always arrives, nobody waits for a slow watcher."""

import asyncio
from dataclasses import replace

from bot.event_bus import Hub, Status, WorkerState
from core.events import Progress
from core.job import State
from tests.harness.rows import a_job


def step(number: int, preview: bytes = b"") -> Progress:
    return Progress(job="a", attempt=1, step=number, steps=9, gpu_ms=number, preview=preview)


async def test_a_slow_watcher_sees_the_newest_step_and_the_last_state() -> None:
    hub = Hub()
    running = replace(a_job("a"), state=State.RUNNING, started_at=1.0)
    with hub.watch() as news:
        hub.changed(running)
        for number in range(1, 9):
            hub.progress(step(number))
        assert await anext(news) == running
        assert (await anext(news)).step == 8
        hub.progress(step(9))
        done = replace(running, state=State.DONE, finished_at=2.0)
        hub.changed(done)
        assert await anext(news) == done
        assert hub.latest("a") is None


async def test_a_preview_stays_until_the_next_one() -> None:
    hub = Hub()
    hub.progress(step(1, b"jpeg"))
    hub.progress(step(2))
    assert hub.latest("a") == step(2, b"jpeg")
    hub.progress(replace(step(1), attempt=2))
    assert hub.latest("a").preview == b""


async def test_a_watcher_of_one_job_hears_of_no_other_but_of_the_worker() -> None:
    hub = Hub()
    with hub.watch("b") as news:
        hub.changed(a_job("a"))
        hub.changed(a_job("b"))
        hub.worker(WorkerState(status=Status.AWAY, paused=False, since=0.0))
        assert (await anext(news)).id == "b"
        assert (await anext(news)).status is Status.AWAY


async def test_who_stopped_watching_is_forgotten() -> None:
    hub = Hub()
    with hub.watch() as news:
        waiting = asyncio.create_task(anext(news))
        await asyncio.sleep(0)
        waiting.cancel()
    hub.changed(a_job("a"))
    assert not hub._watches
