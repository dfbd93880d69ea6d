"""One loop, several models: they take turns, come when they are asked for, and a broken one harms nobody else."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.events import (
    Cancelled,
    Described,
    Done,
    FailureKind,
    Models,
    OverheadTime,
    Pause,
    Phase,
    Picture,
    Progress,
    Resume,
    Started,
)
from core.job import Kind, Lora
from tests.worker.engine_driver import Bed, pixels, request
from tests.worker.fake_models import Loads, Paper, WholePaper, paper
from worker.checkpoints.loader import CannotLoad
from worker.device import choose
from worker.edits.prepared_job import Prepared
from worker.engine.image_encoding import png
from worker.engine.model_cache import Shelf
from worker.interfaces import Adaptation
from worker.vision.companions import Tools

CPU = choose("cpu", "float32", 0)


def bed_of(*there: Any, budget_mb: int = 1000, sizes: Any = None, **loads: Any) -> tuple[Bed, Loads]:
    """A bed on these models, and what loads others."""
    loader = Loads(**loads)
    loader.sizes = sizes or {}
    return Bed(*there, shelf=Shelf(loader, CPU, budget_mb)), loader


def wish(model: str, **changes: Any) -> Any:
    return request(model=model, **changes)


def forwards(loaded: Any) -> list[int]:
    return [count for count, _ in loaded.family.forwards]


def word_order(bed: Bed, kind: type) -> list[str]:
    return [event.job for event in bed.events if isinstance(event, kind)]


def told(bed: Bed) -> list[tuple[str, ...]]:
    """Which models were there, at each time it was said."""
    return [event.loaded for event in bed.events if isinstance(event, Models)]


def test_rows_of_two_models_take_turns() -> None:
    one, two = paper("one"), paper("two")
    bed, _ = bed_of(one, two)
    bed.submit("a", wish("one", steps=20))
    bed.submit("b", wish("two", steps=4))
    bed.ticks(9)
    assert len(forwards(one)) <= 6, "the other model must have had every other turn"
    bed.finish("a", "b")
    assert [bed.of(job)[0].made_with.digest for job in "ab"] == ["digest of one", "digest of two"]
    assert forwards(one) == [4] * 20 and forwards(two) == [4] * 4


def test_a_model_that_is_not_there_is_loaded_for_its_job_and_the_house_pays() -> None:
    bed, loads = bed_of(paper("one"), two=paper("two"))
    bed.submit("a", wish("two"))
    bed.finish("a")
    assert isinstance(bed.last("a"), Done) and loads.asked == ["two"]
    assert told(bed) == [("one", "two")]
    assert {event.cause for event in bed.events if isinstance(event, OverheadTime)} <= {"load", "preview", "rounding"}
    busy, booked = bed.meter.audit()
    assert busy == booked > 0


def test_while_a_model_loads_on_a_cpu_rows_wait_and_on_a_gpu_they_go_on() -> None:
    for on_gpu in (False, True):
        one, seen = paper("one"), []
        bed, loads = bed_of(one, two=paper("two"))
        bed.engine._steps_beside_loads = on_gpu
        bed.submit("a", wish("one", steps=30))
        bed.ticks(2)
        loads.gates["two"] = gate = threading.Event()
        bed.submit("b", wish("two"))
        bed.ticks(1)
        if on_gpu:
            bed.ticks(5)
            seen.append(bed.pulse.beat().phase)
        before = len(forwards(one))
        gate.set()
        bed.finish("a", "b")
        assert before == (8 if on_gpu else 2)


def test_the_pulse_says_loading_while_the_loop_has_nothing_else_to_do() -> None:
    bed, loads = bed_of(paper("one"), two=paper("two"))
    phases: list[Phase] = []
    bed.engine.inbox = Listening(bed.engine.inbox, lambda: phases.append(bed.pulse.beat().phase))
    bed.submit("a", wish("two"))
    bed.finish("a")
    assert Phase.LOADING in phases
    assert loads.asked == ["two"]


class Listening:
    """An inbox that calls before it is waited at."""

    def __init__(self, inbox: Any, before: Callable[[], None]) -> None:
        self._inbox, self._before = inbox, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inbox, name)

    def get(self, *, block: bool) -> Any:
        if block:
            self._before()
        return self._inbox.get(block=block)


@pytest.mark.parametrize("error", [CannotLoad("Two is broken: fetch it again."), RuntimeError("insides")], ids=repr)
def test_a_model_that_cannot_be_loaded_fails_its_jobs_with_one_sentence_and_no_others(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bed, loads = bed_of(paper("one"), two=error)
    bed.submit("good", wish("one", steps=12))
    bed.ticks(2)
    bed.submit("bad", wish("two"))
    bed.submit("too", wish("two"))
    bed.submit("fine", wish("one"))
    bed.finish("good", "bad", "too", "fine")
    for job in ("bad", "too"):
        assert bed.failure(job).kind is FailureKind.INVALID
        told = "The model `two` could not be loaded. The bot's owner can find the reason in the log."
        assert bed.failure(job).sentence == told, "no paths and settings in what everybody reads"
    assert str(error) in caplog.text
    assert isinstance(bed.last("good"), Done) and isinstance(bed.last("fine"), Done)
    loads.models["two"] = paper("two")
    bed.submit("again", wish("two"))
    bed.finish("again")
    assert isinstance(bed.last("again"), Done), "a later job may find it mended"


def test_a_job_can_be_cancelled_while_its_model_loads() -> None:
    bed, loads = bed_of(paper("one"), two=paper("two"))
    loads.before = lambda _: bed.cancel("a")
    bed.submit("a", wish("two"))
    bed.finish("a")
    assert isinstance(bed.last("a"), Cancelled)
    bed.submit("b", wish("two"))
    bed.finish("b")
    assert isinstance(bed.last("b"), Done) and loads.asked == ["two"]


def test_a_model_that_waits_for_room_is_not_kept_waiting_by_jobs_that_came_later() -> None:
    sizes = {"one": 200, "two": 200}
    bed, loads = bed_of(paper("one", 200), budget_mb=250, sizes=sizes, one=paper("one", 200), two=paper("two", 200))
    bed.submit("first", wish("one", steps=8))
    bed.ticks(2)
    bed.submit("other", wish("two", steps=4))
    for number in range(3):
        bed.submit(f"later{number}", wish("one", steps=4))
    bed.finish("first", "other", "later0", "later1", "later2")
    assert word_order(bed, Started) == ["first", "other", "later0", "later1", "later2"]
    assert loads.asked == ["two", "one"], "one swap there and one back"
    assert told(bed) == [("two",), ("one",)]


def test_paused_rows_let_their_model_go_and_go_on_where_they_were_when_it_is_back() -> None:
    sizes = {"one": 200, "two": 200}
    expected = bed_of(paper("one"))[0].render(wish("one", steps=10), "a")
    bed, loads = bed_of(paper("one", 200), budget_mb=250, sizes=sizes, one=paper("one", 200), two=paper("two", 200))
    bed.submit("a", wish("one", steps=10))
    bed.ticks(4)
    task = bed.engine._line.tasks["a"]
    bed.engine.inbox.put(Pause(job="a", attempt=1))
    bed.submit("b", wish("two", steps=3))
    bed.finish("b")
    assert told(bed) == [("two",)] and task.step == 4
    bed.engine.inbox.put(Resume(job="a", attempt=1))
    bed.finish("a")
    assert loads.asked == ["two", "one"]
    assert bed.pictures("a") == expected


def test_a_paused_pipeline_lets_its_model_go_too_and_begins_again_when_it_is_back() -> None:
    own = paper("own", 200, family=WholePaper())
    bed, loads = bed_of(
        own, budget_mb=250, sizes={"own": 200, "two": 200}, own=paper("own", 200, family=WholePaper()),
        two=paper("two", 200),
    )  # fmt: skip
    bed.submit("a", wish("own", steps=6))
    bed.ticks(3)
    run = own.family.run
    bed.engine.inbox.put(Pause(job="a", attempt=1))
    bed.submit("b", wish("two", steps=3))
    bed.finish("b")
    assert run.closed and bed.last("a") is None
    assert bed.meter.job_ms("a") == 0, "what it lost with the model is not its member's"
    bed.engine.inbox.put(Resume(job="a", attempt=1))
    bed.finish("a")
    assert isinstance(bed.last("a"), Done) and loads.asked == ["two", "own"]
    assert sum(isinstance(event, Started) for event in bed.of("a")) == 1


@pytest.mark.parametrize("family", [Paper, WholePaper])
def test_a_paused_job_whose_model_comes_back_as_another_one_begins_anew_and_says_what_draws_it(family: Any) -> None:
    other = paper("one", family=family())
    other = replace(other, info=replace(other.info, digest="digest of its other files"))
    bed, loads = bed_of(paper("one", family=family()), one=other)
    bed.submit("a", wish("one", steps=6))
    bed.ticks(3)
    bed.engine.inbox.put(Pause(job="a", attempt=1))
    loads.current = lambda _: False
    bed.ticks(1)
    assert told(bed)[-1] == (), "what is stale and idle goes"
    loads.current = lambda _: True
    bed.engine.inbox.put(Resume(job="a", attempt=1))
    bed.finish("a")
    assert isinstance(bed.last("a"), Done)
    drawn_by = [event.made_with.digest for event in bed.of("a") if isinstance(event, Started)]
    assert drawn_by == ["digest of one", "digest of its other files"]
    if family is Paper:
        assert sum(forwards(other)) == 6 * 4, "all steps are the new model's"
    busy, booked = bed.meter.audit()
    assert busy == booked


def test_memory_that_is_full_costs_the_idle_models_their_place_before_any_job_its_rows() -> None:
    one = paper("one")
    bed, _ = bed_of(one, paper("two"))
    one.family.full = 1
    bed.submit("a", wish("one", count=4))
    bed.finish("a")
    assert isinstance(bed.last("a"), Done)
    assert forwards(one) == [8] * 6, "no forward had to be halved"
    assert told(bed) == [("one",)]


def test_what_a_model_cannot_be_made_to_do_is_said_before_any_step() -> None:
    one = paper("one")
    bed, _ = bed_of(one)
    bed.submit("a", wish("one", loras=(Lora(name="missing"),)))
    bed.submit("b", wish("one", prompt="weightless::x"))
    bed.finish("a", "b")
    assert bed.failure("a").sentence == "There is no LoRA named missing."
    assert bed.failure("b").sentence == "A weight must be a number."
    assert {bed.failure(job).kind for job in "ab"} == {FailureKind.INVALID} and not forwards(one)


def test_each_forward_and_each_decode_follows_its_own_adaptation_and_shares_it_with_its_like() -> None:
    log: list[str] = []
    one = paper("one", log=log.append)
    bed, _ = bed_of(one)
    bed.submit("plain", wish("one", count=1, steps=3))
    bed.submit("styled", wish("one", count=1, steps=3, loras=(Lora(name="ink", weight=0.8),)))
    bed.submit("same", wish("one", count=1, steps=3, loras=(Lora(name="ink", weight=0.8),)))
    bed.submit("tiled", wish("one", count=1, steps=3, tile=True))
    bed.ticks(4)
    bed.finish("plain", "styled", "same", "tiled")
    ink = Adaptation(loras=(("ink", 0.8),))
    kinds = {now: [count for count, at in one.family.forwards if at == now] for _, now in one.family.forwards}
    assert set(kinds) == {Adaptation(), ink, Adaptation(tile=True)}
    assert kinds[Adaptation()] == [2] * 3 and 4 in kinds[ink]
    assert log.count("decode True") == 1, "the tiled picture's only"
    encoded = [line for line in log if line.startswith("encode 'a red boat'")]
    assert len(encoded) == 2, "once with the LoRA and once without, for it may change the encoder"


def test_texts_of_other_lengths_do_not_share_a_forward() -> None:
    class Long(Paper):
        def encode_prompt(self, text: str, *, negative: bool = False) -> Any:
            conditions = super().encode_prompt(text)["text"]
            return {"text": conditions.repeat(2 if "long" in text else 1, 1)}

        def even(self, texts: Any) -> Any:
            longest = max(len(text["text"]) for text in texts)
            return [{"text": text["text"].repeat(longest // len(text["text"]), 1)} for text in texts]

    one = paper("one", family=Long())
    bed, _ = bed_of(one)
    bed.submit("a", wish("one", count=1, steps=3))
    bed.submit("b", wish("one", count=1, steps=3, prompt="a long one"))
    bed.finish("a", "b")
    assert forwards(one) == [2] * 6


def test_a_model_with_a_pipeline_of_its_own_takes_turns_with_rows() -> None:
    one, own = paper("one"), paper("own", family=WholePaper())
    bed, _ = bed_of(one, own)
    now = iter(range(1000))
    bed.engine._clock = lambda: float(next(now))
    bed.submit("a", wish("one", steps=8))
    bed.submit("b", wish("own", steps=8, count=3), indices=(0, 2, 3))
    bed.ticks(8)
    assert 3 <= len(forwards(one)) <= 5
    bed.finish("a", "b")
    assert [event.index for event in bed.of("b") if isinstance(event, Picture)] == [0, 2, 3]
    assert [int(pixels(picture).max()) for picture in bed.pictures("b")] == [0, 26, 51]
    assert bed.previews("b") and max(e.steps for e in bed.of("b") if isinstance(e, Progress)) == 8
    assert isinstance(bed.last("b"), Done) and own.family.run.closed


def test_a_pipeline_of_its_own_is_refused_stopped_and_tried_again_like_others() -> None:
    own = paper("own", family=WholePaper())
    bed, _ = bed_of(own, paper("idle"))
    bed.submit("no", wish("own", loras=(Lora(name="ink"),)))
    bed.submit("stop", wish("own", steps=50))
    bed.ticks(4)
    run = own.family.run
    bed.cancel("stop")
    bed.finish("no", "stop")
    assert "words alone" in bed.failure("no").sentence
    assert isinstance(bed.last("stop"), Cancelled) and run.closed
    own.family.fails = 1
    bed.submit("full", wish("own"))
    bed.finish("full")
    assert isinstance(bed.last("full"), Done), "the idle model went, and its run began again"
    assert sum(isinstance(event, Started) for event in bed.of("full")) == 1


def test_words_end_a_job_without_a_step() -> None:
    class Describer:
        def describe(self, seen: Any) -> tuple[str, ...]:
            return (f"a picture of {seen.shape[1]}×{seen.shape[0]}", "a picture")

    one = paper("one")
    bed, _ = bed_of(replace(one, tools=Tools(describer=Describer())))
    source = png(pixels(bed.render(wish("one", count=1), "it")[0]).astype("uint8"))
    before = len(forwards(one))
    bed.submit("a", wish("one"), source=source, kind=Kind.DESCRIBE)
    bed.finish("a")
    said = [event for event in bed.of("a") if not isinstance(event, Progress)]
    assert [type(event) for event in said] == [Started, Described, Done]
    assert said[1].words == ("a picture of 64×64", "a picture") and len(forwards(one)) == before


def test_jobs_are_prepared_a_piece_at_a_time_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    def pieces(order: Any, desk: Any) -> Any:
        for number in range(3):
            log.append(f"{order.job}{number}")
            yield
        return Prepared(words=("done",))

    monkeypatch.setattr("worker.engine.prepare_job.prepare", pieces)
    one = paper("one", log=log.append)
    bed, _ = bed_of(one)
    bed.submit("a", wish("one"))
    bed.submit("b", wish("one"))
    bed.finish("a", "b")
    assert [line for line in log if line[0] in "ab"] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_picture_that_cannot_be_finished_fails_its_job_and_the_next_one_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from worker.engine import prepare_job

    prepare = prepare_job.prepare

    def breaks(order: Any, desk: Any) -> Any:
        prepared = yield from prepare(order, desk)
        return replace(prepared, finish=lambda place, made: made[None] if order.job == "bad" else made)

    monkeypatch.setattr(prepare_job, "prepare", breaks)
    bed, _ = bed_of(paper("one"))
    bed.submit("bad", wish("one"))
    bed.submit("good", wish("one"))
    bed.finish("bad", "good")
    assert "could not be finished" in bed.failure("bad").sentence and bed.failure("bad").gpu_ms >= 0
    assert len(bed.pictures("good")) == 2
