"""Upscales. Subtle: the upscaler's picture is the result. Creative: the model draws on it in tiles, at low strength.

The tiles are rows like any others, so they share forwards with each other and with other jobs of their size. They share
one field of noise too, so that neighbours agree where they overlap, and fade into each other there.
"""

from collections.abc import Generator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.events import Submit
from core.job import Request
from worker.edits.brought import Brought
from worker.edits.plan import Desk, Prepared, Start
from worker.edits.words import told
from worker.families.base import Family, Pixels
from worker.tasks import CannotCompute
from worker.vision.tiles import Joiner, Tile, tiles

#: How far tiles overlap, as a share of their side.
OVERLAP = 1 / 4


def enlarge(order: Submit, brought: Brought, desk: Desk) -> Generator[None, None, Prepared]:
    """The picture larger by the request's factor; one tile of the upscaler at a time."""
    wish, source = order.request.upscale, brought.source
    assert wish is not None and source is not None  # brought.read() saw to it
    if desk.tools.upscaler is not None:
        larger = yield from desk.tools.upscaler.enlarge(source, wish.factor)
    elif wish.creative:
        size = source.shape[1] * wish.factor, source.shape[0] * wish.factor
        larger = np.asarray(Image.fromarray(source).resize(size, Image.Resampling.LANCZOS))
    else:
        raise CannotCompute("There is no upscaler beside this model; a creative upscale works without one.")
    if not wish.creative:
        return Prepared(pictures=tuple((index, larger) for index in order.indices))
    return (yield from _refine(order, larger, desk))


def _refine(order: Submit, larger: Pixels, desk: Desk) -> Generator[None, None, Prepared]:
    request, family = order.request, desk.family
    height, width = larger.shape[:2]
    side = family.native // family.multiple * family.multiple
    overlap = round(side * OVERLAP) // family.multiple * family.multiple
    cut = tiles(width, height, side, overlap, grid=family.factor)
    latents = []
    for tile in cut:
        latents.append(family.encode_picture(larger[tile.area]))
        yield
    starts: list[Start] = []
    for index in order.indices:
        text, negative, guidance = told(request, index, desk.text)
        noise = _noise(request, index, family)
        for tile, source in zip(cut, latents, strict=True):
            rows, columns = (slice(span.start // family.factor, span.stop // family.factor) for span in tile.area)
            starts.append(
                Start(
                    index=index,
                    size=(tile.width, tile.height),
                    text=text,
                    negative=negative,
                    guidance=guidance,
                    source=source,
                    noise=noise[:, rows, columns],
                )
            )
    assembly = Assembly((width, height), cut, overlap)
    return Prepared(strength=request.strength, starts=tuple(starts), finish=assembly.take, previews=False)


def _noise(request: Request, index: int, family: Family) -> Tensor:
    """One field for the whole picture, by its own seed."""
    generator = torch.Generator("cpu").manual_seed((request.seed + index) % 2**32)
    shape = (family.channels, request.height // family.factor, request.width // family.factor)
    return torch.randn(shape, generator=generator)


class Assembly:
    """Collects the tiles of one or several pictures as they are decoded, in any order."""

    def __init__(self, size: tuple[int, int], cut: tuple[Tile, ...], overlap: int) -> None:
        self._size, self._cut, self._overlap = size, cut, overlap
        self._open: dict[int, tuple[Joiner, set[int]]] = {}

    def take(self, place: int, pixels: Pixels) -> Pixels | None:
        """One tile, by its row's place; the picture comes with its last one."""
        picture, number = divmod(place, len(self._cut))
        joiner, missing = self._open.setdefault(
            picture, (Joiner(*self._size, self._overlap), set(range(len(self._cut))))
        )
        joiner.add(self._cut[number], pixels.astype(np.float32))
        missing.discard(number)
        if missing:
            return None
        del self._open[picture]
        return np.rint(joiner.picture()).astype(np.uint8)
