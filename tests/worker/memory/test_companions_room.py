"""A companion counts while it is in memory: room is made for it, and it goes with its model or when nobody needs it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from core.events import Done, Pause, Picture, Resume
from core.job import Kind
from tests.worker.engine_driver import request
from tests.worker.fake_companions import STYLE, TWICE, FakeCompanion, ask, driver_of, told, with_companions
from tests.worker.fake_models import fake_model
from worker.checkpoints import LoadedCheckpoint
from worker.memory import ReservedMemory
from worker.memory.offload_plan import ModelSizes, OffloadPolicy, plan_offload
from worker.vision import CompanionKind

FULL = torch.OutOfMemoryError("CUDA out of memory.")


def test_idle_models_leave_for_a_companion_the_one_not_used_for_longest_first() -> None:
    upscaler = FakeCompanion()
    driver, _ = driver_of(
        fake_model("old"), fake_model("newer"), with_companions(fake_model("one"), 60, upscaler=upscaler), budget_mb=350
    )  # fmt: skip
    ask(driver, "a", Kind.UPSCALE, **TWICE)
    driver.finish("a")
    assert driver.cache.models().loaded == ("newer", "one")
    held = driver.cache.get("one")
    assert held is not None and held.memory_mb == 160


def test_models_that_leave_for_a_companion_come_back_when_it_fails() -> None:
    upscaler, old = FakeCompanion(), fake_model("old")
    upscaler.errors = [RuntimeError("insides")]
    driver, _ = driver_of(old, with_companions(fake_model("one"), 200, upscaler=upscaler), budget_mb=350)
    ask(driver, "a", Kind.UPSCALE, **TWICE)
    driver.finish("a")
    assert "switched off" in driver.failure("a").sentence
    assert old.family.parts["unet"].moves == ["cpu", "cpu"] and set(driver.cache.models().loaded) == {"old", "one"}


def test_one_that_finds_memory_full_is_tried_again_without_other_models_before_its_job_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for times in (1, 2):
        upscaler = FakeCompanion()
        upscaler.errors = [FULL] * times
        driver, _ = driver_of(fake_model("idle"), with_companions(fake_model("one"), upscaler=upscaler))
        ask(driver, "a", Kind.UPSCALE, **TWICE)
        driver.finish("a")
        assert len(upscaler.opened) == 2
        if times == 1:
            assert isinstance(driver.last("a"), Done) and driver.cache.models().loaded == ("one",)
        else:
            assert driver.failure("a").gpu_ms == 0 and "upscale" not in told(driver)
            assert "does not fit in" in driver.failure("a").sentence and "does not fit in memory" in caplog.text


def test_when_memory_is_full_companions_that_no_job_needs_go_before_rows_are_halved() -> None:
    describer, one = FakeCompanion(), fake_model("one")
    driver, _ = driver_of(with_companions(one, describer=describer))
    ask(driver, "words", Kind.DESCRIBE)
    driver.finish("words")
    held = driver.cache.get("one")
    assert held is not None and held.companions.kinds_in_memory == (CompanionKind.DESCRIBER,)
    one.family.full = 1
    driver.submit("grid", request(model="one", count=4))
    driver.finish("grid")
    assert isinstance(driver.last("grid"), Done) and held.companions.kinds_in_memory == ()
    assert {count for count, _ in one.family.forwards} == {8}
    ask(driver, "more", Kind.DESCRIBE)
    driver.finish("more")
    assert len(describer.opened) == 2, "and come back with the next that does"


def test_a_companion_leaves_the_device_with_its_model_and_comes_back_with_it() -> None:
    describer = FakeCompanion()
    driver, loads = driver_of(
        with_companions(fake_model("one", 200), describer=describer), budget_mb=250, two=RuntimeError("broken")
    )  # fmt: skip
    loads.sizes["two"] = 200
    ask(driver, "words", Kind.DESCRIBE)
    driver.finish("words")
    driver.submit("b", request(model="two"))
    driver.finish("b")
    assert describer.part.moves == ["cpu", "cpu"], "away, and back"


def test_a_picture_that_rows_hear_is_there_again_before_they_go_on() -> None:
    adapter, other = FakeCompanion(), fake_model("two", 200)
    make: Callable[[], LoadedCheckpoint] = lambda: with_companions(fake_model("one", 200), adapter=adapter)  # noqa: E731
    driver, loads = driver_of(make(), budget_mb=250, one=make, two=other)
    loads.sizes.update(one=200, two=200)
    ask(driver, "a", **STYLE, steps=10)
    while not (task := driver.engine._queue.tasks.get("a")) or not task.rows or task.step < 4:
        driver.ticks(1)
    driver.engine.inbox.put(Pause(job="a", attempt=1))
    driver.submit("b", request(model="two"))
    driver.finish("b")
    assert driver.cache.get("one") is None and driver.last("a") is None
    driver.engine.inbox.put(Resume(job="a", attempt=1))
    driver.finish("a")
    assert isinstance(driver.last("a"), Done) and len(adapter.opened) == 2
    assert sum(isinstance(event, Picture) for event in driver.of("a")) == 1


def test_rows_whose_picture_cannot_be_heard_any_more_fail_at_no_cost() -> None:
    adapter = FakeCompanion()
    make: Callable[[], LoadedCheckpoint] = lambda: with_companions(fake_model("one", 200), adapter=adapter)  # noqa: E731
    driver, loads = driver_of(make(), budget_mb=250, one=make, two=fake_model("two", 200))
    loads.sizes.update(one=200, two=200)
    ask(driver, "a", **STYLE, steps=10)
    while not (task := driver.engine._queue.tasks.get("a")) or not task.rows or task.step < 4:
        driver.ticks(1)
    driver.engine.inbox.put(Pause(job="a", attempt=1))
    driver.submit("b", request(model="two"))
    driver.finish("b")
    adapter.errors = [RuntimeError("insides")]
    driver.engine.inbox.put(Resume(job="a", attempt=1))
    driver.finish("a")
    assert driver.failure("a").gpu_ms == 0 and "image adapter" in driver.failure("a").sentence
    busy, booked = driver.meter.audit()
    assert busy == booked


#: A model of 5 GB that fills a card of 8 with text encoders that could wait in the host's memory.
TIGHT = ModelSizes(
    text=2000, denoiser=3000, autoencoder=100, block=100, row=200, decode=200, decode_tiled=100, layer=20
)
CARD_MB = 8192


def placed(company: ReservedMemory) -> LoadedCheckpoint:
    """That model, as it would lie there in this company, with an upscaler of 2 GB."""
    lies = plan_offload(TIGHT, CARD_MB, company)
    return with_companions(replace(fake_model("one"), plan=lies), 2048, upscaler=FakeCompanion())


def test_a_model_that_leaves_no_room_as_it_lies_is_placed_anew_with_room_once_it_is_idle() -> None:
    reserved: list[ReservedMemory] = []

    def again(company: ReservedMemory) -> LoadedCheckpoint:
        reserved.append(company)
        return placed(company)

    first = placed(ReservedMemory())
    assert first.plan.policy is OffloadPolicy.RESIDENT
    driver, loads = driver_of(first, budget_mb=100_000, one=lambda: again(loads.reservations[-1]))
    driver.submit("grid", request(model="one", steps=6))
    driver.ticks(2)
    ask(driver, "a", Kind.UPSCALE, **TWICE)
    ask(driver, "b", Kind.UPSCALE, **TWICE)
    driver.finish("grid", "a", "b")
    assert (
        isinstance(driver.last("a"), Done)
        and isinstance(driver.last("b"), Done)
        and isinstance(driver.last("grid"), Done)
    )
    held = driver.cache.get("one")
    assert held is not None and reserved == [ReservedMemory(companions=2048)], "once"
    assert held.plan.policy is OffloadPolicy.TEXT_ON_HOST and held.plan.reserved.companions == 2048


def test_one_for_which_there_is_no_room_in_any_way_is_said_without_a_load() -> None:
    companion = FakeCompanion()
    lies = plan_offload(TIGHT, CARD_MB)
    driver, loads = driver_of(
        with_companions(replace(fake_model("one"), plan=lies), 9000, upscaler=companion), budget_mb=100_000
    )
    ask(driver, "a", Kind.UPSCALE, **TWICE)
    driver.finish("a")
    assert driver.failure("a").gpu_ms == 0 and companion.opened == [] and loads.asked == []
    assert "upscale" not in told(driver)
