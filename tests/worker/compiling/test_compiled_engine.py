"""The loop with compiled code, and with the stage for pictures: nobody waits for either or pays for padding."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.events import Done, OverheadTime, Submit
from tests.worker.compiling.traced_networks import Kept
from tests.worker.engine_driver import Bed, pixels, request
from worker.checkpoints.loader import Loaded, load
from worker.compiling.compiled_model import Booster
from worker.device import choose
from worker.engine.engine import Engine
from worker.engine.gpu_meter import Meter
from worker.engine.task import Task
from worker.interfaces import Adaptation
from worker.transport.inbox import Compiled


class Boosted:
    """A model whose compiler is a tracer, driven by the test."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.kept, self.nudges = Kept(), threading.Semaphore(0)
        loaded = load(str(folder), choose("cpu", "float32", 0))
        booster = Booster(
            root=root, idle=threading.Event(), nudge=self.nudges.release, make=self.kept.make, read=self.kept.read
        )
        boost = booster(loaded.family.parts, loaded.plan)
        assert boost is not None
        self.boost = boost
        self.loaded: Loaded = replace(loaded, boost=boost)


@pytest.fixture
def boosted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Boosted]:
    monkeypatch.setattr("worker.compiling.background_compiler.Compiler.start", lambda it: None)
    made = Boosted(folder, tmp_path)
    yield made
    made.boost.close()


def compile_all(boosted: Boosted) -> None:
    with torch.inference_mode(False), torch.no_grad():
        while boosted.boost._compiler.turn():
            pass


def test_pictures_with_compiled_code_are_those_without(boosted: Boosted, loaded: Loaded) -> None:
    plain = [pixels(png) for png in Bed(loaded).render(request())]
    bed = Bed(boosted.loaded)
    first = [pixels(png) for png in bed.render(request(), "first")]
    assert np.array_equal(first, plain)
    compile_all(boosted)
    assert boosted.kept.made, "what the first job asked for was compiled behind it"
    bed.engine.inbox.put(Compiled())
    while boosted.boost.may_adopt(idle=True):
        bed.engine.tick()
    second = [pixels(png) for png in bed.render(request(), "second")]
    assert np.abs(np.array(second) - np.array(plain)).max() <= 1
    assert any(isinstance(event, OverheadTime) and event.cause == "compile" for event in bed.events)


def test_compiled_code_is_tried_while_others_step_but_never_while_somebody_waits_to_begin(
    boosted: Boosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.compiling.compiled_forward.OVERDUE_SECONDS", 0.0)
    bed = Bed(boosted.loaded)
    bed.render(request(steps=3), "first")
    compile_all(boosted)
    waits = {"somebody": True}
    monkeypatch.setattr(bed.engine._line, "is_awaited", lambda: waits["somebody"])
    bed.submit("a", request(steps=40))
    bed.ticks(5)
    assert boosted.boost.may_adopt(idle=False), "nothing was tried"
    waits["somebody"] = False
    bed.ticks(5)
    assert not boosted.boost.may_adopt(idle=False)
    bed.finish("a")


def test_a_job_waits_to_begin_until_its_rows_are_there_unless_it_is_paused(loaded: Loaded) -> None:
    line = Bed(loaded).engine._line
    task = Task(order=Submit(job="a", attempt=1, request=request(), indices=(0,)))
    line.add(task)
    assert line.is_awaited()
    task.paused = True
    assert not line.is_awaited()


def test_padding_is_the_houses_and_the_books_balance(boosted: Boosted) -> None:
    bed = Bed(boosted.loaded)
    bed.render(request(count=2), "four forwards")
    compile_all(boosted)
    bed.engine.inbox.put(Compiled())
    while boosted.boost.may_adopt(idle=True):
        bed.engine.tick()
    bed.submit("three", request(count=3, guidance=1.0))
    bed.finish("three")
    assert isinstance(bed.last("three"), Done)
    assert boosted.boost.padding == 1
    assert any(isinstance(event, OverheadTime) and event.cause == "padding" for event in bed.events)
    busy, booked = bed.meter.audit()
    assert busy == booked


def test_a_tiled_picture_is_not_drawn_by_code_for_plain_ones(boosted: Boosted) -> None:
    bed = Bed(boosted.loaded)
    bed.render(request())
    compile_all(boosted)
    held = bed.shelf.get(boosted.loaded.info.name)
    assert held is not None
    held.adapt(Adaptation(tile=True))
    assert not boosted.boost.may_adopt(idle=True)
    held.adapt(Adaptation())
    assert boosted.boost.may_adopt(idle=True)


def test_the_loop_says_when_it_rests(loaded: Loaded) -> None:
    bed, rest = Bed(loaded), threading.Event()
    engine = Engine(
        bed.shelf, bed.device, Meter.for_device(bed.device.place), bed.pulse, bed._say, bed.engine.inbox, rest=rest
    )
    thread = threading.Thread(target=engine.run)
    thread.start()
    assert rest.wait(60)
    bed.stop()
    thread.join()
    assert not rest.is_set()


def test_a_picture_that_does_not_fit_whole_is_decoded_in_tiles(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load(str(folder), choose("cpu", "float32", 0))
    family, decode = type(loaded.family), type(loaded.family).decode

    def full(it: object, latents: torch.Tensor) -> torch.Tensor:
        if not loaded.family.parts["vae"].use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(it, latents)  # type: ignore[arg-type]

    monkeypatch.setattr(family, "decode", decode)
    bed = Bed(loaded)
    monkeypatch.setattr(family, "decode", full)
    monkeypatch.setattr("worker.memory.placement.TILE", 32)
    bed.render(request())
    assert "decoded in tiles" in caplog.text


def test_a_models_own_plan_bounds_the_rows_of_its_forwards(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(loaded, plan=replace(loaded.plan, rows=2))
    bed, seen = Bed(small), []
    denoise = type(loaded.family).denoise
    monkeypatch.setattr(
        type(loaded.family), "denoise", lambda it, x, *more: seen.append(len(x)) or denoise(it, x, *more)
    )
    bed.render(request(count=4, guidance=1.0))
    assert set(seen) == {2}
