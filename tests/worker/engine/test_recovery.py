"""Full memory reaches no member while there is something left to try, and what was lost on the way is overhead."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from core.events import Done, FailureKind, OverheadTime, Pause, Progress
from core.job import Upscale
from tests.worker.companions import LARGER, SOURCE, enlarge_in_small_tiles
from tests.worker.engine_driver import EngineDriver, request
from tests.worker.fake_models import FakeFamily, fake_model
from worker.checkpoints import LoadedCheckpoint
from worker.families.pipeline_run import PipelineRun
from worker.memory import enable_tiling


class OutOfMemory:
    """In a method's place: memory is full so many times, then the method works."""

    def __init__(self, method: Any, times: int) -> None:
        self.method, self.left = method, times

    def __call__(self, *args: Any, **more: Any) -> Any:
        if self.left:
            self.left -= 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.method(*args, **more)


@pytest.fixture
def beside(loaded: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch) -> EngineDriver:
    """An engine at work with another job, whose model was never made to decode in tiles."""
    monkeypatch.setattr(loaded.family.parts["vae"], "use_tiling", False)
    driver = EngineDriver(loaded)
    driver.submit("other", request(steps=12))
    driver.ticks(3)
    return driver


@pytest.mark.parametrize(("method", "more"), [("encode_prompt", {}), ("encode_picture", {"strength": 0.6})])
@pytest.mark.parametrize("times", [1, 2])
def test_a_job_whose_preparation_finds_no_memory_is_prepared_again(
    beside: EngineDriver,
    loaded: LoadedCheckpoint,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    more: dict[str, Any],
    times: int,
) -> None:
    monkeypatch.setattr(loaded.family, method, OutOfMemory(getattr(loaded.family, method), times), raising=False)
    beside.submit("a", request(prompt="a green tree", **more), **({"source": SOURCE} if more else {}))
    beside.finish("a", "other")
    assert isinstance(beside.last("a"), Done) and isinstance(beside.last("other"), Done)
    busy, booked = beside.meter.audit()
    assert busy == booked


def test_one_that_never_finds_any_fails_alone_with_its_sentence(
    beside: EngineDriver, loaded: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded.family, "encode_prompt", OutOfMemory(loaded.family.encode_prompt, 10**6), raising=False)
    beside.submit("a", request(prompt="a green tree"))
    beside.finish("a", "other")
    assert beside.failure("a").kind is FailureKind.OUT_OF_MEMORY
    assert isinstance(beside.last("other"), Done)


def test_a_decode_that_found_no_memory_is_overhead() -> None:
    class Tight(FakeFamily):
        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = full(self, latents)
            return found

    full = OutOfMemory(FakeFamily.decode, 0)
    driver = EngineDriver(fake_model("one", family=Tight()), fake_model("idle"))
    full.left = 1
    driver.submit("a", request(model="one", steps=2, count=1))
    driver.finish("a")
    assert isinstance(driver.last("a"), Done) and not full.left
    assert any(isinstance(event, OverheadTime) and event.cause == "oom" for event in driver.events)


def test_that_a_jobs_cost_is_written_off_is_said_at_once(loaded: LoadedCheckpoint) -> None:
    driver = EngineDriver(loaded)
    driver.submit("a", request(steps=9))
    driver.ticks(5)
    driver.engine._queue.restart(driver.engine._queue.tasks["a"])
    said = [event.gpu_ms for event in driver.of("a") if isinstance(event, Progress)]
    assert said[-1] == 0 < max(said)
    driver.finish("a")
    assert isinstance(driver.last("a"), Done)


@pytest.mark.parametrize("idle", [True, False])
def test_a_paused_job_whose_last_decode_finds_no_memory_keeps_its_model(idle: bool) -> None:
    class Tight(FakeFamily):
        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = full(self, latents)
            return found

    full = OutOfMemory(FakeFamily.decode, 0)
    driver = EngineDriver(fake_model("one", family=Tight()), *([fake_model("idle")] if idle else []))
    driver.submit("a", request(model="one", steps=2, count=2))
    driver.ticks(2)  # both rows took their last step, and one of them was decoded
    full.left = 1
    driver.engine.inbox.put(Pause(job="a", attempt=1))
    driver.finish("a")
    assert driver.cache.get("one") is not None and driver.cache.get("idle") is None
    if idle:
        assert isinstance(driver.last("a"), Done), "the idle model went, and then there was room"
    else:
        assert driver.failure("a").kind is FailureKind.OUT_OF_MEMORY


def test_an_upscale_says_what_it_has_cost_so_far_tile_by_tile(
    complete: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    enlarge_in_small_tiles(monkeypatch)
    driver = EngineDriver(complete)
    driver.watch_closely()
    driver.submit("a", request(upscale=Upscale(factor=2), **LARGER), source=SOURCE)
    driver.finish("a")
    said = [event.gpu_ms for event in driver.of("a") if isinstance(event, Progress)]
    assert len(said) >= 5
    assert said == sorted(said) and said[0] < said[-1]


def test_a_model_that_decodes_in_small_tiles_already_has_none_smaller(
    loaded: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = loaded.family.parts["vae"]
    for name in ("use_tiling", "tile_sample_min_size", "tile_latent_min_size"):
        monkeypatch.setattr(vae, name, getattr(vae, name))  # as they are again afterwards
    assert enable_tiling(vae, 32) and not enable_tiling(vae, 64)


class FailedTries:
    """What tries that found no memory had in use, as far as it is still held."""

    def __init__(self) -> None:
        self.tries: list[weakref.ref[torch.Tensor]] = []

    def full(self) -> None:
        mine = torch.zeros(1000)
        self.tries.append(weakref.ref(mine))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def remaining(self) -> int:
        return sum(one() is not None for one in self.tries)


@pytest.fixture
def failed_tries() -> Iterator[FailedTries]:
    """Nothing collects circles meanwhile: nobody knows when that happens."""
    gc.disable()
    yield FailedTries()
    gc.enable()


def test_what_a_decode_had_in_memory_is_given_back_before_tiles_are_tried(
    loaded: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch, failed_tries: FailedTries
) -> None:
    vae, decode = loaded.family.parts["vae"], loaded.family.decode
    for name in ("use_tiling", "tile_sample_min_size", "tile_latent_min_size"):
        monkeypatch.setattr(vae, name, getattr(vae, name))  # as they are again afterwards
    monkeypatch.setattr(vae, "use_tiling", False)
    remaining = []

    def tight(latents: torch.Tensor) -> torch.Tensor:
        remaining.append(failed_tries.remaining())
        if len(remaining) < 3:
            failed_tries.full()
        return decode(latents)

    driver = EngineDriver(loaded)
    monkeypatch.setattr(loaded.family, "decode", tight, raising=False)
    assert driver.render(request(steps=2, count=1))
    assert len(remaining) == 3 and not any(remaining)


def test_what_a_pipeline_had_in_memory_is_given_back_before_it_is_tried_again(failed_tries: FailedTries) -> None:
    class Tight:
        def __call__(self, *, callback_on_step_end: Any) -> Any:
            failed_tries.full()

    run = PipelineRun(Tight(), [{}], 2, lambda latents: None, largest_batch=1)
    try:
        run.advance()
    except torch.OutOfMemoryError:
        run.close()
    assert failed_tries.tries and not failed_tries.remaining()
