"""Masks and canvases: which pixels and which latents are made anew, what lies under them at first, how the old pixels
come back afterwards, and where old and new can be compared.

A mask is uint8 [height, width], 255 = anew. Arrays in, arrays out: knows no model.
"""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from core.job import Canvas
from worker.edits.color_match import Floats
from worker.edits.inputs import Mask, resized
from worker.interfaces import Pixels

Weights = NDArray[np.float32]  # [height, width], 0 … 1
Inside = NDArray[np.bool_]  # [height, width]
Depths = NDArray[np.int16]  # [height, width], pixels
Shape = TypeVar("Shape", Inside, Depths)

#: How far a seam is feathered, as a share of the picture's shorter side.
FEATHER = 1 / 16
#: How much of the old picture's rim new canvas reaches into, as a share of the old picture's shorter side.
OVERLAP = 1 / 12
#: Standard deviation of the noise on fresh canvas, of 255: what has no grain at all stays flat.
_GRAIN = 12.0


def feather_of(size: tuple[int, int]) -> int:
    """Pixels over which a mask's seam is softened."""
    return max(2, round(min(size) * FEATHER))


def feathered(mask: Mask, feather: int) -> Weights:
    """Weights that are 0 wherever the mask is 0, and rise to the mask's own value over `feather` pixels inside it.

    Where a place is too narrow for that they rise faster, so that its middle has the mask's own value too.
    """
    inside = mask > 0
    depth = _depths(inside, feather + 1)
    # Half a pixel less: a pixel's middle is what lies so deep.
    rise = (2 * depth.astype(np.float32) - 1) / (2 * _deepest(depth, inside, feather // 2) - 1).astype(np.float32)
    return np.where(inside, np.minimum(rise, mask.astype(np.float32) / 255), np.float32(0))


def _depths(inside: Inside, most: int) -> Depths:
    """How many pixels it is to the outside, up to `most`; 0 outside, 1 beside it."""
    # What lies beyond the border counts as the border does: a mask up to the rim has no seam there.
    left, depth = inside, inside.astype(np.int16)
    for turn in range(1, most):
        if not left.any():
            break
        left = ~_grown(~left, diagonally=turn % 2 == 1)
        depth += left
    return depth


def _deepest(depth: Depths, inside: Inside, reach: int) -> Depths:
    """The greatest depth within `reach` pixels, of the same place: not across what is outside."""
    greatest = depth
    for _turn in range(reach):
        greatest = np.where(inside, _grown(greatest), np.int16(1))
    return greatest


def _grown(values: Shape, *, diagonally: bool = True) -> Shape:
    """Each pixel as its greatest neighbour; in turns with and without the diagonal ones a circle is an octagon."""
    down = values.copy()
    np.maximum(down[1:], values[:-1], out=down[1:])
    np.maximum(down[:-1], values[1:], out=down[:-1])
    beside = down if diagonally else values
    grown = down.copy()
    np.maximum(grown[:, 1:], beside[:, :-1], out=grown[:, 1:])
    np.maximum(grown[:, :-1], beside[:, 1:], out=grown[:, :-1])
    return grown


def around(mask: Mask, feather: int) -> Weights:
    """1 where the mask is 0 and not farther than `feather` pixels from where it is not."""
    return np.asarray((mask == 0) & (_near(mask, feather) > 0), dtype=np.float32)


def _near(mask: Mask, reach: int) -> Weights:
    """How white it is around each pixel, 0 … 1."""
    height, width = mask.shape
    # What lies beyond the border counts as the border does: a mask up to the rim has no seam there.
    wide = np.pad(mask, reach, mode="edge")
    blurred = Image.fromarray(wide).filter(ImageFilter.BoxBlur(reach))
    near = np.asarray(blurred, dtype=np.float32)[reach : reach + height, reach : reach + width]
    return near / np.float32(255)


def for_latents(mask: Mask, factor: int) -> Tensor:
    """float [1, h, w]: a latent is as much anew as the whitest of its pixels."""
    height, width = mask.shape
    blocks = mask.reshape(height // factor, factor, width // factor, factor)
    return torch.from_numpy(blocks.max(axis=(1, 3)).astype(np.float32) / 255)[None]


def paste(old: Pixels, new: Pixels | Floats, weights: Weights) -> Pixels:
    """`old` where the weights are 0, `new` [height, width, 3], 0 … 255, where they are 1."""
    share = weights[..., None]
    mixed = old.astype(np.float32) * (1 - share) + new.astype(np.float32) * share
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def extend_canvas(source: Pixels, canvas: Canvas, size: tuple[int, int], seed: int) -> tuple[Pixels, Mask]:
    """The source on its new canvas of (width, height), and the mask of what is to be filled.

    The fill is the source's rim drawn outwards, blurred and grained: the colours that belong there, and no shapes. The
    mask is 255 outside the source and falls to 0 within its rim, only at the sides where there is new canvas.
    """
    old = resized(source, (canvas.width, canvas.height))
    width, height = size
    across = (canvas.left, width - canvas.left - canvas.width)
    down = (canvas.top, height - canvas.top - canvas.height)
    wide = np.pad(old, (down, across, (0, 0)), mode="edge")
    blurred = Image.fromarray(wide).filter(ImageFilter.GaussianBlur(min(size) / 24))
    grain = np.random.default_rng(seed).normal(0, _GRAIN, wide.shape)
    laid = np.clip(np.asarray(blurred) + grain, 0, 255).astype(np.uint8)
    rows, columns = slice(canvas.top, canvas.top + canvas.height), slice(canvas.left, canvas.left + canvas.width)
    laid[rows, columns] = old
    mask = np.full((height, width), 255, dtype=np.uint8)
    mask[rows, columns] = _rim(canvas, across, down)
    return laid, mask


def within(weights: Weights, canvas: Canvas) -> Weights:
    """The weights where the old picture lies, nothing elsewhere."""
    area = slice(canvas.top, canvas.top + canvas.height), slice(canvas.left, canvas.left + canvas.width)
    found = np.zeros_like(weights)
    found[area] = weights[area]
    return found


def _rim(canvas: Canvas, across: tuple[int, int], down: tuple[int, int]) -> Mask:
    """The mask inside the old picture: 255 at its open sides, 0 from `OVERLAP` inwards."""
    reach = max(2, round(min(canvas.width, canvas.height) * OVERLAP))
    far = np.full((canvas.height, canvas.width), reach, dtype=np.float32)
    from_left, from_top = np.arange(canvas.width)[None], np.arange(canvas.height)[:, None]
    for is_open, distance in (
        (across[0], from_left), (across[1], from_left[:, ::-1]), (down[0], from_top), (down[1], from_top[::-1])
    ):  # fmt: skip
        if is_open:
            far = np.minimum(far, distance)
    return np.rint(255 * (1 - far / reach)).astype(np.uint8)
