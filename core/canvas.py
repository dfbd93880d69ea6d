"""Wider pictures: from a picture's size and a wish to the new size and where the old picture lies in it.

Pure geometry on a model's grid. Knows no pixels.
"""

import math
from enum import StrEnum

from core.job import Canvas

Size = tuple[int, int]  # (width, height) in pixels


class Direction(StrEnum):
    """Where a pan goes: the side on which there will be more."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"


#: Zoom factors that have a button; any other above 1 works too.
ZOOMS = (1.5, 2.0)
FURTHEST_ZOOM = 4.0
#: How much a pan adds, as a share of the side that it makes longer.
PAN = 0.5


def room(native: int) -> int:
    """Pixels that a wider picture may have with a model of this native square: one of half as much again each way."""
    return (native * 3 // 2) ** 2


def zoom_out(size: Size, factor: float) -> tuple[Size, Canvas]:
    """The same size, the picture in its middle smaller by `factor`. Raises ValueError for one that cannot be."""
    width, height = size
    if not 1 < factor <= FURTHEST_ZOOM:
        raise ValueError(f"A zoom of {factor:g} is not possible: it must be above 1 and at most {FURTHEST_ZOOM:g}.")
    # Even differences, so that the middle is the middle to the pixel.
    inner = tuple(side - 2 * max(1, round(side * (1 - 1 / factor) / 2)) for side in size)
    return size, Canvas(
        left=(width - inner[0]) // 2, top=(height - inner[1]) // 2, width=inner[0], height=inner[1]
    )  # fmt: skip


def pan(size: Size, direction: Direction, *, multiple: int, most: int, share: float = PAN) -> tuple[Size, Canvas]:
    """Longer by `share` in one direction, the old picture at the other end.

    `multiple`: sides of the new size are multiples of it. `most`: pixels that it may have; beyond them the old picture
    shrinks.
    """
    width, height = size
    sideways = direction in (Direction.LEFT, Direction.RIGHT)
    wanted = (width * (1 + share), float(height)) if sideways else (float(width), height * (1 + share))
    new = _on_grid(wanted, multiple, most)
    # The old picture fills the side that stays, whatever the grid and the cap made of it.
    scale = new[1] / height if sideways else new[0] / width
    old = _within((width * scale, height * scale), new)
    left = new[0] - old[0] if direction is Direction.LEFT else 0
    top = new[1] - old[1] if direction is Direction.UP else 0
    return new, Canvas(left=left, top=top, width=old[0], height=old[1])


def square(size: Size, *, multiple: int, most: int) -> tuple[Size, Canvas]:
    """As wide as high, the old picture in its middle. Raises ValueError for one that is square already."""
    width, height = size
    if width == height:
        raise ValueError("The picture is already square.")
    longer = max(size)
    side = max(1, min(round(longer / multiple), math.isqrt(most) // multiple)) * multiple
    # Whatever rounding makes of the shorter side, something is left to fill.
    old = [side if length == longer else min(max(1, round(length * side / longer)), side - 1) for length in size]
    canvas = Canvas(left=(side - old[0]) // 2, top=(side - old[1]) // 2, width=old[0], height=old[1])
    return (side, side), canvas


def fit(size: Size, new: Size, factor: float) -> tuple[Size, Canvas]:
    """The picture in the middle of another size, smaller by `factor` than it would fit in there.

    Raises ValueError for a factor that cannot be, and where nothing is left to fill.
    """
    if not 1 <= factor <= FURTHEST_ZOOM:
        raise ValueError(f"A zoom of {factor:g} is not possible: it must be at least 1 and at most {FURTHEST_ZOOM:g}.")
    scale = min(new[0] / size[0], new[1] / size[1]) / factor
    old = _within((size[0] * scale, size[1] * scale), new)
    if old == new:
        raise ValueError("A zoom of 1 in the same ratio changes nothing.")
    return new, Canvas(left=(new[0] - old[0]) // 2, top=(new[1] - old[1]) // 2, width=old[0], height=old[1])


def in_words(new: Size, canvas: Canvas) -> str:
    """What was done to come to this canvas: "panned left", "made square", "zoomed out 1.5×"."""
    left, top = canvas.left, canvas.top
    right, bottom = new[0] - left - canvas.width, new[1] - top - canvas.height
    open_sides = {Direction.LEFT: left, Direction.RIGHT: right, Direction.UP: top, Direction.DOWN: bottom}
    widened = [direction for direction, pixels in open_sides.items() if pixels > 0]
    if len(widened) == 1:
        return f"panned {widened[0]}"
    factor = f"{min(new[0] / canvas.width, new[1] / canvas.height):.2g}"
    if factor == "1":
        return "made square" if new[0] == new[1] else "in another shape"
    return f"zoomed out {factor}×"


def _on_grid(wanted: tuple[float, float], multiple: int, most: int) -> Size:
    """The nearest size on the grid, shrunk to hold at most `most` pixels."""
    shrink = min(1.0, math.sqrt(most / (wanted[0] * wanted[1])))
    width, height = (max(1, round(side * shrink / multiple)) for side in wanted)
    while width * height * multiple**2 > most and max(width, height) > 1:
        width, height = (width - 1, height) if width >= height else (width, height - 1)
    return width * multiple, height * multiple


def _within(old: tuple[float, float], new: Size) -> Size:
    return min(new[0], max(1, round(old[0]))), min(new[1], max(1, round(old[1])))
