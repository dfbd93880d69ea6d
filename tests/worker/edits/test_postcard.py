"""Edits mean what they say, on the shipped model: pictures are looked at, not only compared.

A picture's colours are measured; what it shows is the business of test_edits_companions.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from core.canvas import Direction, pan, square, zoom_out
from core.edits import CREATIVE, STRONG, SUBTLE
from core.job import Canvas, HouseStyle, Input, Role, Upscale
from tests.worker.edits.drawing import EditDriver, apart, edit_request, red, yellow
from tests.worker.engine_driver import EngineDriver, pixels
from worker.checkpoints import LoadedCheckpoint
from worker.edits.masks import OVERLAP
from worker.interfaces import Pixels
from worker.vision import Companions


@pytest.fixture(scope="module")
def driver(postcard: LoadedCheckpoint) -> EditDriver:
    """The shipped model without its companions."""
    return EditDriver(postcard, Companions())


@pytest.fixture(scope="module")
def parent(driver: EditDriver) -> Pixels:
    """A red boat."""
    return driver.draw(edit_request())[0]


def test_a_variation_of_a_red_boat_is_a_red_boat_and_a_strong_one_differs_more(
    driver: EditDriver, parent: Pixels
) -> None:
    subtle, strong = (driver.draw(edit_request(strength=share, seed=50, count=2), parent) for share in (SUBTLE, STRONG))
    assert all(0.5 * red(parent) < red(picture) < 2 * red(parent) for picture in (*subtle, *strong))
    far = {
        name: float(np.mean([apart(one, parent) for one in found])) for name, found in (("s", subtle), ("S", strong))
    }
    assert 3 < far["s"] < far["S"] / 1.3, far


@pytest.mark.parametrize(("steps", "sampler"), [(1, "euler"), (2, "euler"), (2, "lcm")])
def test_a_variation_in_very_few_steps_still_knows_its_parent(
    driver: EditDriver, parent: Pixels, steps: int, sampler: str
) -> None:
    near, other = (
        driver.draw(edit_request(strength=STRONG, seed=50, steps=steps, sampler=sampler), source)[0]
        for source in (parent, 255 - parent)
    )
    assert apart(near, other) > 8, "another parent makes another picture"
    assert apart(near, parent) < apart(other, parent)


def test_outside_the_mask_nothing_changes_and_inside_is_what_was_asked(driver: EditDriver, parent: Pixels) -> None:
    mask = np.zeros((256, 256), dtype=np.uint8)
    mask[50:210, 40:220] = 255
    star = edit_request(
        prompt="a yellow star on the sea on a sunny day", seed=60, inputs=(Input(role=Role.MASK, of="mask"),)
    )
    for sampler in ("euler", "euler_a"):
        out = driver.draw(replace(star, sampler=sampler), parent, (mask,))[0]
        assert np.array_equal(out[mask == 0], parent[mask == 0]), "the largest difference is 0"
        assert yellow(out) > 0.06 > yellow(parent)
        assert red(out) < 0.2 * red(parent)


@pytest.mark.parametrize(
    "area", [(slice(100, 122), slice(100, 122)), (slice(100, 106), slice(None))], ids=["spot", "stripe"]
)
def test_a_small_region_is_made_anew_too(driver: EditDriver, parent: Pixels, area: tuple[slice, slice]) -> None:
    mask = np.zeros((256, 256), dtype=np.uint8)
    mask[area] = 255
    star = edit_request(
        prompt="a yellow star in the desert at night", seed=60, inputs=(Input(role=Role.MASK, of="mask"),)
    )
    out = driver.draw(replace(star, steps=6), parent, (mask,))[0]
    assert np.array_equal(out[mask == 0], parent[mask == 0]), "the largest difference is 0"
    assert apart(out[mask == 255], parent[mask == 255]) > 4


@pytest.mark.parametrize("direction", Direction)
def test_a_panned_picture_keeps_the_old_part_in_place(driver: EditDriver, parent: Pixels, direction: Direction) -> None:
    size, canvas = pan((256, 256), direction, multiple=32, most=1 << 20)
    out = driver.draw(edit_request(width=size[0], height=size[1], canvas=canvas, seed=51, steps=6), parent)[0]
    old = out[canvas.top : canvas.top + 256, canvas.left : canvas.left + 256]
    reach = round(256 * OVERLAP)
    changed = np.abs(old.astype(int) - parent).max(axis=2) > 0
    inner = {
        Direction.RIGHT: changed[:, :-reach], Direction.LEFT: changed[:, reach:],
        Direction.UP: changed[reach:], Direction.DOWN: changed[:-reach],
    }[direction]  # fmt: skip
    assert not inner.any(), "the largest difference is 0"
    assert changed.any(), "only the rim at the new part is redrawn"


def test_new_canvas_goes_on_with_sky_and_sea(driver: EditDriver, parent: Pixels) -> None:
    size, canvas = pan((256, 256), Direction.RIGHT, multiple=32, most=1 << 20)
    out = driver.draw(edit_request(width=size[0], height=size[1], canvas=canvas, seed=51), parent)[0].astype(int)
    for rows in (slice(0, 40), slice(216, 256)):
        old, new = out[rows, :256].reshape(-1, 3), out[rows, 288:].reshape(-1, 3)
        assert np.abs(np.median(old, axis=0) - np.median(new, axis=0)).max() < 32


def test_a_zoom_and_a_square_keep_what_they_surround(driver: EditDriver, parent: Pixels) -> None:
    tall = parent[:, 32:224]
    for source, (size, canvas) in (
        (parent, zoom_out((256, 256), 1.5)),
        (tall, square((192, 256), multiple=32, most=1 << 20)),
    ):
        out = driver.draw(edit_request(width=size[0], height=size[1], canvas=canvas, seed=52, steps=4), source)[0]
        assert out.shape == (size[1], size[0], 3)
        reach = round(min(canvas.width, canvas.height) * OVERLAP)
        inner = Canvas(
            left=reach, top=reach, width=canvas.width - 2 * reach, height=canvas.height - 2 * reach
        )  # fmt: skip
        laid = np.asarray(Image.fromarray(source).resize((canvas.width, canvas.height), Image.Resampling.LANCZOS))
        rows, columns = slice(inner.top, inner.top + inner.height), slice(inner.left, inner.left + inner.width)
        old = out[canvas.top : canvas.top + canvas.height, canvas.left : canvas.left + canvas.width]
        assert np.array_equal(old[rows, columns], laid[rows, columns])


def spread(pictures: list[Pixels]) -> float:
    """How far the pictures of a job lie apart, in forms and colours."""
    small = [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BOX)).astype(float) for one in pictures]
    pairs = [np.abs(one - other).mean() for place, one in enumerate(small) for other in small[:place]]
    return float(np.mean(pairs))


def test_chaos_spreads_a_grid(driver: EditDriver) -> None:
    star = edit_request(prompt="a yellow star in the desert at night", steps=5, seed=9, count=4)
    grids = {chaos: driver.draw(replace(star, chaos=chaos)) for chaos in (0, 50, 100)}
    spreads = [spread(grid) for grid in grids.values()]
    assert spreads == sorted(spreads) and spreads[-1] > 1.15 * spreads[0], spreads
    assert all(yellow(picture) > 0.04 for picture in grids[50]), "what was asked for stays"


def test_a_chaotic_picture_is_decided_by_the_request_and_its_index(driver: EditDriver) -> None:
    grid = driver.draw(edit_request(steps=3, count=3, chaos=80))
    alone = driver.draw(edit_request(steps=3, count=3, chaos=80), indices=(2,))[0]
    assert np.abs(grid[2].astype(int) - alone).max() <= 1


def test_a_picture_that_stops_early_is_on_its_way(driver: EditDriver, parent: Pixels) -> None:
    left = [apart(driver.draw(edit_request(stop=stop))[0], parent) for stop in (20, 60, 100)]
    assert 40 > left[0] > 1.5 * left[1] > 0
    assert left[2] == 0


def test_the_house_styles_words_count_by_their_weight(driver: EditDriver) -> None:
    plain = edit_request(prompt="a boat on the sea", steps=6)
    warm = [
        red(driver.draw(replace(plain, house=HouseStyle(positive="red, at sunset", negative="blue", weight=weight)))[0])
        for weight in (0.0, 1.0)
    ]
    assert warm[1] > warm[0] + 0.05, warm
    same = driver.draw(replace(plain, house=HouseStyle(positive="at sunset", weight=0.0)))[0]
    assert np.array_equal(same, driver.draw(plain)[0])


def test_one_image_prompt_without_an_adapter_is_where_the_picture_starts(driver: EditDriver, parent: Pixels) -> None:
    seen = edit_request(prompt="a boat", seed=77, inputs=(Input(role=Role.PROMPT, of="a/0", weight=2.0),))
    near, far = driver.draw(seen, None, (parent,))[0], driver.draw(replace(seen, inputs=()))[0]
    assert apart(near, parent) < 0.6 * apart(far, parent)


def test_a_creative_upscale_keeps_the_picture_and_has_no_seams(driver: EditDriver, parent: Pixels) -> None:
    larger = edit_request(width=512, height=512, upscale=Upscale(factor=2, creative=True), strength=CREATIVE, seed=70)
    out = driver.draw(larger, parent)[0]
    plain = np.asarray(Image.fromarray(parent).resize((512, 512), Image.Resampling.LANCZOS))
    assert out.shape == (512, 512, 3)
    assert 0.8 < red(out) / red(plain) < 1.25
    assert 0.5 < apart(out, plain) < 8
    for lines in (seams(out, plain), seams(out.transpose(1, 0, 2), plain.transpose(1, 0, 2))):
        assert lines.max() < 2.3, lines.argmax()


def seams(drawn: Pixels, under: Pixels) -> NDArray[np.float64]:
    """How much more is changed between two columns than between their neighbours; a hard edge of two tiles is 4 to 12.

    A seam goes all the way down and things do not, so it is the median of a column that tells.
    """
    changed = np.abs(np.diff(drawn.astype(float) - under, axis=1)).mean(axis=2)
    steps = np.median(changed, axis=0)
    around = np.median(sliding_window_view(np.pad(steps, 8, mode="reflect"), 17), axis=1)
    return np.asarray(steps / (around + 0.2))


@pytest.mark.parametrize("edge", ["hard", "mean"])
def test_tiles_that_do_not_fade_would_be_seen(
    driver: EditDriver, parent: Pixels, edge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ramp(joiner: Any, length: int, at_start: bool, at_end: bool) -> NDArray[np.float32]:
        weight = np.ones(length, dtype=np.float32)
        beyond = joiner._margin + joiner._fade // 2 if edge == "hard" else 0
        weight[: 0 if at_start else beyond] = 0
        weight[length - (0 if at_end else beyond) :] = 0
        return weight

    monkeypatch.setattr("worker.vision.tiles.TileBlender._ramp", ramp)
    larger = edit_request(width=512, height=512, upscale=Upscale(factor=2, creative=True), strength=CREATIVE, seed=70)
    out = driver.draw(larger, parent)[0]
    plain = np.asarray(Image.fromarray(parent).resize((512, 512), Image.Resampling.LANCZOS))
    assert seams(out, plain).max() > 2.3, "in columns"
    assert seams(out.transpose(1, 0, 2), plain.transpose(1, 0, 2)).max() > 4, "and in rows"


def test_the_edges_of_a_tiled_picture_meet(postcard: LoadedCheckpoint) -> None:
    tiled, plain = (
        pixels(
            EngineDriver(postcard).render(edit_request(prompt="a red boat in a meadow at noon", tile=tile, steps=8))[0]
        )
        for tile in (True, False)
    )

    def gap(picture: np.ndarray) -> float:
        """How much more the picture changes across its left and right edge than anywhere inside."""
        across = np.abs(picture[:, 0] - picture[:, -1]).mean()
        return float(across / np.abs(np.diff(picture, axis=1)).mean(axis=(0, 2)).max())

    assert gap(tiled) < 1.0, "no more than between two columns inside"
    assert gap(plain) > gap(tiled)
