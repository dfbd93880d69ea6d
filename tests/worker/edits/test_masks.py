"""Masks and canvas as pixels: the outside stays to the last bit, seams are soft, new canvas has fitting colours."""

import numpy as np
import pytest

from core.job import Canvas
from worker.edits.masks import extend_canvas, feather_of, feathered, for_latents, paste

WHITE, BLACK = 255, 0


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture of nothing."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(height: int, width: int, top: int, left: int, down: int, across: int) -> np.ndarray:
    """A mask with a white rectangle."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top : top + down, left : left + across] = WHITE
    return mask


def test_nothing_changes_outside_the_mask_and_everything_deep_inside_it() -> None:
    old, new, mask = noise(64, 96), noise(64, 96, 1), box(64, 96, 10, 20, 40, 50)
    out = paste(old, new, feathered(mask, 6))
    assert np.array_equal(out[mask == BLACK], old[mask == BLACK])
    assert np.array_equal(out[17:43, 27:63], new[17:43, 27:63])


def test_a_masks_seam_rises_softly_within_it() -> None:
    weights = feathered(box(64, 64, 16, 16, 32, 32), 6)
    steps = np.diff(weights[32, 15:32])
    assert weights[32, 15] == 0 and weights[32, 28] == 1
    assert (steps >= 0).all() and steps.max() < 0.25


def test_a_mask_up_to_the_border_has_no_seam_there() -> None:
    weights = feathered(box(64, 64, 0, 0, 64, 32), 6)
    assert (weights[:, :24] == 1).all()


def test_grey_is_as_much_as_grey_and_never_more() -> None:
    mask = np.full((32, 32), 128, dtype=np.uint8)
    assert feathered(mask, 4) == pytest.approx(128 / 255)


@pytest.mark.parametrize("side", [128, 256, 512])
@pytest.mark.parametrize("shape", ["spot", "stripe"])
def test_a_place_narrower_than_the_feather_is_anew_in_its_middle_and_still_softly(side: int, shape: str) -> None:
    thick, feather = side // 40, feather_of((side, side))
    length = thick if shape == "spot" else side
    mask = box(side, side, side // 3, (side - length) // 2, thick, length)
    weights = feathered(mask, feather)
    across = weights[side // 3 : side // 3 + thick, (side - length) // 2 + length // 2]
    assert across.max() == across[thick // 2] == 1 > 2 * across[0]
    assert (weights[mask == BLACK] == 0).all()


def test_a_spot_beside_a_large_region_has_a_seam_of_its_own() -> None:
    large, spot = box(96, 96, 8, 8, 80, 60), box(96, 96, 40, 70, 5, 5)
    assert np.array_equal(feathered(large | spot, 12), np.maximum(feathered(large, 12), feathered(spot, 12)))


def test_a_latent_is_as_much_anew_as_its_whitest_pixel() -> None:
    mask = np.zeros((16, 24), dtype=np.uint8)
    mask[9, 3], mask[0, 20] = 255, 51
    expected = [[0, 0, 0.2], [1, 0, 0]]
    assert for_latents(mask, 8)[0].numpy() == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    "canvas",
    [
        Canvas(left=0, top=0, width=64, height=64),  # pan right
        Canvas(left=32, top=0, width=64, height=64),  # pan left
        Canvas(left=24, top=16, width=48, height=32),  # zoom out
    ],
)
def test_the_old_picture_lies_in_its_place_and_its_rim_alone_is_redrawn(canvas: Canvas) -> None:
    source = noise(canvas.height, canvas.width)
    laid, mask = extend_canvas(source, canvas, (96, 64), seed=3)
    rows = slice(canvas.top, canvas.top + canvas.height)
    columns = slice(canvas.left, canvas.left + canvas.width)
    assert np.array_equal(laid[rows, columns], source)
    outside = np.ones((64, 96), dtype=bool)
    outside[rows, columns] = False
    assert (mask[outside] == WHITE).all()
    inner = mask[rows, columns]
    assert (inner == BLACK).mean() > 0.6
    open_right = canvas.left + canvas.width < 96
    assert (inner[:, -1].max() > BLACK) == open_right, "a side without new canvas has no seam"


def test_new_canvas_continues_the_rims_colours() -> None:
    source = np.zeros((64, 64, 3), dtype=np.uint8)
    source[:32], source[32:] = (40, 90, 220), (30, 160, 60)
    laid, _mask = extend_canvas(source, Canvas(left=0, top=0, width=64, height=64), (128, 64), seed=3)
    far = laid[:, 100:].astype(int)
    assert np.abs(far[:20].mean(axis=(0, 1)) - (40, 90, 220)).max() < 16
    assert np.abs(far[44:].mean(axis=(0, 1)) - (30, 160, 60)).max() < 16
    assert far[:16].std(axis=(0, 1)).min() > 4, "with some grain on it"


def test_the_fill_is_the_same_for_the_same_seed() -> None:
    canvas = Canvas(left=8, top=8, width=48, height=48)
    one, other, third = (extend_canvas(noise(48, 48), canvas, (64, 64), seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(one, other) and not np.array_equal(one, third)
