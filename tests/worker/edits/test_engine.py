"""Edits in the loop: they come in pieces between everybody's steps, and their rows share forwards like any others."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.events import Described, Done, FailureKind, Picture, Progress, Started
from core.job import Input, Kind, Role, Upscale
from tests.worker.companions import LARGER, SOURCE, enlarge_in_small_tiles, make_upscaler
from tests.worker.edits.drawing import EditDriver
from tests.worker.engine_driver import EngineDriver, pixels, request
from tests.worker.faulty_family import FaultyFamily, faulty
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device


def test_a_model_says_what_its_companions_add(loaded: LoadedCheckpoint, complete: LoadedCheckpoint) -> None:
    added = set(complete.info.edits) - set(loaded.info.edits)
    assert added == {"image_prompt", "style", "character", "upscale", "describe"}


def test_a_checkpoints_own_folder_may_hold_its_companions(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "tiny")
    make_upscaler(tmp_path / "tiny" / "upscaler")
    found = load(str(tmp_path / "tiny"), choose_device("cpu", "float32", 0))
    assert "upscale" in found.info.edits


def test_a_description_ends_in_words(complete: LoadedCheckpoint) -> None:
    driver = EngineDriver(complete)
    assert driver.render(request(), kind=Kind.DESCRIBE, source=SOURCE) == []
    said = [event for event in driver.of("a") if not isinstance(event, Progress)]
    assert [type(event) for event in said] == [Started, Described, Done]
    assert len(said[1].words) == 4
    assert said[2].gpu_ms == driver.engine._meter.busy_ms - driver.overhead_ms()


def test_a_subtle_upscale_takes_no_step(complete: LoadedCheckpoint) -> None:
    wrapped = faulty(complete)
    driver = EngineDriver(wrapped)
    picture = driver.render(request(upscale=Upscale(factor=2), **LARGER), source=SOURCE)[0]
    assert pixels(picture).shape == (128, 128, 3)
    assert isinstance(wrapped.family, FaultyFamily) and wrapped.family.forwards == []


def test_nobodys_step_waits_for_more_than_one_piece_of_an_upscale(
    complete: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    enlarge_in_small_tiles(monkeypatch)
    driver = EngineDriver(complete)
    driver.submit("quick", request(steps=6, count=1))
    driver.ticks(1)
    driver.submit("large", request(upscale=Upscale(factor=2), **LARGER), source=SOURCE)
    driver.finish("quick")
    assert driver.last("large") is None, "nine tiles take longer than five steps"
    driver.finish("large")
    assert len(driver.pictures("large")) == 1


def test_the_tiles_of_a_creative_upscale_share_forwards_with_a_grid(complete: LoadedCheckpoint) -> None:
    wrapped = faulty(complete)
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
def test_the_loop_draws_what_the_edit_alone_draws(complete: LoadedCheckpoint, sampler: str) -> None:
    fine = request(upscale=Upscale(factor=2, creative=True), strength=0.5, steps=4, sampler=sampler, **LARGER)
    expected = EditDriver(complete).draw(fine, pixels(SOURCE).astype(np.uint8))[0]
    found = pixels(EngineDriver(complete).render(fine, source=SOURCE)[0])
    assert np.abs(found - expected).max() <= 2, "eight rows a forward, and nine"


def test_rows_with_pictures_share_forwards_with_others_of_as_many_only(
    complete: LoadedCheckpoint,
) -> None:
    wrapped = faulty(complete)
    assert isinstance(wrapped.family, FaultyFamily)
    driver = EngineDriver(wrapped)
    one = request(count=1, inputs=(Input(role=Role.PROMPT, of="a/0"),))
    driver.submit("words", request(count=1))
    driver.submit("prompt", one, pictures=(SOURCE,))
    driver.submit("style", replace(one, inputs=(Input(role=Role.STYLE, of="a/0", weight=0.5),)), pictures=(SOURCE,))
    driver.finish("words", "prompt", "style")
    assert set(wrapped.family.forwards) == {2, 4}
    together = driver.pictures("prompt")[0]
    assert np.abs(pixels(together) - pixels(EngineDriver(complete).render(one, pictures=(SOURCE,))[0])).max() <= 1
    assert np.abs(pixels(together) - pixels(driver.pictures("words")[0])).max() > 2, "and the picture is heard"


def test_what_cannot_be_is_told_and_harms_nobody(complete: LoadedCheckpoint) -> None:
    driver = EngineDriver(complete)
    driver.submit("good", request(count=1))
    driver.submit("bad", request(count=1, strength=0.5), source=b"nothing")
    driver.finish("good", "bad")
    failure = driver.failure("bad")
    assert failure.kind is FailureKind.INVALID and "cannot be read" in failure.sentence
    assert isinstance(driver.last("good"), Done)
