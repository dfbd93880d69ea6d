"""A paused job takes no step, keeps its place and its bytes, and can still be cancelled."""

import threading

import pytest

from core.events import Cancelled, Done, Pause, Resume, Started
from tests.worker.engine_driver import Bed, request
from worker.checkpoints.loader import Loaded


def pause(bed: Bed, job: str, attempt: int = 1) -> None:
    bed.engine.inbox.put(Pause(job=job, attempt=attempt))


def resume(bed: Bed, job: str, attempt: int = 1) -> None:
    bed.engine.inbox.put(Resume(job=job, attempt=attempt))


def steps_of(bed: Bed, job: str) -> set[int]:
    return {row.done for row in bed.engine._line.rows if row.job == job}


def test_a_paused_job_waits_while_others_step_and_goes_on_from_its_step(bed: Bed) -> None:
    bed.submit("relaxed", request(steps=6))
    bed.ticks(3)
    pause(bed, "relaxed")
    bed.submit("fast", request(steps=4, seed=9))
    bed.ticks(2)
    assert (steps_of(bed, "relaxed"), steps_of(bed, "fast")) == ({3}, {2})
    bed.finish("fast")
    assert steps_of(bed, "relaxed") == {3}
    resume(bed, "relaxed")
    bed.ticks(1)
    assert steps_of(bed, "relaxed") == {4}
    bed.finish("relaxed")


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpmpp_2m"])
def test_a_pause_changes_no_byte_of_the_pictures(bed: Bed, loaded: Loaded, sampler: str) -> None:
    wish = request(sampler=sampler)
    alone = Bed(loaded).render(wish)
    bed.submit("a", wish)
    bed.ticks(2)
    pause(bed, "a")
    bed.render(request(seed=1, steps=3), "b")
    resume(bed, "a")
    bed.finish("a")
    assert bed.pictures("a") == alone


def test_paused_time_is_nobodys(bed: Bed) -> None:
    bed.submit("a", request())
    bed.ticks(2)
    pause(bed, "a")
    bed.submit("b", request(steps=8))
    bed.ticks(1)
    before = bed.meter.job_ms("a")
    bed.finish("b")
    assert bed.meter.job_ms("a") == before
    resume(bed, "a")
    bed.finish("a")
    busy, booked = bed.meter.audit()
    assert busy == booked


def test_a_paused_job_is_named_by_heartbeats_and_is_not_computed(bed: Bed) -> None:
    bed.submit("a", request())
    bed.ticks(1)
    pause(bed, "a")
    bed.submit("b", request(steps=8))
    bed.ticks(1)
    assert set(bed.pulse.beat().jobs) == {("a", 1), ("b", 1)}
    assert "a" not in bed.pulse.beat().computing


def test_a_paused_job_can_be_cancelled_and_pays_what_it_took(bed: Bed) -> None:
    bed.submit("a", request())
    bed.ticks(2)
    pause(bed, "a")
    bed.cancel("a")
    bed.engine.tick()
    last = bed.last("a")
    assert isinstance(last, Cancelled)
    assert not bed.engine._line.rows


def test_a_job_that_is_paused_before_it_entered_is_not_encoded(bed: Bed) -> None:
    bed.submit("a", request())
    pause(bed, "a")
    bed.submit("b", request(steps=2))
    bed.finish("b")
    assert bed.of("a") == []
    resume(bed, "a")
    bed.finish("a")
    assert isinstance(bed.of("a")[0], Started) and isinstance(bed.last("a"), Done)


def test_a_pause_for_another_attempt_or_an_unknown_job_changes_nothing(bed: Bed) -> None:
    bed.submit("a", request(), attempt=2)
    pause(bed, "a", attempt=1)
    pause(bed, "nobody")
    resume(bed, "nobody")
    bed.finish("a")
    assert isinstance(bed.last("a"), Done)


def test_a_job_that_comes_again_is_not_paused_any_more(bed: Bed) -> None:
    bed.submit("a", request())
    bed.ticks(1)
    pause(bed, "a")
    bed.submit("a", request(), attempt=2)
    bed.finish("a")
    assert {event.attempt for event in bed.of("a") if isinstance(event, Done)} == {2}


def test_a_loop_with_nothing_but_paused_jobs_waits_for_an_order_and_computes_nothing(bed: Bed) -> None:
    bed.submit("a", request(steps=6))
    bed.ticks(2)
    pause(bed, "a")
    loop = threading.Thread(target=bed.engine.run)
    loop.start()
    resume(bed, "a")  # whatever the thread did before this, it wakes up for it
    bed.wait(lambda: bed.last("a") is not None)
    bed.stop()
    loop.join()
    assert isinstance(bed.last("a"), Done)
