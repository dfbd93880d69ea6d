"""Members' pictures have any size: what is made of one has exactly the size that was asked for, up to its edges."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.canvas import Direction, pan, zoom_out
from core.edits import CREATIVE, ONWARD, SUBTLE
from core.events import FailureKind
from core.job import Input, Kind, Request, Role, Upscale
from models.postcard.render import render
from models.postcard.world import Scene, Thing
from tests.worker.checkpoint_families import make_flux
from tests.worker.companions import make_upscaler
from tests.worker.edits.drawing import EditDriver, apart, edit_request, red
from tests.worker.engine_driver import EngineDriver, pixels
from worker.checkpoints import LoadedCheckpoint, load
from worker.checkpoints.loader import add_companions
from worker.device import choose_device
from worker.edits.padding import crop_to, pad_to, round_up_to_grid
from worker.engine.image_encoding import png
from worker.interfaces import Pixels
from worker.vision import CompanionPaths

WIDTH, HEIGHT = 250, 187


@pytest.fixture(scope="module")
def upload() -> Pixels:
    """A red boat of 250×187 pixels."""
    scene = Scene(things=(Thing("boat", "red"),), ground="sea", sky="day", size=(256, 192), seed=1)
    return np.asarray(render(scene))[:HEIGHT, :WIDTH]


def enlarged(factor: int, *, creative: bool, steps: int) -> Request:
    """An upscale of it."""
    return edit_request(
        width=WIDTH * factor, height=HEIGHT * factor, steps=steps, strength=CREATIVE if creative else 1.0,
        upscale=Upscale(factor=factor, creative=creative),
    )  # fmt: skip


def draw(model: LoadedCheckpoint, request: Request, source: Pixels, **more: object) -> Pixels:
    """Through the loop, which checks every number first."""
    return pixels(EngineDriver(model, rows=64).render(request, source=png(source), **more)[0]).astype(np.uint8)


@pytest.fixture(scope="module")
def tiny(loaded: LoadedCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> LoadedCheckpoint:
    """A model of random weights with such an upscaler."""
    folder = make_upscaler(tmp_path_factory.mktemp("upscaler"))
    return add_companions(loaded, CompanionPaths(upscaler=str(folder)), choose_device("cpu", "float32", 0))


@pytest.mark.parametrize("creative", [False, True], ids=["subtle", "creative"])
@pytest.mark.parametrize("factor", [2, 4])
def test_an_upscale_is_larger_by_its_factor_to_the_pixel(
    tiny: LoadedCheckpoint, upload: Pixels, factor: int, creative: bool
) -> None:
    width, height = WIDTH // factor, HEIGHT // factor
    request = replace(enlarged(factor, creative=creative, steps=1), width=width * factor, height=height * factor)
    out = draw(tiny, request, np.ascontiguousarray(upload[:height, :width]))
    assert out.shape == (height * factor, width * factor, 3)


@pytest.mark.parametrize("creative", [False, True], ids=["subtle", "creative"])
def test_an_upscale_shows_the_picture_up_to_its_edges(
    postcard: LoadedCheckpoint, upload: Pixels, creative: bool
) -> None:
    out = draw(postcard, enlarged(2, creative=creative, steps=4), upload)
    assert out.shape == (374, 500, 3)
    off = np.abs(out.astype(int) - np.asarray(Image.fromarray(upload).resize((500, 374), Image.Resampling.LANCZOS)))
    assert off.mean() < 6
    assert max(off[:, -8:].mean(), off[-8:].mean()) < 2 * off.mean() + 1


def test_a_variation_keeps_the_pictures_size(postcard: LoadedCheckpoint, upload: Pixels) -> None:
    out = draw(postcard, edit_request(width=WIDTH, height=HEIGHT, strength=SUBTLE, seed=50, steps=8), upload)
    assert out.shape == upload.shape
    assert 0.5 < red(out) / red(upload) < 2
    assert apart(out[-8:], upload[-8:]) < 40


def test_a_region_changes_nothing_outside_it_whatever_the_pictures_size(
    postcard: LoadedCheckpoint, upload: Pixels
) -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[90:, 120:] = 255  # up to two edges
    region = edit_request(width=WIDTH, height=HEIGHT, steps=6, inputs=(Input(role=Role.MASK, of="mask"),))
    out = draw(postcard, region, upload, pictures=(png(np.repeat(mask[..., None], 3, axis=2)),))
    assert np.array_equal(out[mask == 0], upload[mask == 0]), "the largest difference is 0"
    assert apart(out[mask == 255][None], upload[mask == 255][None]) > 1


def test_a_zoom_and_a_pan_take_the_pictures_own_size(postcard: LoadedCheckpoint, upload: Pixels) -> None:
    size, canvas = zoom_out((WIDTH, HEIGHT), 1.5)
    out = draw(postcard, edit_request(width=size[0], height=size[1], canvas=canvas, strength=ONWARD, steps=4), upload)
    assert out.shape == upload.shape
    size, canvas = pan((WIDTH, HEIGHT), Direction.LEFT, multiple=1, most=1 << 20)
    assert size == (375, HEIGHT)
    out = draw(postcard, edit_request(width=375, height=HEIGHT, canvas=canvas, strength=ONWARD, steps=4), upload)
    assert out.shape == (HEIGHT, 375, 3)
    assert np.array_equal(out[:, -200:], upload[:, -200:]), "off the model's grid nothing has to be shrunk"


def test_so_it_is_with_a_transformer_that_looks_at_patches(tmp_path: Path) -> None:
    flux = load(str(make_flux(tmp_path / "flux", guided=False)), choose_device("cpu", "float32", 0))
    source = np.random.default_rng(1).integers(0, 256, (40, 72, 3), dtype=np.uint8)  # whole latents, but half patches
    plain = edit_request(width=72, height=40, steps=2, strength=0.5, sampler="flow_euler")
    assert draw(flux, plain, source).shape == source.shape
    fine = replace(plain, width=144, height=80, upscale=Upscale(factor=2, creative=True))
    assert draw(flux, fine, source).shape == (80, 144, 3)


def test_words_alone_and_edges_that_meet_still_need_whole_latents(loaded: LoadedCheckpoint) -> None:
    driver = EngineDriver(loaded)
    odd = replace(edit_request(steps=2), width=60, height=64)
    driver.submit("words", odd)
    driver.submit("tile", replace(odd, tile=True, strength=0.5), source=png(np.zeros((64, 60, 3), dtype=np.uint8)))
    driver.finish("words", "tile")
    for job in ("words", "tile"):
        assert driver.failure(job).kind is FailureKind.INVALID
        assert "both sides must be multiples of 8" in driver.failure(job).sentence
    assert pixels(driver.render(replace(odd, width=72, height=88))[0]).shape == (88, 72, 3), "more they need not be"


def test_edges_that_meet_are_drawn_as_large_as_they_are(loaded: LoadedCheckpoint) -> None:
    source = np.random.default_rng(1).integers(0, 256, (72, 88, 3), dtype=np.uint8)
    odd = edit_request(width=88, height=72, steps=1, strength=0.5)
    sizes = {
        tile: EditDriver(loaded).prepare(EditDriver(loaded).order(replace(odd, tile=tile), source)).starts[0].size
        for tile in (True, False)
    }
    assert sizes == {True: (88, 72), False: (96, 80)}, "of what is cut off the new edge would not meet the other one"


def test_a_transformer_refuses_words_for_half_a_patch_before_its_first_step(tmp_path: Path) -> None:
    driver = EngineDriver(load(str(make_flux(tmp_path / "flux", guided=False)), choose_device("cpu", "float32", 0)))
    driver.submit("words", edit_request(width=72, height=40, steps=1, sampler="flow_euler"))
    driver.finish("words")
    assert driver.failure("words").kind is FailureKind.INVALID
    assert "both sides must be multiples of 16 pixels" in driver.failure("words").sentence


def test_an_upscale_to_more_pixels_than_can_be_held_is_refused(
    loaded: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.edits.inputs.MAX_PIXELS", 100 * 100)
    driver = EngineDriver(loaded)
    larger = replace(edit_request(), width=120, height=120, upscale=Upscale(factor=2, creative=True), strength=CREATIVE)
    driver.submit("large", larger, source=png(np.zeros((60, 60, 3), dtype=np.uint8)), kind=Kind.UPSCALE)
    driver.finish("large")
    assert "120×120 are too many pixels" in driver.failure("large").sentence


@pytest.mark.parametrize("size", [(250, 187), (256, 192), (1, 1), (17, 300)])
def test_what_was_filled_up_is_cut_back_to_what_it_was(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    larger = round_up_to_grid(size, 16)
    assert larger[0] % 16 == larger[1] % 16 == 0
    assert larger[0] - size[0] < 16 and larger[1] - size[1] < 16
    full = pad_to(picture, larger)
    assert full.shape == (larger[1], larger[0], 3)
    assert np.array_equal(crop_to(full, size), picture)
    assert np.array_equal(pad_to(picture[..., 0], larger), full[..., 0]), "masks too"
