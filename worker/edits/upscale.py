"""Upscales. Subtle: the upscaler's picture is the result. Creative: the model draws on it in tiles, at low strength.

The tiles are rows like any others, so they share forwards with each other and with other jobs of their size. They share
one field of noise too, so that neighbours agree where they overlap, and fade into each other there. Of what they draw
only the detail is taken: large forms and colours stay the picture's own, whatever a tile makes of its part of it.
"""

from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from core.events import Submit
from core.job import Request
from worker.edits.inputs import Inputs
from worker.edits.padding import Size, crop_to, grid_of, pad_to, round_up_to_grid
from worker.edits.prepared_job import PrepareContext, Prepared, RowStart
from worker.edits.prompt_encoding import encode_prompts
from worker.interfaces import Family, Pixels
from worker.vision import Tile, TileBlender, cut_tiles

#: What an ancestral sampler is replaced by: each tile would draw other noise at every step, and seams would show.
_WITHOUT_NOISE = {"euler_a": "euler"}
#: How far tiles overlap, as a share of their side.
OVERLAP = 1 / 4
#: Up to what size forms count as detail, as a share of a tile's side (a blur's deviation).
DETAIL = 1 / 42
#: What is left of the guidance: the words tell of the whole picture, and a tile that obeys them draws it once more.
EASE = 0.5


def prepare_upscale(order: Submit, inputs: Inputs, context: PrepareContext) -> Generator[None, None, Prepared]:
    """The picture larger by the request's factor; one tile of the upscaler at a time."""
    upscale, source = order.request.upscale, inputs.source
    assert upscale is not None and source is not None  # read_inputs() saw to it
    if context.companions.upscaler is not None:
        larger = yield from context.companions.upscaler.enlarge(source, upscale.factor)
    else:
        assert upscale.creative
        size = source.shape[1] * upscale.factor, source.shape[0] * upscale.factor
        larger = np.asarray(Image.fromarray(source).resize(size, Image.Resampling.LANCZOS))
    if not upscale.creative:
        return Prepared(pictures=tuple((index, larger) for index in order.indices))
    return (yield from _refine(order, larger, context))


def _refine(order: Submit, larger: Pixels, context: PrepareContext) -> Generator[None, None, Prepared]:
    request, family = order.request, context.family
    grid = grid_of(family)
    wanted = request.width, request.height
    size = round_up_to_grid(wanted, grid)
    ground = pad_to(larger, size)
    side = family.native // family.multiple * family.multiple
    overlap = round(side * OVERLAP) // grid * grid
    parts = cut_tiles(*size, side, overlap, grid=grid)
    latents = []
    for tile in parts:
        latents.append(family.encode_picture(ground[tile.area]))
        yield
    starts: list[RowStart] = []
    for index in order.indices:
        text, negative, guidance = encode_prompts(request, index, context)
        noise = _noise(request, index, size, family)
        for tile, source in zip(parts, latents, strict=True):
            rows, columns = (slice(span.start // family.factor, span.stop // family.factor) for span in tile.area)
            starts.append(
                RowStart(
                    index=index,
                    size=(tile.width, tile.height),
                    text=text,
                    negative=negative,
                    guidance=max(1.0, guidance * EASE),
                    source=source,
                    noise=noise[:, rows, columns],
                )
            )
    assembly = TileAssembly(ground, parts, overlap, side * DETAIL, wanted)
    return Prepared(
        strength=request.strength,
        sampler=_WITHOUT_NOISE.get(request.sampler),
        starts=tuple(starts),
        finish=assembly.add,
        previews=False,
    )


def _noise(request: Request, index: int, size: Size, family: Family) -> Tensor:
    """One field for the whole picture, by its own seed."""
    generator = torch.Generator("cpu").manual_seed((request.seed + index) % 2**32)
    shape = (family.channels, size[1] // family.factor, size[0] // family.factor)
    return torch.randn(shape, generator=generator)


class TileAssembly:
    """Collects the tiles of one or several pictures as they are decoded, in any order.

    `base`: what they were drawn on. `detail`: pixels; the blur that tells forms from detail. `size`: the picture's.
    """

    def __init__(self, base: Pixels, parts: tuple[Tile, ...], overlap: int, detail: float, size: Size) -> None:
        self._base, self._parts, self._overlap, self._detail, self._size = base, parts, overlap, detail, size
        self._open: dict[int, tuple[TileBlender, set[int]]] = {}

    def add(self, place: int, pixels: Pixels) -> Pixels | None:
        """One tile, by its row's place; the picture comes with its last one."""
        picture, number = divmod(place, len(self._parts))
        if picture not in self._open:
            height, width = self._base.shape[:2]
            self._open[picture] = TileBlender(width, height, self._overlap), set(range(len(self._parts)))
        joiner, missing = self._open[picture]
        joiner.add(self._parts[number], pixels.astype(np.float32))
        missing.discard(number)
        if missing:
            return None
        del self._open[picture]
        return crop_to(self._with_own_forms(joiner.picture()), self._size)

    def _with_own_forms(self, drawn: NDArray[np.float32]) -> Pixels:
        whole: Pixels = np.rint(drawn).astype(np.uint8)
        detail = drawn - self._forms(whole)
        mixed: Pixels = np.rint((self._forms(self._base) + detail).clip(0, 255)).astype(np.uint8)
        return mixed

    def _forms(self, pixels: Pixels) -> NDArray[np.float32]:
        blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(self._detail))
        return np.asarray(blurred, dtype=np.float32)
