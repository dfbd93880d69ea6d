"""A companion counts while it is in memory: room is made for it, and it goes with its model or when nobody needs it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from core.events import Done, Pause, Picture, Resume
from core.job import Kind
from tests.worker.engine_driver import request
from tests.worker.fake_companions import STYLE, TWICE, Helper, ask, bed_of, told, with_helpers
from tests.worker.fake_models import paper
from worker.checkpoints.loader import Loaded
from worker.memory.offload_plan import Company, Policy, Sizes, plan
from worker.vision.companions import Companion

FULL = torch.OutOfMemoryError("CUDA out of memory.")


def test_idle_models_leave_for_a_companion_the_one_not_used_for_longest_first() -> None:
    upscaler = Helper()
    bed, _ = bed_of(
        paper("old"), paper("newer"), with_helpers(paper("one"), 60, upscaler=upscaler), budget_mb=350
    )  # fmt: skip
    ask(bed, "a", Kind.UPSCALE, **TWICE)
    bed.finish("a")
    assert bed.shelf.models().loaded == ("newer", "one")
    held = bed.shelf.get("one")
    assert held is not None and held.memory_mb == 160


def test_models_that_leave_for_a_companion_come_back_when_it_fails() -> None:
    upscaler, old = Helper(), paper("old")
    upscaler.errors = [RuntimeError("insides")]
    bed, _ = bed_of(old, with_helpers(paper("one"), 200, upscaler=upscaler), budget_mb=350)
    ask(bed, "a", Kind.UPSCALE, **TWICE)
    bed.finish("a")
    assert "switched off" in bed.failure("a").sentence
    assert old.family.parts["unet"].moves == ["cpu", "cpu"] and set(bed.shelf.models().loaded) == {"old", "one"}


def test_one_that_finds_memory_full_is_tried_again_without_other_models_before_its_job_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for times in (1, 2):
        upscaler = Helper()
        upscaler.errors = [FULL] * times
        bed, _ = bed_of(paper("idle"), with_helpers(paper("one"), upscaler=upscaler))
        ask(bed, "a", Kind.UPSCALE, **TWICE)
        bed.finish("a")
        assert len(upscaler.opened) == 2
        if times == 1:
            assert isinstance(bed.last("a"), Done) and bed.shelf.models().loaded == ("one",)
        else:
            assert bed.failure("a").gpu_ms == 0 and "upscale" not in told(bed)
            assert "finds no room" in bed.failure("a").sentence and "finds no room in memory" in caplog.text


def test_when_memory_is_full_companions_that_no_job_needs_go_before_rows_are_halved() -> None:
    describer, one = Helper(), paper("one")
    bed, _ = bed_of(with_helpers(one, describer=describer))
    ask(bed, "words", Kind.DESCRIBE)
    bed.finish("words")
    held = bed.shelf.get("one")
    assert held is not None and held.companions.opened == (Companion.DESCRIBER,)
    one.family.full = 1
    bed.submit("grid", request(model="one", count=4))
    bed.finish("grid")
    assert isinstance(bed.last("grid"), Done) and held.companions.opened == ()
    assert {count for count, _ in one.family.forwards} == {8}
    ask(bed, "more", Kind.DESCRIBE)
    bed.finish("more")
    assert len(describer.opened) == 2, "and come back with the next that does"


def test_a_companion_leaves_the_device_with_its_model_and_comes_back_with_it() -> None:
    describer = Helper()
    bed, loads = bed_of(
        with_helpers(paper("one", 200), describer=describer), budget_mb=250, two=RuntimeError("broken")
    )  # fmt: skip
    loads.sizes["two"] = 200
    ask(bed, "words", Kind.DESCRIBE)
    bed.finish("words")
    bed.submit("b", request(model="two"))
    bed.finish("b")
    assert describer.part.moves == ["cpu", "cpu"], "away, and back"


def test_a_picture_that_rows_hear_is_there_again_before_they_go_on() -> None:
    adapter, other = Helper(), paper("two", 200)
    make: Callable[[], Loaded] = lambda: with_helpers(paper("one", 200), adapter=adapter)  # noqa: E731
    bed, loads = bed_of(make(), budget_mb=250, one=make, two=other)
    loads.sizes.update(one=200, two=200)
    ask(bed, "a", **STYLE, steps=10)
    while not (task := bed.engine._line.tasks.get("a")) or not task.rows or task.step < 4:
        bed.ticks(1)
    bed.engine.inbox.put(Pause(job="a", attempt=1))
    bed.submit("b", request(model="two"))
    bed.finish("b")
    assert bed.shelf.get("one") is None and bed.last("a") is None
    bed.engine.inbox.put(Resume(job="a", attempt=1))
    bed.finish("a")
    assert isinstance(bed.last("a"), Done) and len(adapter.opened) == 2
    assert sum(isinstance(event, Picture) for event in bed.of("a")) == 1


def test_rows_whose_picture_cannot_be_heard_any_more_fail_at_no_cost() -> None:
    adapter = Helper()
    make: Callable[[], Loaded] = lambda: with_helpers(paper("one", 200), adapter=adapter)  # noqa: E731
    bed, loads = bed_of(make(), budget_mb=250, one=make, two=paper("two", 200))
    loads.sizes.update(one=200, two=200)
    ask(bed, "a", **STYLE, steps=10)
    while not (task := bed.engine._line.tasks.get("a")) or not task.rows or task.step < 4:
        bed.ticks(1)
    bed.engine.inbox.put(Pause(job="a", attempt=1))
    bed.submit("b", request(model="two"))
    bed.finish("b")
    adapter.errors = [RuntimeError("insides")]
    bed.engine.inbox.put(Resume(job="a", attempt=1))
    bed.finish("a")
    assert bed.failure("a").gpu_ms == 0 and "image adapter" in bed.failure("a").sentence
    busy, booked = bed.meter.audit()
    assert busy == booked


#: A model of 5 GB that fills a card of 8 with text encoders that could wait in the host's memory.
TIGHT = Sizes(text=2000, denoiser=3000, autoencoder=100, block=100, row=200, decode=200, decode_tiled=100, layer=20)
CARD_MB = 8192


def placed(company: Company) -> Loaded:
    """That model, as it would lie there in this company, with an upscaler of 2 GB."""
    lies = plan(TIGHT, CARD_MB, company)
    return with_helpers(replace(paper("one"), plan=lies), 2048, upscaler=Helper())


def test_a_model_that_leaves_no_room_as_it_lies_is_placed_anew_with_room_once_it_is_idle() -> None:
    companies: list[Company] = []

    def again(company: Company) -> Loaded:
        companies.append(company)
        return placed(company)

    first = placed(Company())
    assert first.plan.policy is Policy.RESIDENT
    bed, loads = bed_of(first, budget_mb=100_000, one=lambda: again(loads.companies[-1]))
    bed.submit("grid", request(model="one", steps=6))
    bed.ticks(2)
    ask(bed, "a", Kind.UPSCALE, **TWICE)
    ask(bed, "b", Kind.UPSCALE, **TWICE)
    bed.finish("grid", "a", "b")
    assert isinstance(bed.last("a"), Done) and isinstance(bed.last("b"), Done) and isinstance(bed.last("grid"), Done)
    held = bed.shelf.get("one")
    assert held is not None and companies == [Company(tools=2048)], "once"
    assert held.plan.policy is Policy.TEXT_ON_HOST and held.plan.company.tools == 2048


def test_one_for_which_there_is_no_room_in_any_way_is_said_without_a_load() -> None:
    helper = Helper()
    lies = plan(TIGHT, CARD_MB)
    bed, loads = bed_of(with_helpers(replace(paper("one"), plan=lies), 9000, upscaler=helper), budget_mb=100_000)
    ask(bed, "a", Kind.UPSCALE, **TWICE)
    bed.finish("a")
    assert bed.failure("a").gpu_ms == 0 and helper.opened == [] and loads.asked == []
    assert "upscale" not in told(bed)
