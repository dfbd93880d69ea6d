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
from tests.worker.edits.drawing import Easel
from tests.worker.engine_driver import Bed, pixels, request
from tests.worker.faulty_family import Faulty, faulty
from worker.checkpoints.loader import Loaded, furnish, load
from worker.device import choose
from worker.engine.image_encoding import png
from worker.vision.companion_paths import Places

SOURCE = png(np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8))
LARGER = {"width": 128, "height": 128, "count": 1}


@pytest.fixture(scope="module")
def furnished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The tiny model with everything beside it."""
    root = tmp_path_factory.mktemp("companions")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    places = Places(
        adapter=str(make_adapter(root / "ip_adapter", unet)), upscaler=str(make_upscaler(root / "upscaler")),
        classifier=str(make_classifier(root / "vision")),
    )  # fmt: skip
    device = choose("cpu", "float32", 0)
    return furnish(load(str(folder), device), places, device)


def enlarge_in_small_tiles(model: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine of them for a picture of 64 × 64, so that an upscale is many pieces."""
    upscaler = model.tools.upscaler
    assert upscaler is not None
    whole = upscaler.enlarge
    monkeypatch.setattr(upscaler, "enlarge", lambda pixels, factor: whole(pixels, factor, side=32, overlap=16))


def test_a_model_says_what_its_companions_add(loaded: Loaded, furnished: Loaded) -> None:
    added = set(furnished.info.edits) - set(loaded.info.edits)
    assert added == {"image_prompt", "style", "character", "upscale", "describe"}
    assert furnished.memory_mb >= loaded.memory_mb


def test_a_checkpoints_own_folder_may_hold_its_companions(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "tiny")
    make_upscaler(tmp_path / "tiny" / "upscaler")
    found = load(str(tmp_path / "tiny"), choose("cpu", "float32", 0))
    assert found.tools.upscaler is not None
    assert "upscale" in found.info.edits


def test_a_description_ends_in_words(furnished: Loaded) -> None:
    bed = Bed(furnished)
    assert bed.render(request(), kind=Kind.DESCRIBE, source=SOURCE) == []
    said = [event for event in bed.of("a") if not isinstance(event, Progress)]
    assert [type(event) for event in said] == [Started, Described, Done]
    assert len(said[1].words) == 4
    assert said[2].gpu_ms == bed.engine._meter.busy_ms - bed.house_ms()


def test_a_subtle_upscale_takes_no_step(furnished: Loaded) -> None:
    wrapped = faulty(furnished)
    bed = Bed(wrapped)
    picture = bed.render(request(upscale=Upscale(factor=2), **LARGER), source=SOURCE)[0]
    assert pixels(picture).shape == (128, 128, 3)
    assert isinstance(wrapped.family, Faulty) and wrapped.family.forwards == []


def test_nobodys_step_waits_for_more_than_one_piece_of_an_upscale(
    furnished: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    enlarge_in_small_tiles(furnished, monkeypatch)
    bed = Bed(furnished)
    bed.submit("quick", request(steps=6, count=1))
    bed.ticks(1)
    bed.submit("large", request(upscale=Upscale(factor=2), **LARGER), source=SOURCE)
    bed.finish("quick")
    assert bed.last("large") is None, "nine tiles take longer than five steps"
    bed.finish("large")
    assert len(bed.pictures("large")) == 1


def test_the_tiles_of_a_creative_upscale_share_forwards_with_a_grid(furnished: Loaded) -> None:
    wrapped = faulty(furnished)
    assert isinstance(wrapped.family, Faulty)
    bed = Bed(wrapped, rows=32)
    bed.submit("grid", request(count=2, steps=40))
    bed.ticks(1)
    fine = request(upscale=Upscale(factor=2, creative=True), strength=0.5, steps=4, guidance=3.0, **LARGER)
    bed.submit("fine", fine, source=SOURCE)
    bed.finish("grid", "fine")
    assert set(wrapped.family.forwards) == {4, 4 + 2 * 9}
    assert pixels(bed.pictures("fine")[0]).shape == (128, 128, 3)
    assert [type(event) for event in bed.of("fine") if isinstance(event, Picture)] == [Picture]
    assert not bed.previews("fine"), "nobody wants to see tiles"


@pytest.mark.parametrize("sampler", ["euler_a", "dpmpp_2m"])
def test_the_loop_draws_what_the_edit_alone_draws(furnished: Loaded, sampler: str) -> None:
    fine = request(upscale=Upscale(factor=2, creative=True), strength=0.5, steps=4, sampler=sampler, **LARGER)
    expected = Easel(furnished).draw(fine, pixels(SOURCE).astype(np.uint8))[0]
    found = pixels(Bed(furnished).render(fine, source=SOURCE)[0])
    assert np.abs(found - expected).max() <= 2, "eight rows a forward, and nine"


def test_rows_with_pictures_share_forwards_with_others_of_as_many_only(furnished: Loaded) -> None:
    wrapped = faulty(furnished)
    assert isinstance(wrapped.family, Faulty)
    bed = Bed(wrapped)
    one = request(count=1, inputs=(Input(role=Role.PROMPT, of="a/0"),))
    bed.submit("words", request(count=1))
    bed.submit("prompt", one, pictures=(SOURCE,))
    bed.submit("style", replace(one, inputs=(Input(role=Role.STYLE, of="a/0", weight=0.5),)), pictures=(SOURCE,))
    bed.finish("words", "prompt", "style")
    assert set(wrapped.family.forwards) == {2, 4}
    together = bed.pictures("prompt")[0]
    assert np.abs(pixels(together) - pixels(Bed(furnished).render(one, pictures=(SOURCE,))[0])).max() <= 1
    assert np.abs(pixels(together) - pixels(bed.pictures("words")[0])).max() > 2, "and the picture is heard"


def test_what_cannot_be_is_told_and_harms_nobody(furnished: Loaded) -> None:
    bed = Bed(furnished)
    bed.submit("good", request(count=1))
    bed.submit("bad", request(count=1, strength=0.5), source=b"nothing")
    bed.finish("good", "bad")
    failure = bed.failure("bad")
    assert failure.kind is FailureKind.INVALID and "cannot be read" in failure.sentence
    assert isinstance(bed.last("good"), Done)
