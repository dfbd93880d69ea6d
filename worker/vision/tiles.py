"""Cuts a picture into overlapping tiles and joins them without a seam: each tile fades where another takes over.

Pure arithmetic on sizes and arrays. Knows no networks.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of the picture, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def times(self, factor: int) -> "Tile":
        """The same in a picture that is larger by `factor`."""
        return Tile(self.left * factor, self.top * factor, self.width * factor, self.height * factor)


def cut_tiles(width: int, height: int, side: int, overlap: int, grid: int = 1) -> tuple[Tile, ...]:
    """As few tiles of `side` as cover the picture with at least `overlap` between neighbours, row by row.

    Places are multiples of `grid`, as `side` and `overlap` have to be; the last tiles of a picture that is none are
    narrower by what is missing.
    """
    rows, columns = list(_spans(height, side, overlap, grid)), list(_spans(width, side, overlap, grid))
    return tuple(Tile(left, top, across, down) for top, down in rows for left, across in columns)


def _spans(length: int, side: int, overlap: int, grid: int) -> Iterator[tuple[int, int]]:
    """(start, length) of each tile along one side."""
    if length <= side:
        yield 0, length
        return
    last = -(-(length - side) // grid) * grid
    count = 1 + math.ceil(last / (side - overlap))
    for number in range(count):
        start = last * number // (count - 1) // grid * grid
        yield start, min(side, length - start)


class TileBlender:
    """Adds up tiles by weights that fall to nothing at their inner rims; the sum is the picture.

    Of an overlap the middle half is faded over: a tile's outermost pixels saw too little to be trusted at all.
    """

    def __init__(self, width: int, height: int, overlap: int) -> None:
        self._size, self._margin, self._fade = (width, height), overlap // 4, max(1, overlap // 2)
        self._sum: Floats = np.zeros((height, width, 3), dtype=np.float32)
        self._weight: Floats = np.zeros((height, width, 1), dtype=np.float32)

    def add(self, tile: Tile, values: Floats) -> None:
        """`values`: float [height, width, 3]."""
        weight = self._ramps(tile)[..., None]
        self._sum[tile.area] += values * weight
        self._weight[tile.area] += weight

    def picture(self) -> Floats:
        """float [height, width, 3], once all tiles are in."""
        return self._sum / self._weight

    def _ramps(self, tile: Tile) -> Floats:
        """Full weight at the picture's own border: there nobody else draws."""
        width, height = self._size
        across = self._ramp(tile.width, tile.left == 0, tile.left + tile.width == width)
        down = self._ramp(tile.height, tile.top == 0, tile.top + tile.height == height)
        return down[:, None] * across[None]

    def _ramp(self, length: int, at_start: bool, at_end: bool) -> Floats:
        rise = ((np.arange(length, dtype=np.float32) + 0.5 - self._margin) / self._fade).clip(0)
        ramp = np.ones(length, dtype=np.float32)
        if not at_start:
            ramp = np.minimum(ramp, rise)
        if not at_end:
            ramp = np.minimum(ramp, rise[::-1])
        return ramp
