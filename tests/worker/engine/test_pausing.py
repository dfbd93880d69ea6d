"""A paused job takes no step, keeps its place and its bytes, and can still be cancelled."""

import threading

import pytest

from core.events import Cancelled, Done, Pause, Resume, Started
from tests.worker.engine_driver import EngineDriver, request
from worker.checkpoints import LoadedCheckpoint


def pause(driver: EngineDriver, job: str, attempt: int = 1) -> None:
    driver.engine.inbox.put(Pause(job=job, attempt=attempt))


def resume(driver: EngineDriver, job: str, attempt: int = 1) -> None:
    driver.engine.inbox.put(Resume(job=job, attempt=attempt))


def steps_of(driver: EngineDriver, job: str) -> set[int]:
    return {row.done for row in driver.engine._queue.rows if row.job == job}


def test_a_paused_job_waits_while_others_step_and_goes_on_from_its_step(driver: EngineDriver) -> None:
    driver.submit("relaxed", request(steps=6))
    driver.ticks(3)
    pause(driver, "relaxed")
    driver.submit("fast", request(steps=4, seed=9))
    driver.ticks(2)
    assert (steps_of(driver, "relaxed"), steps_of(driver, "fast")) == ({3}, {2})
    driver.finish("fast")
    assert steps_of(driver, "relaxed") == {3}
    resume(driver, "relaxed")
    driver.ticks(1)
    assert steps_of(driver, "relaxed") == {4}
    driver.finish("relaxed")


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpmpp_2m"])
def test_a_pause_changes_no_byte_of_the_pictures(driver: EngineDriver, loaded: LoadedCheckpoint, sampler: str) -> None:
    wanted = request(sampler=sampler)
    alone = EngineDriver(loaded).render(wanted)
    driver.submit("a", wanted)
    driver.ticks(2)
    pause(driver, "a")
    driver.render(request(seed=1, steps=3), "b")
    resume(driver, "a")
    driver.finish("a")
    assert driver.pictures("a") == alone


def test_paused_time_is_nobodys(driver: EngineDriver) -> None:
    driver.submit("a", request())
    driver.ticks(2)
    pause(driver, "a")
    driver.submit("b", request(steps=8))
    driver.ticks(1)
    before = driver.meter.job_ms("a")
    driver.finish("b")
    assert driver.meter.job_ms("a") == before
    resume(driver, "a")
    driver.finish("a")
    busy, booked = driver.meter.audit()
    assert busy == booked


def test_a_paused_job_is_named_by_heartbeats_and_is_not_computed(driver: EngineDriver) -> None:
    driver.submit("a", request())
    driver.ticks(1)
    pause(driver, "a")
    driver.submit("b", request(steps=8))
    driver.ticks(1)
    assert set(driver.heartbeat.beat().jobs) == {("a", 1), ("b", 1)}
    assert "a" not in driver.heartbeat.beat().computing


def test_a_paused_job_can_be_cancelled_and_pays_what_it_took(driver: EngineDriver) -> None:
    driver.submit("a", request())
    driver.ticks(2)
    pause(driver, "a")
    driver.cancel("a")
    driver.engine.tick()
    last = driver.last("a")
    assert isinstance(last, Cancelled)
    assert not driver.engine._queue.rows


def test_a_job_that_is_paused_before_it_entered_is_not_encoded(driver: EngineDriver) -> None:
    driver.submit("a", request())
    pause(driver, "a")
    driver.submit("b", request(steps=2))
    driver.finish("b")
    assert driver.of("a") == []
    resume(driver, "a")
    driver.finish("a")
    assert isinstance(driver.of("a")[0], Started) and isinstance(driver.last("a"), Done)


def test_a_pause_for_another_attempt_or_an_unknown_job_changes_nothing(driver: EngineDriver) -> None:
    driver.submit("a", request(), attempt=2)
    pause(driver, "a", attempt=1)
    pause(driver, "nobody")
    resume(driver, "nobody")
    driver.finish("a")
    assert isinstance(driver.last("a"), Done)


def test_a_job_that_comes_again_is_not_paused_any_more(driver: EngineDriver) -> None:
    driver.submit("a", request())
    driver.ticks(1)
    pause(driver, "a")
    driver.submit("a", request(), attempt=2)
    driver.finish("a")
    assert {event.attempt for event in driver.of("a") if isinstance(event, Done)} == {2}


def test_a_loop_with_nothing_but_paused_jobs_waits_for_an_order_and_computes_nothing(driver: EngineDriver) -> None:
    driver.submit("a", request(steps=6))
    driver.ticks(2)
    pause(driver, "a")
    loop = threading.Thread(target=driver.engine.run)
    loop.start()
    resume(driver, "a")  # whatever the thread did before this, it wakes up for it
    driver.wait(lambda: driver.last("a") is not None)
    driver.stop()
    loop.join()
    assert isinstance(driver.last("a"), Done)
