"""Edits in the loop: they come in pieces between everybody's steps, and their rows share forwards like any others."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import UNet2DConditionModel

from core.events import Described, Done, FailureKind, Picture, Progress, Started
from core.job import Input, Kind, Role, Upscale
from tests.worker.companions import make_adapter, make_classifier, make_upscaler
from tests.worker.edits.drawing import EditDriver
from tests.worker.engine_driver import EngineDriver, pixels, request
from tests.worker.faulty_family import FaultyFamily, faulty
from worker.checkpoints.loader import LoadedCheckpoint, add_companions, load
from worker.device import choose_device
from worker.engine.image_encoding import png
from worker.vision.companion_paths import CompanionPaths
from worker.vision.upscale import Upscaler

SOURCE = png(np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8))
LARGER = {"width": 128, "height": 128, "count": 1}


@pytest.fixture(scope="module")
def with_companions(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedCheckpoint:
    """The tiny model with everything beside it."""
    root = tmp_path_factory.mktemp("companions")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    places = CompanionPaths(
        adapter=str(make_adapter(root / "ip_adapter", unet)), upscaler=str(make_upscaler(root / "upscaler")),
        classifier=str(make_classifier(root / "vision")),
    )  # fmt: skip
    device = choose_device("cpu", "float32", 0)
    return add_companions(load(str(folder), device), places, device)


def enlarge_in_small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine of them for a picture of 64 × 64, so that an upscale is many pieces."""
    whole = Upscaler.enlarge
    small = lambda self, pixels, factor: whole(self, pixels, factor, side=32, overlap=16)  # noqa: E731
    monkeypatch.setattr(Upscaler, "enlarge", small)


def test_a_model_says_what_its_companions_add(loaded: LoadedCheckpoint, with_companions: LoadedCheckpoint) -> None:
    added = set(with_companions.info.edits) - set(loaded.info.edits)
    assert added == {"image_prompt", "style", "character", "upscale", "describe"}


def test_a_checkpoints_own_folder_may_hold_its_companions(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "tiny")
    make_upscaler(tmp_path / "tiny" / "upscaler")
    found = load(str(tmp_path / "tiny"), choose_device("cpu", "float32", 0))
    assert "upscale" in found.info.edits


def test_a_description_ends_in_words(with_companions: LoadedCheckpoint) -> None:
    driver = EngineDriver(with_companions)
    assert driver.render(request(), kind=Kind.DESCRIBE, source=SOURCE) == []
    said = [event for event in driver.of("a") if not isinstance(event, Progress)]
    assert [type(event) for event in said] == [Started, Described, Done]
    assert len(said[1].words) == 4
    assert said[2].gpu_ms == driver.engine._meter.busy_ms - driver.overhead_ms()


def test_a_subtle_upscale_takes_no_step(with_companions: LoadedCheckpoint) -> None:
    wrapped = faulty(with_companions)
    driver = EngineDriver(wrapped)
    picture = driver.render(request(upscale=Upscale(factor=2), **LARGER), source=SOURCE)[0]
    assert pixels(picture).shape == (128, 128, 3)
    assert isinstance(wrapped.family, FaultyFamily) and wrapped.family.forwards == []


def test_nobodys_step_waits_for_more_than_one_piece_of_an_upscale(
    with_companions: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    enlarge_in_small_tiles(monkeypatch)
    driver = EngineDriver(with_companions)
    driver.submit("quick", request(steps=6, count=1))
    driver.ticks(1)
    driver.submit("large", request(upscale=Upscale(factor=2), **LARGER), source=SOURCE)
    driver.finish("quick")
    assert driver.last("large") is None, "nine tiles take longer than five steps"
    driver.finish("large")
    assert len(driver.pictures("large")) == 1


def test_the_tiles_of_a_creative_upscale_share_forwards_with_a_grid(with_companions: LoadedCheckpoint) -> None:
    wrapped = faulty(with_companions)
    assert isinstance(wrapped.family, FaultyFamily)
    driver = EngineDriver(wrapped, rows=32)
    driver.submit("grid", request(count=2, steps=40))
    driver.ticks(1)
    fine = request(upscale=Upscale(factor=2, creative=True), strength=0.5, steps=4, guidance=3.0, **LARGER)
    driver.submit("fine", fine, source=SOURCE)
    driver.finish("grid", "fine")
    assert set(wrapped.family.forwards) == {4, 4 + 2 * 9}
    assert pixels(driver.pictures("fine")[0]).shape == (128, 128, 3)
    assert [type(event) for event in driver.of("fine") if isinstance(event, Picture)] == [Picture]
    assert not driver.previews("fine"), "nobody wants to see tiles"


@pytest.mark.parametrize("sampler", ["euler_a", "dpmpp_2m"])
def test_the_loop_draws_what_the_edit_alone_draws(with_companions: LoadedCheckpoint, sampler: str) -> None:
    fine = request(upscale=Upscale(factor=2, creative=True), strength=0.5, steps=4, sampler=sampler, **LARGER)
    expected = EditDriver(with_companions).draw(fine, pixels(SOURCE).astype(np.uint8))[0]
    found = pixels(EngineDriver(with_companions).render(fine, source=SOURCE)[0])
    assert np.abs(found - expected).max() <= 2, "eight rows a forward, and nine"


def test_rows_with_pictures_share_forwards_with_others_of_as_many_only(with_companions: LoadedCheckpoint) -> None:
    wrapped = faulty(with_companions)
    assert isinstance(wrapped.family, FaultyFamily)
    driver = EngineDriver(wrapped)
    one = request(count=1, inputs=(Input(role=Role.PROMPT, of="a/0"),))
    driver.submit("words", request(count=1))
    driver.submit("prompt", one, pictures=(SOURCE,))
    driver.submit("style", replace(one, inputs=(Input(role=Role.STYLE, of="a/0", weight=0.5),)), pictures=(SOURCE,))
    driver.finish("words", "prompt", "style")
    assert set(wrapped.family.forwards) == {2, 4}
    together = driver.pictures("prompt")[0]
    assert (
        np.abs(pixels(together) - pixels(EngineDriver(with_companions).render(one, pictures=(SOURCE,))[0])).max() <= 1
    )
    assert np.abs(pixels(together) - pixels(driver.pictures("words")[0])).max() > 2, "and the picture is heard"


def test_what_cannot_be_is_told_and_harms_nobody(with_companions: LoadedCheckpoint) -> None:
    driver = EngineDriver(with_companions)
    driver.submit("good", request(count=1))
    driver.submit("bad", request(count=1, strength=0.5), source=b"nothing")
    driver.finish("good", "bad")
    failure = driver.failure("bad")
    assert failure.kind is FailureKind.INVALID and "cannot be read" in failure.sentence
    assert isinstance(driver.last("good"), Done)
