"""Where old and new meet, nobody sees it: steps across the old picture's rim are no greater than steps beside it."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from core.canvas import Direction, pan, square, zoom_out
from core.edits import ANEW, ONWARD
from core.job import Canvas, Input, Role
from tests.worker.edits.drawing import BOAT, EditDriver, edit_request, red
from worker.checkpoints import LoadedCheckpoint
from worker.edits.color_match import match_colors
from worker.edits.masks import OVERLAP, feathered, paste, within
from worker.families.latent_preview import synthetic_fields
from worker.interfaces import Pixels
from worker.vision import Companions

NIGHT = "a yellow star in the desert at night"
Size = tuple[int, int]
Floats = NDArray[np.float64]

#: How much greater a step across the rim may be than one beside it: by half, and by one of 255.
SHARE, MORE = 1.5, 1.0

KINDS = {
    "zoom out 1.5": zoom_out((256, 256), 1.5), "zoom out 2": zoom_out((256, 256), 2.0),
    "make square": square((192, 256), multiple=32, most=1 << 20),
    **{f"pan {way}": pan((256, 256), way, multiple=32, most=1 << 20) for way in Direction},
}  # fmt: skip


@pytest.fixture(scope="module")
def driver(postcard: LoadedCheckpoint) -> EditDriver:
    """The shipped model without its companions."""
    return EditDriver(postcard, Companions())


@pytest.fixture(scope="module")
def parents(driver: EditDriver) -> dict[str, Pixels]:
    """A picture of each scene."""
    return {words: driver.draw(edit_request(prompt=words))[0] for words in (BOAT, NIGHT)}


def widened(driver: EditDriver, parent: Pixels, words: str, kind: str, strength: float) -> Pixels:
    """The parent, or its middle where it is to be made square, on wider canvas."""
    size, canvas = KINDS[kind]
    source = parent[:, 32:224] if kind == "make square" else parent
    return driver.draw(
        edit_request(prompt=words, width=size[0], height=size[1], canvas=canvas, seed=51, strength=strength), source
    )[0]


def across(picture: Pixels, canvas: Canvas) -> Iterator[tuple[Floats, int, int]]:
    """For each open side the strip with the old picture on its left, where that begins in it, and where it ends."""
    rows, columns = slice(canvas.top, canvas.top + canvas.height), slice(canvas.left, canvas.left + canvas.width)
    height, width = picture.shape[:2]
    if columns.stop < width:
        yield picture[rows].astype(float), columns.start, columns.stop
    if columns.start > 0:
        yield picture[rows, ::-1].astype(float), width - columns.stop, width - columns.start
    if rows.stop < height:
        yield picture[:, columns].transpose(1, 0, 2).astype(float), rows.start, rows.stop
    if rows.start > 0:
        yield picture[::-1, columns].transpose(1, 0, 2).astype(float), height - rows.stop, height - rows.start


def steps(picture: Pixels, canvas: Canvas) -> tuple[float, float]:
    """How far colours change over the rim, and over as many pixels beside it, in the old part and in the new one.

    A feathered seam is no jump from one pixel to the next, so a step is as long as the rim is wide. Eight pixels beside
    each other count as one, and of all places along a side the median: what is measured are tints, not things.
    """
    rim = round(min(canvas.width, canvas.height) * OVERLAP) + 6
    found = []
    for strip, begin, end in across(picture, canvas):
        cells = strip[: len(strip) // 8 * 8].reshape(-1, 8, *strip.shape[1:]).mean(axis=1)
        jumps = np.median(np.abs(cells[:, rim:] - cells[:, :-rim]).mean(axis=2), axis=0)
        start = end - rim + 3
        beside = [*jumps[max(begin, start - 2 * rim) : max(begin, start - rim) + 1], *jumps[end : end + 2 * rim]]
        found.append((jumps[start], np.mean(beside)))
    over, usual = np.mean(found, axis=0)
    return float(over), float(usual)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rim_of_the_old_picture_cannot_be_seen(driver: EditDriver, parents: dict[str, Pixels], kind: str) -> None:
    for words, parent in parents.items():
        over, usual = steps(widened(driver, parent, words, kind, ONWARD), KINDS[kind][1])
        assert over <= SHARE * usual + MORE, (words, over, usual)


def test_nor_where_the_model_makes_new_canvas_from_noise_alone(driver: EditDriver, parents: dict[str, Pixels]) -> None:
    for words, parent in parents.items():
        over, usual = steps(widened(driver, parent, words, "pan up", ANEW), KINDS["pan up"][1])
        assert over <= SHARE * usual + MORE, (words, over, usual)


def test_new_canvas_that_goes_on_shows_no_second_boat(driver: EditDriver, parents: dict[str, Pixels]) -> None:
    for kind in ("zoom out 2", "pan right"):
        size, canvas = KINDS[kind]
        out = widened(driver, parents[BOAT], BOAT, kind, ONWARD)
        new = within(np.ones((size[1], size[0]), dtype=np.float32), canvas) == 0
        assert red(out[new][None]) < 0.001


def test_a_region_of_a_picture_whose_colours_the_model_cannot_meet_has_none_either(driver: EditDriver) -> None:
    source = synthetic_fields(np.random.default_rng(1), 5, 256)[4]  # nothing that it was trained on
    mask = np.zeros((256, 256), dtype=np.uint8)
    mask[:, 128:] = 255
    order = driver.order(edit_request(prompt="", steps=4, inputs=(Input(role=Role.MASK, of="mask"),)), source, (mask,))
    prepared = driver.prepare(order)
    # The model's own idea of the whole picture, as if it had made anew what was there.
    made = np.clip(source + np.array([24, -16, 12]), 0, 255).astype(np.uint8)
    finished = prepared.finish(0, made)
    assert finished is not None
    near = np.abs(finished[:, 144:152].astype(int) - source[:, 144:152]).mean()
    plain = np.abs(paste(source, made, feathered(mask, 16))[:, 144:152].astype(int) - source[:, 144:152]).mean()
    assert near < plain / 3, "near the seam it has the picture's tint"
    assert np.array_equal(finished[:, :128], source[:, :128])


def fields(seed: int, side: int = 128) -> Pixels:
    """Soft colours, away from black and white."""
    return (synthetic_fields(np.random.default_rng(seed), 1, side)[0] // 2 + 64).astype(np.uint8)


def known(side: int = 128) -> NDArray[np.float32]:
    """The old part is the left half; its last twelve columns can be compared."""
    found = np.zeros((side, side), dtype=np.float32)
    found[:, side // 2 - 12 : side // 2] = 1
    return found


def test_another_tint_is_led_back_at_the_rim_and_stays_far_from_it() -> None:
    old, tint = fields(1), np.array([20, -12, 8])
    new = (old + tint).astype(np.uint8)
    left = np.abs(match_colors(old, new, known()) - old).mean(axis=(0, 2))
    assert left[60:66].max() < 2, "of 13 that it was off by"
    assert left[64:].max() < 14 and (np.diff(left[66:]) > -0.5).all(), "it fades"
    assert left[127] > 6


def test_another_thing_is_no_tint() -> None:
    old = np.full((128, 128, 3), 60, dtype=np.uint8)
    new = old.copy()
    new[48:80, 40:100] = (230, 40, 40)
    assert np.abs(match_colors(old, new, known()) - new).max() < 17, "a tenth of what it differs by"
    assert np.abs(match_colors(old, 255 - old, known()) - (255 - old.astype(int))).max() < 6, (
        "day stays day beside night"
    )


def test_where_nothing_can_be_compared_nothing_is_tinted() -> None:
    old, new = fields(1), fields(2)
    assert np.array_equal(match_colors(old, new, np.zeros((128, 128), dtype=np.float32)), new)


@pytest.mark.parametrize("size", [(5, 3), (33, 70), (250, 187)])
def test_pictures_of_any_size_are_matched(size: Size) -> None:
    old = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
    half = np.zeros((size[1], size[0]), dtype=np.float32)
    half[:, : size[0] // 2] = 1
    out = match_colors(old, old + 10, half)
    assert out.shape == old.shape
    assert np.abs(out - old)[:, : size[0] // 2].mean() < 3
