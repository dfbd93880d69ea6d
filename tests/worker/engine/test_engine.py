"""The loop keeps its word: jobs join and leave between steps, harm only themselves, and pay for what they used."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from core.events import Cancelled, Done, Failed, FailureKind, OverheadTime, Picture, Progress, Started
from tests.worker.engine_driver import EngineDriver, pixels, request
from tests.worker.faulty_family import FaultyFamily, faulty
from worker.checkpoints import LoadedCheckpoint
from worker.engine import LoadedModel
from worker.transport import ConnectionLost


def faulty_driver(loaded: LoadedCheckpoint, rows: int = 8, **how: Any) -> tuple[EngineDriver, FaultyFamily]:
    """A driver of an engine on a family with faults, and that family."""
    wrapped = faulty(loaded, **how)
    assert isinstance(wrapped.family, FaultyFamily)
    return EngineDriver(wrapped, rows=rows), wrapped.family


def test_a_job_says_started_then_progress_then_pictures_then_done(driver: EngineDriver) -> None:
    driver.render(request(count=3))
    kinds = [type(event) for event in driver.of("a") if not isinstance(event, Progress)]
    assert kinds == [Started, Picture, Picture, Picture, Done]
    steps = [event.step for event in driver.of("a") if isinstance(event, Progress)]
    assert steps == sorted(steps)


def test_jobs_with_equal_keys_share_forwards_and_a_late_one_joins_at_the_next_step(loaded: LoadedCheckpoint) -> None:
    driver, family = faulty_driver(loaded)
    driver.submit("a", request(count=2, steps=6))
    driver.ticks(3)
    driver.submit("b", request(count=2, steps=6, sampler="dpmpp_2m", seed=5))
    driver.ticks(1)
    assert family.forwards == [4, 4, 4, 8]
    driver.finish("a", "b")
    assert family.forwards == [4] * 3 + [8] * 3 + [4] * 3


def test_rows_without_guidance_cost_one_forward_even_beside_guided_ones(loaded: LoadedCheckpoint) -> None:
    driver, family = faulty_driver(loaded)
    driver.submit("a", request(count=2, guidance=1.0))
    driver.submit("b", request(count=1, guidance=4.0))
    driver.ticks(2)
    assert family.forwards == [2, 4]


def test_no_forward_holds_more_rows_than_fit_and_all_take_turns(loaded: LoadedCheckpoint) -> None:
    driver, family = faulty_driver(loaded, rows=4)
    driver.submit("a", request(count=4, steps=4, guidance=1.0))
    driver.submit("b", request(count=4, steps=4, guidance=1.0))
    driver.ticks(5)
    assert family.forwards == [4] * 5
    driver.finish("a", "b")
    assert sum(family.forwards) == 4 * 8


def test_other_sizes_take_turns(loaded: LoadedCheckpoint) -> None:
    driver, _ = faulty_driver(loaded)
    driver.submit("a", request(steps=20))
    driver.submit("b", request(steps=4, width=96))
    driver.ticks(9)
    rows = {row.job: row.done for row in driver.engine._queue.rows}
    assert rows["a"] <= 6, "b must have had every other turn"
    driver.finish("b")
    assert driver.last("a") is None


def test_a_text_is_encoded_once(loaded: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    encode = type(loaded.family).encode_prompt
    monkeypatch.setattr(
        type(loaded.family), "encode_prompt", lambda it, text, **how: texts.append(text) or encode(it, text, **how)
    )
    driver = EngineDriver(loaded)
    texts.clear()
    driver.render(request(), "a")
    driver.render(request(seed=2), "b")
    assert texts == ["a red boat", ""]


def test_a_cancelled_job_leaves_at_the_next_step_and_pays_what_was_measured(loaded: LoadedCheckpoint) -> None:
    driver, family = faulty_driver(loaded)
    driver.submit("a", request(steps=50))
    driver.submit("b", request(steps=5))
    driver.ticks(3)
    before = len(family.forwards)
    driver.cancel("a")
    driver.ticks(1)
    assert family.forwards[before:] == [4], "only b's rows took the next step"
    word = driver.last("a")
    assert isinstance(word, Cancelled) and word.gpu_ms > 0
    driver.finish("b")
    assert isinstance(driver.last("b"), Done)
    assert driver.of("a")[-1] is word, "nothing may follow the last word"


def test_cancelling_what_waits_or_is_unknown_is_answered(driver: EngineDriver) -> None:
    driver.submit("a", request())
    driver.cancel("a")
    driver.cancel("b")
    driver.ticks(1)
    assert [type(driver.last(job)) for job in "ab"] == [Cancelled, Cancelled]


def test_cancelling_another_attempt_changes_nothing(driver: EngineDriver) -> None:
    driver.submit("a", request(), attempt=2)
    driver.cancel("a", attempt=1)
    driver.finish("a")
    assert isinstance(driver.last("a"), Done)


def test_a_new_attempt_replaces_the_old_one_and_the_same_one_is_taken_once(driver: EngineDriver) -> None:
    driver.submit("a", request(steps=40))
    driver.ticks(2)
    driver.submit("a", request(steps=3), attempt=2)
    driver.submit("a", request(steps=3), attempt=2)
    driver.finish("a")
    words = driver.of("a")
    assert [event.attempt for event in words] == sorted(event.attempt for event in words)
    assert sum(isinstance(event, Done) for event in words) == 1


def test_when_the_connection_is_gone_all_jobs_are_dropped_in_silence(driver: EngineDriver) -> None:
    driver.submit("a", request(steps=50))
    driver.ticks(2)
    said = len(driver.of("a"))
    driver.engine.inbox.put(ConnectionLost())
    driver.ticks(1)
    assert driver.heartbeat.beat().jobs == ()
    assert len(driver.of("a")) == said


def test_out_of_memory_halves_the_rows_and_every_job_still_ends(loaded: LoadedCheckpoint) -> None:
    expected = EngineDriver(loaded).render(request(count=4))
    driver, family = faulty_driver(loaded, widest=4)
    driver.submit("a", request(count=4))
    driver.submit("b", request(count=4, seed=1))
    driver.finish("a", "b")
    assert max(family.forwards) == 4 and isinstance(driver.last("b"), Done)
    assert any(isinstance(event, OverheadTime) and event.cause == "oom" for event in driver.events), (
        "no member pays for it"
    )
    for one, other in zip(driver.pictures("a"), expected, strict=True):
        assert abs(pixels(one) - pixels(other)).max() <= 1, "a step that was tried again may change nothing"


def test_a_preview_that_cannot_be_made_is_left_out_and_the_job_goes_on(
    driver: EngineDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(LoadedModel, "preview", full)
    driver.submit("a", request())
    driver.finish("a")
    assert isinstance(driver.last("a"), Done)


def test_out_of_memory_with_ancestral_noise_draws_no_noise_twice(loaded: LoadedCheckpoint) -> None:
    expected = EngineDriver(loaded).render(request(count=4, sampler="euler_a"))
    got = faulty_driver(loaded, widest=4)[0].render(request(count=4, sampler="euler_a"))
    for one, other in zip(got, expected, strict=True):
        assert abs(pixels(one) - pixels(other)).max() <= 1


def test_out_of_memory_with_one_row_fails_that_job_only_and_the_others_have_room_again(
    loaded: LoadedCheckpoint,
) -> None:
    driver, family = faulty_driver(loaded)
    driver.submit("good", request(count=2))
    driver.submit("bad", request(count=2, prompt="memory"))
    driver.finish("good", "bad")
    assert driver.failure("bad").kind is FailureKind.OUT_OF_MEMORY
    assert isinstance(driver.last("good"), Done)
    family.forwards.clear()
    driver.render(request(count=4), "next")
    assert family.forwards[0] == 8


def test_a_poisonous_job_fails_alone(loaded: LoadedCheckpoint) -> None:
    driver, _ = faulty_driver(loaded)
    for job, prompt in (("good", "a boat"), ("bad", "poison"), ("fine", "a tree")):
        driver.submit(job, request(prompt=prompt))
    driver.finish("good", "bad", "fine")
    assert driver.failure("bad").kind is FailureKind.ERROR
    assert isinstance(driver.last("good"), Done) and isinstance(driver.last("fine"), Done)
    assert "poison" not in driver.failure("bad").sentence, "no insides in what a member reads"


def test_numbers_that_overflow_fail_with_their_cure_in_the_log(
    loaded: LoadedCheckpoint, caplog: pytest.LogCaptureFixture
) -> None:
    driver, _ = faulty_driver(loaded)
    driver.submit("a", request(prompt="overflow"))
    driver.finish("a")
    assert driver.failure("a").sentence.endswith("overflowed. The bot's owner can find the cure in the log.")
    assert "DARKROOM_DTYPE=float32" in caplog.text


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"sampler": "heun"}, "heun"),
        ({"sampler": "flow_euler"}, "flow_euler"),
        ({"width": 60}, "60×64"),
        ({"steps": 0}, "0 steps"),
        ({"strength": 0.5}, "has none"),
        ({"count": 0}, "no picture"),
    ],
)
def test_a_job_that_can_never_work_is_refused_with_a_sentence(
    driver: EngineDriver, changes: dict[str, Any], word: str
) -> None:
    driver.submit("a", request(**changes))
    driver.ticks(1)
    assert driver.failure("a").kind is FailureKind.INVALID
    assert word in driver.failure("a").sentence
    assert isinstance(driver.render(request(), "next"), list)


def test_a_broken_source_is_refused(driver: EngineDriver) -> None:
    driver.submit("a", request(strength=0.5), source=b"\x89PNG\r\n\x1a\nno")
    driver.ticks(1)
    assert driver.failure("a").kind is FailureKind.INVALID


def test_a_source_of_another_size_is_fitted(driver: EngineDriver) -> None:
    source = driver.render(request(width=96, height=96, count=1), "a")[0]
    assert pixels(driver.render(request(strength=0.5), "b", source=source)[0]).shape == (64, 64, 3)


def test_pictures_are_decoded_one_at_a_time_between_the_steps_of_others(
    loaded: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, family = faulty_driver(loaded)
    turns: list[str] = []
    family.before = lambda _: turns.append("step")
    decode = type(loaded.family).decode
    monkeypatch.setattr(type(loaded.family), "decode", lambda it, x: turns.append("decode") or decode(it, x))
    driver.submit("short", request(count=4, steps=1))
    driver.submit("long", request(count=1, steps=12))
    driver.finish("short", "long")
    joined = " ".join(turns[: turns.index("decode") + 8])
    assert "decode decode" not in joined


def test_the_books_balance_to_the_nanosecond_with_failures_cancels_and_repeats(loaded: LoadedCheckpoint) -> None:
    driver, _ = faulty_driver(loaded, widest=8)
    for job, prompt in (("a", "x"), ("b", "poison"), ("c", "memory"), ("d", "y")):
        driver.submit(job, request(prompt=prompt, count=3))
    driver.ticks(4)
    driver.cancel("d")
    driver.finish("a", "b", "c", "d")
    busy, booked = driver.meter.audit()
    assert busy == booked > 0
    ends = sum(event.gpu_ms for event in driver.events if isinstance(event, Done | Failed | Cancelled))
    assert 0 <= busy // 1_000_000 - (ends + driver.overhead_ms()) <= 1


def test_previews_come_early_and_are_small(driver: EngineDriver) -> None:
    driver.watch_closely()
    driver.render(request(steps=20, count=4))
    previews = driver.previews("a")
    assert previews[0].step <= 4
    assert pixels(previews[-1].preview).shape == (128, 128, 3), "two by two, never larger than the result"
    assert all(len(preview.preview) < 20_000 for preview in previews)


def test_nobody_watching_means_no_previews(driver: EngineDriver) -> None:
    driver.render(request(steps=20), previews=False)
    assert not driver.previews("a")


def test_the_heartbeat_names_what_is_computed_and_grows_while_the_loop_hangs(loaded: LoadedCheckpoint) -> None:
    driver, family = faulty_driver(loaded)
    inside, go = threading.Event(), threading.Event()
    family.before = lambda _: (inside.set(), go.wait(60))
    driver.submit("a", request(steps=1, count=1))
    loop = threading.Thread(target=driver.engine.run)
    loop.start()
    assert inside.wait(60)
    first = driver.heartbeat.beat()
    assert (first.phase.value, first.computing) == ("stepping", ("a",))
    later = first
    while later.phase_seconds <= first.phase_seconds + 0.01:
        later = driver.heartbeat.beat()
    assert later.phase == first.phase
    go.set()
    driver.wait(lambda: driver.last("a") is not None)
    driver.stop()
    loop.join(60)
    assert driver.heartbeat.beat().jobs == ()


def test_a_job_is_named_by_heartbeats_from_its_order_on(driver: EngineDriver) -> None:
    driver.submit("a", request(steps=30))
    driver.ticks(1)
    driver.submit("b", request())
    assert driver.heartbeat.beat().jobs == (("a", 1), ("b", 1)), "a long step must not look as if the order was lost"
    driver.ticks(1)
    assert driver.heartbeat.beat().jobs == (("a", 1), ("b", 1))


def test_many_jobs_at_once_all_end(drivers: Callable[..., EngineDriver]) -> None:
    driver = drivers(rows=5)
    jobs = [f"j{number}" for number in range(6)]
    for number, job in enumerate(jobs):
        sampler = ("euler", "euler_a", "dpmpp_2m")[number % 3]
        driver.submit(job, request(count=1 + number % 4, steps=2 + number, sampler=sampler, guidance=float(number)))
    driver.finish(*jobs)
    assert all(isinstance(driver.last(job), Done) for job in jobs)
    assert [len(driver.pictures(job)) for job in jobs] == [1, 2, 3, 4, 1, 2]
