"""The loop with compiled code, and with the stage for pictures: nobody waits for either or pays for padding."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.events import Done, OverheadTime, Submit
from tests.worker.compiling.traced_networks import FakeCompiler, serve_next
from tests.worker.engine_driver import EngineDriver, pixels, request
from worker.checkpoints import LoadedCheckpoint, load
from worker.compiling import ModelCompiler
from worker.device import choose_device
from worker.engine import Engine, GpuMeter
from worker.engine.task import Task
from worker.interfaces import Adaptation
from worker.transport import Compiled


class TracedModel:
    """A model whose compiler is a tracer, driven by the test."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.fake_compiler, self.wakes = FakeCompiler(), threading.Semaphore(0)
        loaded = load(str(folder), choose_device("cpu", "float32", 0))
        model_compiler = ModelCompiler(
            root=root,
            idle=threading.Event(),
            wake_loop=self.wakes.release,
            make=self.fake_compiler.make,
            read=self.fake_compiler.read,
        )
        compiled_model = model_compiler(loaded.family.parts, loaded.plan)
        assert compiled_model is not None
        self.compiled_model = compiled_model
        self.loaded: LoadedCheckpoint = replace(loaded, compiled_model=compiled_model)


@pytest.fixture
def traced_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TracedModel]:
    monkeypatch.setattr("worker.compiling.background_compiler.BackgroundCompiler.start", lambda it: None)
    made = TracedModel(folder, tmp_path)
    yield made
    made.compiled_model.close()


def compile_all(traced_model: TracedModel) -> None:
    with torch.inference_mode(False), torch.no_grad():
        while serve_next(traced_model.compiled_model._compiler):
            pass


def test_pictures_with_compiled_code_are_those_without(traced_model: TracedModel, loaded: LoadedCheckpoint) -> None:
    plain = [pixels(png) for png in EngineDriver(loaded).render(request())]
    driver = EngineDriver(traced_model.loaded)
    first = [pixels(png) for png in driver.render(request(), "first")]
    assert np.array_equal(first, plain)
    compile_all(traced_model)
    assert traced_model.fake_compiler.made, "what the first job asked for was compiled behind it"
    driver.engine.inbox.put(Compiled())
    while traced_model.compiled_model.may_adopt(idle=True):
        driver.engine.tick()
    second = [pixels(png) for png in driver.render(request(), "second")]
    assert np.abs(np.array(second) - np.array(plain)).max() <= 1
    assert any(isinstance(event, OverheadTime) and event.cause == "compile" for event in driver.events)


def test_compiled_code_is_tried_while_others_step_but_never_while_somebody_waits_to_begin(
    traced_model: TracedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.compiling.compiled_forward.OVERDUE_SECONDS", 0.0)
    driver = EngineDriver(traced_model.loaded)
    driver.render(request(steps=3), "first")
    compile_all(traced_model)
    waits = {"somebody": True}
    monkeypatch.setattr(driver.engine._queue, "has_waiting", lambda: waits["somebody"])
    driver.submit("a", request(steps=40))
    driver.ticks(5)
    assert traced_model.compiled_model.may_adopt(idle=False), "nothing was tried"
    waits["somebody"] = False
    driver.ticks(5)
    assert not traced_model.compiled_model.may_adopt(idle=False)
    driver.finish("a")


def test_a_job_waits_to_begin_until_its_rows_are_there_unless_it_is_paused(loaded: LoadedCheckpoint) -> None:
    queue = EngineDriver(loaded).engine._queue
    task = Task(order=Submit(job="a", attempt=1, request=request(), indices=(0,)))
    queue.add(task)
    assert queue.has_waiting()
    task.paused = True
    assert not queue.has_waiting()


def test_padding_is_overhead_and_the_books_balance(traced_model: TracedModel) -> None:
    driver = EngineDriver(traced_model.loaded)
    driver.render(request(count=2), "four forwards")
    compile_all(traced_model)
    driver.engine.inbox.put(Compiled())
    while traced_model.compiled_model.may_adopt(idle=True):
        driver.engine.tick()
    driver.submit("three", request(count=3, guidance=1.0))
    driver.finish("three")
    assert isinstance(driver.last("three"), Done)
    assert traced_model.compiled_model.padding == 1
    assert any(isinstance(event, OverheadTime) and event.cause == "padding" for event in driver.events)
    busy, booked = driver.meter.audit()
    assert busy == booked


def test_a_tiled_picture_is_not_drawn_by_code_for_plain_ones(traced_model: TracedModel) -> None:
    driver = EngineDriver(traced_model.loaded)
    driver.render(request())
    compile_all(traced_model)
    model = driver.cache.get(traced_model.loaded.info.name)
    assert model is not None
    model.adapt(Adaptation(tile=True))
    assert not traced_model.compiled_model.may_adopt(idle=True)
    model.adapt(Adaptation())
    assert traced_model.compiled_model.may_adopt(idle=True)


def test_the_loop_says_when_it_rests(loaded: LoadedCheckpoint) -> None:
    driver, idle_event = EngineDriver(loaded), threading.Event()
    engine = Engine(
        driver.cache,
        driver.device,
        GpuMeter.for_device(driver.device.torch_device),
        driver.heartbeat,
        driver._send,
        driver.engine.inbox,
        idle_event=idle_event,
    )
    thread = threading.Thread(target=engine.run)
    thread.start()
    assert idle_event.wait(60)
    driver.stop()
    thread.join()
    assert not idle_event.is_set()


def test_a_picture_that_does_not_fit_whole_is_decoded_in_tiles(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load(str(folder), choose_device("cpu", "float32", 0))
    family, decode = type(loaded.family), type(loaded.family).decode

    def full(it: object, latents: torch.Tensor) -> torch.Tensor:
        if not loaded.family.parts["vae"].use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(it, latents)  # type: ignore[arg-type]

    monkeypatch.setattr(family, "decode", decode)
    driver = EngineDriver(loaded)
    monkeypatch.setattr(family, "decode", full)
    monkeypatch.setattr("worker.memory.placement.TILE_SIDE", 32)
    driver.render(request())
    assert "decoded in tiles" in caplog.text


def test_a_models_own_plan_bounds_the_rows_of_its_forwards(
    loaded: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(loaded, plan=replace(loaded.plan, rows=2))
    driver, seen = EngineDriver(small), []
    denoise = type(loaded.family).denoise
    monkeypatch.setattr(
        type(loaded.family), "denoise", lambda it, x, *more: seen.append(len(x)) or denoise(it, x, *more)
    )
    driver.render(request(count=4, guidance=1.0))
    assert set(seen) == {2}
