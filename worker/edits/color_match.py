"""Matches colours before pasting, as a retoucher does: what was made anew is tinted until it meets what stays.

Where both are known, their difference is taken apart by scales, the largest first, and each is spread smoothly into the
new part, where it fades with the distance. Great differences are other things, not other tints, and count for nothing.
Arrays in, arrays out: knows no model and no masks' meaning.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.interfaces import Pixels

Floats = NDArray[np.float32]

#: Cells that the shorter side is cut into: tints are smooth, so they are reckoned in cells and drawn larger.
_CELLS = 32
#: How far a difference is spread in each turn, in cells (a blur's deviation).
_SPREADS = (8.0, 4.0, 2.0, 1.0)
#: Differences of 255 that are not believed at all to be one of tints; half of it counts by half (Tukey's biweight).
_OTHER = 96.0
#: What weighs as much as evidence does: where there is little evidence, little is changed.
_DOUBT = 0.1


def match_colors(old: Pixels, new: Pixels, evidence: Floats) -> Floats:
    """`new` [height, width, 3], tinted, 0 … 255. `evidence` [height, width]: how much each pixel of both says."""
    height, width = evidence.shape
    side = max(1, min(height, width) // _CELLS)
    weight = evidence[..., None]
    known = _cells(weight, side)
    apart = _cells((old.astype(np.float32) - new) * weight, side) / known.clip(1e-6)
    far = np.abs(apart).max(axis=2, keepdims=True) / _OTHER
    believed = known * (1 - far.clip(0, 1) ** 2) ** 2
    tint = np.zeros_like(apart)
    for reach in _SPREADS:
        tint += _spread((apart - tint) * believed, reach) / (_spread(believed, reach) + _DOUBT)
    return np.asarray((new + _drawn(tint, side)[:height, :width]).clip(0, 255), dtype=np.float32)


def _cells(values: Floats, side: int) -> Floats:
    """[h, w, n] as means of squares; what lies beyond the border counts as nothing."""
    height, width, depth = values.shape
    full = np.pad(values, ((0, -height % side), (0, -width % side), (0, 0)))
    squares = full.reshape(full.shape[0] // side, side, full.shape[1] // side, side, depth)
    return np.asarray(squares.mean(axis=(1, 3)), dtype=np.float32)


def _spread(values: Floats, reach: float) -> Floats:
    """Blurred; nothing comes from beyond the border."""
    down, across = _bell(values.shape[0], reach), _bell(values.shape[1], reach)
    return np.asarray(np.einsum("ij,jkc,lk->ilc", down, values, across, optimize=True), dtype=np.float32)


def _bell(length: int, reach: float) -> Floats:
    """[length, length]: what each cell gives to each other one."""
    places = np.arange(length, dtype=np.float32)
    far = (places[:, None] - places) / reach
    return np.asarray(np.exp(-(far**2) / 2) / (reach * np.sqrt(2 * np.pi)), dtype=np.float32)


def _drawn(cells: Floats, side: int) -> Floats:
    """Cells as pixels, smoothly."""
    size = cells.shape[1] * side, cells.shape[0] * side
    layers = [
        Image.fromarray(np.ascontiguousarray(cells[..., channel])).resize(size, Image.Resampling.BICUBIC)
        for channel in range(cells.shape[2])
    ]
    return np.stack([np.asarray(layer) for layer in layers], axis=2)
