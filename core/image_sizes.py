"""Width and height for an aspect ratio, among the sizes that a model can draw. Pure: knows no model and no prompt."""

import math
from collections.abc import Sequence

#: Sizes may have this much less or more pixels than the native square, as factors.
_FEWER, _MORE = 0.80, 1.10
#: Two sizes whose ratios differ by less than this (in log) count as equally near.
_SAME_RATIO = 0.02


def nearest_size(sizes: Sequence[tuple[int, int]], native: int, across: float, down: float) -> tuple[int, int]:
    """The (width, height) nearest to the ratio across:down; of equally near ones, that of about native² pixels."""
    wanted = math.log(across / down)
    near = [(abs(math.log(w / h) - wanted), abs(math.log(w * h / native**2)), w, h) for w, h in sizes]
    nearest = min(error for error, *_ in near)
    best = min((area, error, w, h) for error, area, w, h in near if error <= nearest + _SAME_RATIO)
    return best[2], best[3]


def sizes_on_grid(native: int, multiple: int, min_side: int, max_side: int) -> list[tuple[int, int]]:
    """All (width, height) on the grid with about native² pixels; the native square where there is none."""
    area = native**2
    sides = range(-(-min_side // multiple) * multiple, max_side + 1, multiple)
    found = [(w, h) for w in sides for h in sides if _FEWER * area <= w * h <= _MORE * area]
    return found or [(native, native)]
