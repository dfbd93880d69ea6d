"""The loop keeps its word: jobs join and leave between steps, harm only themselves, and pay for what they used."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from core.events import Cancelled, Done, Failed, FailureKind, OverheadTime, Picture, Progress, Started
from tests.worker.engine_driver import Bed, pixels, request
from tests.worker.faulty_family import Faulty, faulty
from worker.checkpoints.loader import Loaded
from worker.engine.loaded_model import Held
from worker.transport.inbox import Drop


def faulty_bed(loaded: Loaded, rows: int = 8, **how: Any) -> tuple[Bed, Faulty]:
    """A bed on a family with faults, and that family."""
    wrapped = faulty(loaded, **how)
    assert isinstance(wrapped.family, Faulty)
    return Bed(wrapped, rows=rows), wrapped.family


def test_a_job_says_started_then_progress_then_pictures_then_done(bed: Bed) -> None:
    bed.render(request(count=3))
    kinds = [type(event) for event in bed.of("a") if not isinstance(event, Progress)]
    assert kinds == [Started, Picture, Picture, Picture, Done]
    steps = [event.step for event in bed.of("a") if isinstance(event, Progress)]
    assert steps == sorted(steps)


def test_jobs_with_equal_keys_share_forwards_and_a_late_one_joins_at_the_next_step(loaded: Loaded) -> None:
    bed, family = faulty_bed(loaded)
    bed.submit("a", request(count=2, steps=6))
    bed.ticks(3)
    bed.submit("b", request(count=2, steps=6, sampler="dpmpp_2m", seed=5))
    bed.ticks(1)
    assert family.forwards == [4, 4, 4, 8]
    bed.finish("a", "b")
    assert family.forwards == [4] * 3 + [8] * 3 + [4] * 3


def test_rows_without_guidance_cost_one_forward_even_beside_guided_ones(loaded: Loaded) -> None:
    bed, family = faulty_bed(loaded)
    bed.submit("a", request(count=2, guidance=1.0))
    bed.submit("b", request(count=1, guidance=4.0))
    bed.ticks(2)
    assert family.forwards == [2, 4]


def test_no_forward_holds_more_rows_than_fit_and_all_take_turns(loaded: Loaded) -> None:
    bed, family = faulty_bed(loaded, rows=4)
    bed.submit("a", request(count=4, steps=4, guidance=1.0))
    bed.submit("b", request(count=4, steps=4, guidance=1.0))
    bed.ticks(5)
    assert family.forwards == [4] * 5
    bed.finish("a", "b")
    assert sum(family.forwards) == 4 * 8


def test_other_sizes_take_turns(loaded: Loaded) -> None:
    bed, _ = faulty_bed(loaded)
    bed.submit("a", request(steps=20))
    bed.submit("b", request(steps=4, width=96))
    bed.ticks(9)
    rows = {row.job: row.done for row in bed.engine._line.rows}
    assert rows["a"] <= 6, "b must have had every other turn"
    bed.finish("b")
    assert bed.last("a") is None


def test_a_text_is_encoded_once(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    encode = type(loaded.family).encode_prompt
    monkeypatch.setattr(
        type(loaded.family), "encode_prompt", lambda it, text, **how: texts.append(text) or encode(it, text, **how)
    )
    bed = Bed(loaded)
    texts.clear()
    bed.render(request(), "a")
    bed.render(request(seed=2), "b")
    assert texts == ["a red boat", ""]


def test_a_cancelled_job_leaves_at_the_next_step_and_pays_what_was_measured(loaded: Loaded) -> None:
    bed, family = faulty_bed(loaded)
    bed.submit("a", request(steps=50))
    bed.submit("b", request(steps=5))
    bed.ticks(3)
    before = len(family.forwards)
    bed.cancel("a")
    bed.ticks(1)
    assert family.forwards[before:] == [4], "only b's rows took the next step"
    word = bed.last("a")
    assert isinstance(word, Cancelled) and word.gpu_ms > 0
    bed.finish("b")
    assert isinstance(bed.last("b"), Done)
    assert bed.of("a")[-1] is word, "nothing may follow the last word"


def test_cancelling_what_waits_or_is_unknown_is_answered(bed: Bed) -> None:
    bed.submit("a", request())
    bed.cancel("a")
    bed.cancel("b")
    bed.ticks(1)
    assert [type(bed.last(job)) for job in "ab"] == [Cancelled, Cancelled]


def test_cancelling_another_attempt_changes_nothing(bed: Bed) -> None:
    bed.submit("a", request(), attempt=2)
    bed.cancel("a", attempt=1)
    bed.finish("a")
    assert isinstance(bed.last("a"), Done)


def test_a_new_attempt_replaces_the_old_one_and_the_same_one_is_taken_once(bed: Bed) -> None:
    bed.submit("a", request(steps=40))
    bed.ticks(2)
    bed.submit("a", request(steps=3), attempt=2)
    bed.submit("a", request(steps=3), attempt=2)
    bed.finish("a")
    words = bed.of("a")
    assert [event.attempt for event in words] == sorted(event.attempt for event in words)
    assert sum(isinstance(event, Done) for event in words) == 1


def test_when_the_connection_is_gone_all_jobs_are_dropped_in_silence(bed: Bed) -> None:
    bed.submit("a", request(steps=50))
    bed.ticks(2)
    said = len(bed.of("a"))
    bed.engine.inbox.put(Drop())
    bed.ticks(1)
    assert bed.pulse.beat().jobs == ()
    assert len(bed.of("a")) == said


def test_out_of_memory_halves_the_rows_and_every_job_still_ends(loaded: Loaded) -> None:
    expected = Bed(loaded).render(request(count=4))
    bed, family = faulty_bed(loaded, widest=4)
    bed.submit("a", request(count=4))
    bed.submit("b", request(count=4, seed=1))
    bed.finish("a", "b")
    assert max(family.forwards) == 4 and isinstance(bed.last("b"), Done)
    assert any(isinstance(event, OverheadTime) and event.cause == "oom" for event in bed.events), (
        "no member pays for it"
    )
    for one, other in zip(bed.pictures("a"), expected, strict=True):
        assert abs(pixels(one) - pixels(other)).max() <= 1, "a step that was tried again may change nothing"


def test_a_preview_that_cannot_be_made_is_left_out_and_the_job_goes_on(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Held, "sketch", full)
    bed.submit("a", request())
    bed.finish("a")
    assert isinstance(bed.last("a"), Done)


def test_out_of_memory_with_ancestral_noise_draws_no_noise_twice(loaded: Loaded) -> None:
    expected = Bed(loaded).render(request(count=4, sampler="euler_a"))
    got = faulty_bed(loaded, widest=4)[0].render(request(count=4, sampler="euler_a"))
    for one, other in zip(got, expected, strict=True):
        assert abs(pixels(one) - pixels(other)).max() <= 1


def test_out_of_memory_with_one_row_fails_that_job_only_and_the_others_have_room_again(loaded: Loaded) -> None:
    bed, family = faulty_bed(loaded)
    bed.submit("good", request(count=2))
    bed.submit("bad", request(count=2, prompt="memory"))
    bed.finish("good", "bad")
    assert bed.failure("bad").kind is FailureKind.OUT_OF_MEMORY
    assert isinstance(bed.last("good"), Done)
    family.forwards.clear()
    bed.render(request(count=4), "next")
    assert family.forwards[0] == 8


def test_a_poisonous_job_fails_alone(loaded: Loaded) -> None:
    bed, _ = faulty_bed(loaded)
    for job, prompt in (("good", "a boat"), ("bad", "poison"), ("fine", "a tree")):
        bed.submit(job, request(prompt=prompt))
    bed.finish("good", "bad", "fine")
    assert bed.failure("bad").kind is FailureKind.ERROR
    assert isinstance(bed.last("good"), Done) and isinstance(bed.last("fine"), Done)
    assert "poison" not in bed.failure("bad").sentence, "no insides in what a member reads"


def test_numbers_that_overflow_fail_with_their_cure_in_the_log(
    loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    bed, _ = faulty_bed(loaded)
    bed.submit("a", request(prompt="overflow"))
    bed.finish("a")
    assert bed.failure("a").sentence.endswith("overflowed. The bot's owner can find the cure in the log.")
    assert "DARKROOM_DTYPE=float32" in caplog.text


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"sampler": "heun"}, "heun"),
        ({"sampler": "flow_euler"}, "flow_euler"),
        ({"width": 60}, "60×64"),
        ({"steps": 0}, "0 steps"),
        ({"strength": 0.5}, "brings none"),
        ({"count": 0}, "no picture"),
    ],
)
def test_a_job_that_can_never_work_is_refused_with_a_sentence(bed: Bed, changes: dict[str, Any], word: str) -> None:
    bed.submit("a", request(**changes))
    bed.ticks(1)
    assert bed.failure("a").kind is FailureKind.INVALID
    assert word in bed.failure("a").sentence
    assert isinstance(bed.render(request(), "next"), list)


def test_a_broken_source_is_refused(bed: Bed) -> None:
    bed.submit("a", request(strength=0.5), source=b"\x89PNG\r\n\x1a\nno")
    bed.ticks(1)
    assert bed.failure("a").kind is FailureKind.INVALID


def test_a_source_of_another_size_is_fitted(bed: Bed) -> None:
    source = bed.render(request(width=96, height=96, count=1), "a")[0]
    assert pixels(bed.render(request(strength=0.5), "b", source=source)[0]).shape == (64, 64, 3)


def test_pictures_are_decoded_one_at_a_time_between_the_steps_of_others(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed, family = faulty_bed(loaded)
    turns: list[str] = []
    family.before = lambda _: turns.append("step")
    decode = type(loaded.family).decode
    monkeypatch.setattr(type(loaded.family), "decode", lambda it, x: turns.append("decode") or decode(it, x))
    bed.submit("short", request(count=4, steps=1))
    bed.submit("long", request(count=1, steps=12))
    bed.finish("short", "long")
    joined = " ".join(turns[: turns.index("decode") + 8])
    assert "decode decode" not in joined


def test_the_books_balance_to_the_nanosecond_with_failures_cancels_and_repeats(loaded: Loaded) -> None:
    bed, _ = faulty_bed(loaded, widest=8)
    for job, prompt in (("a", "x"), ("b", "poison"), ("c", "memory"), ("d", "y")):
        bed.submit(job, request(prompt=prompt, count=3))
    bed.ticks(4)
    bed.cancel("d")
    bed.finish("a", "b", "c", "d")
    busy, booked = bed.meter.audit()
    assert busy == booked > 0
    ends = sum(event.gpu_ms for event in bed.events if isinstance(event, Done | Failed | Cancelled))
    assert 0 <= busy // 1_000_000 - (ends + bed.house_ms()) <= 1


def test_previews_come_early_and_are_small(bed: Bed) -> None:
    now = iter(range(1000))
    bed.engine._clock = lambda: float(next(now))  # a second between any two looks: every step may have its preview
    bed.render(request(steps=20, count=4))
    previews = bed.previews("a")
    assert previews[0].step <= 4
    assert pixels(previews[-1].preview).shape == (128, 128, 3), "two by two, never larger than the result"
    assert all(len(preview.preview) < 20_000 for preview in previews)


def test_nobody_watching_means_no_previews(bed: Bed) -> None:
    bed.render(request(steps=20), previews=False)
    assert not bed.previews("a")


def test_the_pulse_names_what_is_computed_and_grows_while_the_loop_hangs(loaded: Loaded) -> None:
    bed, family = faulty_bed(loaded)
    inside, go = threading.Event(), threading.Event()
    family.before = lambda _: (inside.set(), go.wait(60))
    bed.submit("a", request(steps=1, count=1))
    loop = threading.Thread(target=bed.engine.run)
    loop.start()
    assert inside.wait(60)
    first = bed.pulse.beat()
    assert (first.phase.value, first.computing) == ("stepping", ("a",))
    later = first
    while later.phase_seconds <= first.phase_seconds + 0.01:
        later = bed.pulse.beat()
    assert later.phase == first.phase
    go.set()
    bed.wait(lambda: bed.last("a") is not None)
    bed.stop()
    loop.join(60)
    assert bed.pulse.beat().jobs == ()


def test_a_job_is_named_by_the_pulse_from_its_order_on(bed: Bed) -> None:
    bed.submit("a", request(steps=30))
    bed.ticks(1)
    bed.submit("b", request())
    assert bed.pulse.beat().jobs == (("a", 1), ("b", 1)), "a long step must not look as if the order was lost"
    bed.ticks(1)
    assert bed.pulse.beat().jobs == (("a", 1), ("b", 1))


def test_many_jobs_at_once_all_end(beds: Callable[..., Bed]) -> None:
    bed = beds(rows=5)
    jobs = [f"j{number}" for number in range(6)]
    for number, job in enumerate(jobs):
        sampler = ("euler", "euler_a", "dpmpp_2m")[number % 3]
        bed.submit(job, request(count=1 + number % 4, steps=2 + number, sampler=sampler, guidance=float(number)))
    bed.finish(*jobs)
    assert all(isinstance(bed.last(job), Done) for job in jobs)
    assert [len(bed.pictures(job)) for job in jobs] == [1, 2, 3, 4, 1, 2]
