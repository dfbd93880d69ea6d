"""One loop, several models: they take turns, come when they are asked for, and a broken one harms nobody else."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.catalogue import Capability
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
from tests.worker.engine_driver import EngineDriver, pixels, request
from tests.worker.fake_models import FakeFamily, FakePipelineModel, FakeSource, fake_model
from worker.device import choose_device
from worker.edits import Prepared
from worker.engine import ModelCache
from worker.engine.image_encoding import png
from worker.errors import CannotLoad
from worker.interfaces import Adaptation
from worker.vision import CompanionKind, LazyCompanions
from worker.vision.companions import KnownCompanion

CPU = choose_device("cpu", "float32", 0)


def driver_of(*there: Any, budget_mb: int = 1000, sizes: Any = None, **loads: Any) -> tuple[EngineDriver, FakeSource]:
    """A driver of an engine on these models, and what loads others."""
    loader = FakeSource(**loads)
    loader.sizes = sizes or {}
    return EngineDriver(*there, cache=ModelCache(loader, CPU, budget_mb)), loader


def request_for(model: str, **changes: Any) -> Any:
    return request(model=model, **changes)


def forwards(loaded: Any) -> list[int]:
    return [count for count, _ in loaded.family.forwards]


def word_order(driver: EngineDriver, kind: type) -> list[str]:
    return [event.job for event in driver.events if isinstance(event, kind)]


def told(driver: EngineDriver) -> list[tuple[str, ...]]:
    """Which models were there, at each time it was said."""
    return [event.loaded for event in driver.events if isinstance(event, Models)]


def test_rows_of_two_models_take_turns() -> None:
    one, two = fake_model("one"), fake_model("two")
    driver, _ = driver_of(one, two)
    driver.submit("a", request_for("one", steps=20))
    driver.submit("b", request_for("two", steps=4))
    driver.ticks(9)
    assert len(forwards(one)) <= 6, "the other model must have had every other turn"
    driver.finish("a", "b")
    assert [driver.of(job)[0].made_with.digest for job in "ab"] == ["digest of one", "digest of two"]
    assert forwards(one) == [4] * 20 and forwards(two) == [4] * 4


def test_a_model_that_is_not_there_is_loaded_for_its_job_and_nobody_pays() -> None:
    driver, loads = driver_of(fake_model("one"), two=fake_model("two"))
    driver.submit("a", request_for("two"))
    driver.finish("a")
    assert isinstance(driver.last("a"), Done) and loads.asked == ["two"]
    assert told(driver) == [("one", "two")]
    assert {event.cause for event in driver.events if isinstance(event, OverheadTime)} <= {
        "load",
        "preview",
        "rounding",
    }
    busy, booked = driver.meter.audit()
    assert busy == booked > 0


def test_while_a_model_loads_on_a_cpu_rows_wait_and_on_a_gpu_they_go_on() -> None:
    for on_gpu in (False, True):
        one, seen = fake_model("one"), []
        driver, loads = driver_of(one, two=fake_model("two"))
        driver.engine._steps_beside_loads = on_gpu
        driver.submit("a", request_for("one", steps=30))
        driver.ticks(2)
        loads.gates["two"] = gate = threading.Event()
        driver.submit("b", request_for("two"))
        driver.ticks(1)
        if on_gpu:
            driver.ticks(5)
            seen.append(driver.heartbeat.beat().phase)
        before = len(forwards(one))
        gate.set()
        driver.finish("a", "b")
        assert before == (8 if on_gpu else 2)


def test_the_heartbeat_says_loading_while_the_loop_has_nothing_else_to_do() -> None:
    driver, loads = driver_of(fake_model("one"), two=fake_model("two"))
    phases: list[Phase] = []
    driver.engine.inbox = Listening(driver.engine.inbox, lambda: phases.append(driver.heartbeat.beat().phase))
    driver.submit("a", request_for("two"))
    driver.finish("a")
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
    driver, loads = driver_of(fake_model("one"), two=error)
    driver.submit("good", request_for("one", steps=12))
    driver.ticks(2)
    driver.submit("bad", request_for("two"))
    driver.submit("too", request_for("two"))
    driver.submit("fine", request_for("one"))
    driver.finish("good", "bad", "too", "fine")
    for job in ("bad", "too"):
        assert driver.failure(job).kind is FailureKind.INVALID
        told = "The model `two` could not be loaded. The bot's owner can find the reason in the log."
        assert driver.failure(job).sentence == told, "no paths and settings in what everybody reads"
    assert str(error) in caplog.text
    assert isinstance(driver.last("good"), Done) and isinstance(driver.last("fine"), Done)
    loads.models["two"] = fake_model("two")
    driver.submit("again", request_for("two"))
    driver.finish("again")
    assert isinstance(driver.last("again"), Done), "a later job may find it mended"


def test_a_job_can_be_cancelled_while_its_model_loads() -> None:
    driver, loads = driver_of(fake_model("one"), two=fake_model("two"))
    loads.before = lambda _: driver.cancel("a")
    driver.submit("a", request_for("two"))
    driver.finish("a")
    assert isinstance(driver.last("a"), Cancelled)
    driver.submit("b", request_for("two"))
    driver.finish("b")
    assert isinstance(driver.last("b"), Done) and loads.asked == ["two"]


def test_a_model_that_waits_for_room_is_not_kept_waiting_by_jobs_that_came_later() -> None:
    sizes = {"one": 200, "two": 200}
    driver, loads = driver_of(
        fake_model("one", 200), budget_mb=250, sizes=sizes, one=fake_model("one", 200), two=fake_model("two", 200)
    )
    driver.submit("first", request_for("one", steps=8))
    driver.ticks(2)
    driver.submit("other", request_for("two", steps=4))
    for number in range(3):
        driver.submit(f"later{number}", request_for("one", steps=4))
    driver.finish("first", "other", "later0", "later1", "later2")
    assert word_order(driver, Started) == ["first", "other", "later0", "later1", "later2"]
    assert loads.asked == ["two", "one"], "one swap there and one back"
    assert told(driver) == [("two",), ("one",)]


def test_paused_rows_let_their_model_go_and_go_on_where_they_were_when_it_is_back() -> None:
    sizes = {"one": 200, "two": 200}
    expected = driver_of(fake_model("one"))[0].render(request_for("one", steps=10), "a")
    driver, loads = driver_of(
        fake_model("one", 200), budget_mb=250, sizes=sizes, one=fake_model("one", 200), two=fake_model("two", 200)
    )
    driver.submit("a", request_for("one", steps=10))
    driver.ticks(4)
    task = driver.engine._queue.tasks["a"]
    driver.engine.inbox.put(Pause(job="a", attempt=1))
    driver.submit("b", request_for("two", steps=3))
    driver.finish("b")
    assert told(driver) == [("two",)] and task.step == 4
    driver.engine.inbox.put(Resume(job="a", attempt=1))
    driver.finish("a")
    assert loads.asked == ["two", "one"]
    assert driver.pictures("a") == expected


def test_a_paused_pipeline_lets_its_model_go_too_and_begins_again_when_it_is_back() -> None:
    own = fake_model("own", 200, family=FakePipelineModel())
    driver, loads = driver_of(
        own, budget_mb=250, sizes={"own": 200, "two": 200}, own=fake_model("own", 200, family=FakePipelineModel()),
        two=fake_model("two", 200),
    )  # fmt: skip
    driver.submit("a", request_for("own", steps=6))
    driver.ticks(3)
    run = own.family.run
    driver.engine.inbox.put(Pause(job="a", attempt=1))
    driver.submit("b", request_for("two", steps=3))
    driver.finish("b")
    assert run.closed and driver.last("a") is None
    assert driver.meter.job_ms("a") == 0, "what it lost with the model is not its member's"
    driver.engine.inbox.put(Resume(job="a", attempt=1))
    driver.finish("a")
    assert isinstance(driver.last("a"), Done) and loads.asked == ["two", "own"]
    assert sum(isinstance(event, Started) for event in driver.of("a")) == 1


@pytest.mark.parametrize("family", [FakeFamily, FakePipelineModel])
def test_a_paused_job_whose_model_comes_back_as_another_one_begins_anew_and_says_what_draws_it(family: Any) -> None:
    other = fake_model("one", family=family())
    other = replace(other, info=replace(other.info, digest="digest of its other files"))
    driver, loads = driver_of(fake_model("one", family=family()), one=other)
    driver.submit("a", request_for("one", steps=6))
    driver.ticks(3)
    driver.engine.inbox.put(Pause(job="a", attempt=1))
    loads.current = lambda _: False
    driver.ticks(1)
    assert told(driver)[-1] == (), "what is stale and idle goes"
    loads.current = lambda _: True
    driver.engine.inbox.put(Resume(job="a", attempt=1))
    driver.finish("a")
    assert isinstance(driver.last("a"), Done)
    drawn_by = [event.made_with.digest for event in driver.of("a") if isinstance(event, Started)]
    assert drawn_by == ["digest of one", "digest of its other files"]
    if family is FakeFamily:
        assert sum(forwards(other)) == 6 * 4, "all steps are the new model's"
    busy, booked = driver.meter.audit()
    assert busy == booked


def test_memory_that_is_full_costs_the_idle_models_their_place_before_any_job_its_rows() -> None:
    one = fake_model("one")
    driver, _ = driver_of(one, fake_model("two"))
    one.family.full = 1
    driver.submit("a", request_for("one", count=4))
    driver.finish("a")
    assert isinstance(driver.last("a"), Done)
    assert forwards(one) == [8] * 6, "no forward had to be halved"
    assert told(driver) == [("one",)]


def test_what_a_model_cannot_be_made_to_do_is_said_before_any_step() -> None:
    one = fake_model("one")
    driver, _ = driver_of(one)
    driver.submit("a", request_for("one", loras=(Lora(name="missing"),)))
    driver.submit("b", request_for("one", prompt="weightless::x"))
    driver.finish("a", "b")
    assert driver.failure("a").sentence == "There is no LoRA named missing."
    assert driver.failure("b").sentence == "A weight must be a number."
    assert {driver.failure(job).kind for job in "ab"} == {FailureKind.INVALID} and not forwards(one)


def test_each_forward_and_each_decode_follows_its_own_adaptation_and_shares_it_with_its_like() -> None:
    log: list[str] = []
    one = fake_model("one", log=log.append)
    driver, _ = driver_of(one)
    driver.submit("plain", request_for("one", count=1, steps=3))
    driver.submit("styled", request_for("one", count=1, steps=3, loras=(Lora(name="ink", weight=0.8),)))
    driver.submit("same", request_for("one", count=1, steps=3, loras=(Lora(name="ink", weight=0.8),)))
    driver.submit("tiled", request_for("one", count=1, steps=3, tile=True))
    driver.ticks(4)
    driver.finish("plain", "styled", "same", "tiled")
    ink = Adaptation(loras=(("ink", 0.8),))
    kinds = {now: [count for count, at in one.family.forwards if at == now] for _, now in one.family.forwards}
    assert set(kinds) == {Adaptation(), ink, Adaptation(tile=True)}
    assert kinds[Adaptation()] == [2] * 3 and 4 in kinds[ink]
    assert log.count("decode True") == 1, "the tiled picture's only"
    encoded = [line for line in log if line.startswith("encode 'a red boat'")]
    assert len(encoded) == 2, "once with the LoRA and once without, for it may change the encoder"


def test_texts_of_other_lengths_do_not_share_a_forward() -> None:
    class Long(FakeFamily):
        def encode_prompt(self, text: str, *, negative: bool = False) -> Any:
            conditions = super().encode_prompt(text)["text"]
            return {"text": conditions.repeat(2 if "long" in text else 1, 1)}

        def pad_to_longest(self, texts: Any) -> Any:
            longest = max(len(text["text"]) for text in texts)
            return [{"text": text["text"].repeat(longest // len(text["text"]), 1)} for text in texts]

    one = fake_model("one", family=Long())
    driver, _ = driver_of(one)
    driver.submit("a", request_for("one", count=1, steps=3))
    driver.submit("b", request_for("one", count=1, steps=3, prompt="a long one"))
    driver.finish("a", "b")
    assert forwards(one) == [2] * 6


def test_a_model_with_a_pipeline_of_its_own_takes_turns_with_rows() -> None:
    one, own = fake_model("one"), fake_model("own", family=FakePipelineModel())
    driver, _ = driver_of(one, own)
    driver.watch_closely()
    driver.submit("a", request_for("one", steps=8))
    driver.submit("b", request_for("own", steps=8, count=3), indices=(0, 2, 3))
    driver.ticks(8)
    assert 3 <= len(forwards(one)) <= 5
    driver.finish("a", "b")
    assert [event.index for event in driver.of("b") if isinstance(event, Picture)] == [0, 2, 3]
    assert [int(pixels(picture).max()) for picture in driver.pictures("b")] == [0, 26, 51]
    assert driver.previews("b") and max(e.steps for e in driver.of("b") if isinstance(e, Progress)) == 8
    assert isinstance(driver.last("b"), Done) and own.family.run.closed


def test_a_pipeline_of_its_own_is_refused_stopped_and_tried_again_like_others() -> None:
    own = fake_model("own", family=FakePipelineModel())
    driver, _ = driver_of(own, fake_model("idle"))
    driver.submit("no", request_for("own", loras=(Lora(name="ink"),)))
    driver.submit("stop", request_for("own", steps=50))
    driver.ticks(4)
    run = own.family.run
    driver.cancel("stop")
    driver.finish("no", "stop")
    assert "words alone" in driver.failure("no").sentence
    assert isinstance(driver.last("stop"), Cancelled) and run.closed
    own.family.fails = 1
    driver.submit("full", request_for("own"))
    driver.finish("full")
    assert isinstance(driver.last("full"), Done), "the idle model went, and its run began again"
    assert sum(isinstance(event, Started) for event in driver.of("full")) == 1


def test_words_end_a_job_without_a_step() -> None:
    class Describer:
        networks = ()

        def smoke_test(self) -> None:
            pass

        def describe(self, seen: Any) -> tuple[str, ...]:
            return (f"a picture of {seen.shape[1]}×{seen.shape[0]}", "a picture")

    one = fake_model("one")
    known = KnownCompanion(path=Path("words"), edits=(Capability.DESCRIBE,), memory_mb=1, open=Describer)
    driver, _ = driver_of(replace(one, companions=LazyCompanions({CompanionKind.DESCRIBER: known})))
    source = png(pixels(driver.render(request_for("one", count=1), "it")[0]).astype("uint8"))
    before = len(forwards(one))
    driver.submit("a", request_for("one"), source=source, kind=Kind.DESCRIBE)
    driver.finish("a")
    said = [event for event in driver.of("a") if not isinstance(event, Progress)]
    assert [type(event) for event in said] == [Started, Described, Done]
    assert said[1].words == ("a picture of 64×64", "a picture") and len(forwards(one)) == before


def test_jobs_are_prepared_a_piece_at_a_time_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    def pieces(order: Any, context: Any) -> Any:
        for number in range(3):
            log.append(f"{order.job}{number}")
            yield
        return Prepared(words=("done",))

    monkeypatch.setattr("worker.engine.prepare_job.prepare", pieces)
    one = fake_model("one", log=log.append)
    driver, _ = driver_of(one)
    driver.submit("a", request_for("one"))
    driver.submit("b", request_for("one"))
    driver.finish("a", "b")
    assert [line for line in log if line[0] in "ab"] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_picture_that_cannot_be_finished_fails_its_job_and_the_next_one_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from worker.engine import prepare_job

    prepare = prepare_job.prepare

    def breaks(order: Any, context: Any) -> Any:
        prepared = yield from prepare(order, context)
        return replace(prepared, finish=lambda place, made: made[None] if order.job == "bad" else made)

    monkeypatch.setattr(prepare_job, "prepare", breaks)
    driver, _ = driver_of(fake_model("one"))
    driver.submit("bad", request_for("one"))
    driver.submit("good", request_for("one"))
    driver.finish("bad", "good")
    assert "could not be finished" in driver.failure("bad").sentence and driver.failure("bad").gpu_ms >= 0
    assert len(driver.pictures("good")) == 2
