"""Pictures of any size on a model's grid: what is missing there is mirrored from the picture, and cut off at the end.

Sizes and arrays. Knows no edits.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.interfaces import ModelProtocol

Size = tuple[int, int]  # (width, height) in pixels
Bytes = TypeVar("Bytes", bound=NDArray[np.uint8])  # [height, width] or [height, width, 3]


def grid_of(family: ModelProtocol) -> int:
    """What the sides of its pictures are filled up to multiples of.

    Latents come whole, and some transformers look at two by two of them. The multiples that a model likes may be
    larger, but are no need.
    """
    return min(family.multiple, 2 * family.factor)


def round_up_to_grid(size: Size, grid: int) -> Size:
    """The next size whose sides are multiples of `grid`."""
    width, height = (-(-side // grid) * grid for side in size)
    return width, height


def pad_to(pixels: Bytes, size: Size) -> Bytes:
    """The picture in the upper left corner of one of `size`, mirrored to the right and downwards."""
    missing = [(0, size[1] - pixels.shape[0]), (0, size[0] - pixels.shape[1])]
    return np.pad(pixels, [*missing, *[(0, 0)] * (pixels.ndim - 2)], mode="symmetric")  # type: ignore[return-value]


def crop_to(pixels: Bytes, size: Size) -> Bytes:
    """The part of `size` in the upper left corner: what `pad_to` was given."""
    return pixels[: size[1], : size[0]]  # type: ignore[return-value]
