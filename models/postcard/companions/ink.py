"""A style of our own: a postcard printed in one cobalt ink on cream paper, with outlines; and a plain measure of it.

Works on pixels alone: knows no scenes and no networks.
"""

import numpy as np
from PIL import Image

INK, PAPER = (24, 44, 150), (252, 240, 206)
TONES = 4  # how many densities of ink there are between paper and full
REACH = 24.0  # how far, in RGB, a pixel may be from the mixtures of ink and paper to count as print


def printed(picture: Image.Image) -> Image.Image:
    """The same picture in ink: brightness becomes one of a few tones, edges become lines."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
    light = pixels @ np.array((0.299, 0.587, 0.114), dtype=np.float32)
    tones = np.round(np.clip(light * 1.1, 0, 1) * (TONES - 1)) / (TONES - 1)
    edges = np.maximum(_steps(pixels, 0), _steps(pixels, 1))
    lines = np.clip((edges - 0.25) * 3, 0, 1)
    paper = np.clip(0.08 + 0.92 * tones, 0, 1) * (1 - lines)
    ink, blank = np.array(INK, dtype=np.float32), np.array(PAPER, dtype=np.float32)
    return Image.fromarray(np.round(ink + (blank - ink) * paper[..., None]).astype(np.uint8))


def _steps(pixels: np.ndarray, axis: int) -> np.ndarray:
    """How much the colour changes from each pixel's one neighbour to the other."""
    before, after = np.roll(pixels, 1, axis), np.roll(pixels, -1, axis)
    change = np.abs(after - before).max(2)
    edge: list[slice | int] = [slice(None), slice(None)]
    for end in (0, -1):
        edge[axis] = end
        change[tuple(edge)] = 0
    return change


def printedness(picture: Image.Image) -> float:
    """The share of pixels that are a mixture of ink and paper, 0..1."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    ink = np.array(INK, dtype=np.float32)
    way = np.array(PAPER, dtype=np.float32) - ink
    along = np.clip((pixels - ink) @ way / (way @ way), 0, 1)
    distance = np.linalg.norm(pixels - (ink + along[..., None] * way), axis=2)
    return float((distance < REACH).mean())
