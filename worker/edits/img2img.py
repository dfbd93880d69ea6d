"""Prepares pictures that the loop draws whole: grids, variations, regions, wider canvas, pictures beside the words.

What starts from a picture may have any size: it is drawn on the model's grid and cut. Knows nothing of upscales and
descriptions.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache

import numpy as np

from core.events import Submit
from core.job import Canvas, Request
from worker.edits.color_match import matched
from worker.edits.image_prompts import beside
from worker.edits.inputs import Brought, Mask, covering, resized
from worker.edits.masks import Weights, around, feather_of, for_latents, lay, paste, soft, within
from worker.edits.padding import Size, cut, filled, grid_of, on_grid
from worker.edits.prepared_job import Desk, Prepared, Start
from worker.edits.prompt_encoding import told
from worker.interfaces import Conditions, Pixels

#: Where no adapter is: the strength at which a picture starts near its image prompt of weight 1, and what a weight more
#: takes off.
_NEAR, _NEARER, _NEAREST = 0.8, 0.15, 0.35


@dataclass(frozen=True, slots=True)
class _Stay:
    """What stays of a picture: `mask` says which parts are anew, `seam` how the old pixels come back over the new.

    The seam is reckoned when the first picture is finished, beside the loop: it takes its time. `known`: how much each
    pixel tells of the tint that lies between old and new.
    """

    mask: Mask
    seam: Callable[[], Weights]
    known: Weights


@dataclass(frozen=True, slots=True)
class _Ground:
    """What a picture starts from: its size, pixels of that size, how much is done anew, and which parts stay."""

    size: Size
    pixels: Pixels | None
    strength: float
    stay: _Stay | None = None

    def finish(self, _place: int, drawn: Pixels) -> Pixels:
        """The decoded picture at its size, with the old pixels where none were to change."""
        made = cut(drawn, self.size)
        if self.pixels is None or self.stay is None:
            return made
        return paste(self.pixels, matched(self.pixels, made, self.stay.known), self.stay.seam())


def prepare_pictures(order: Submit, brought: Brought, desk: Desk) -> Generator[None, None, Prepared]:
    """One row for each picture that is ordered."""
    request, family = order.request, desk.family
    ground = _ground(request, brought, adapts=desk.tools.adapter is not None)
    # What comes of words alone, and edges that meet, are drawn as large as they are: `tasks.check` saw to it.
    exact = brought.source is None or request.tile
    size = ground.size if exact else on_grid(ground.size, grid_of(family))
    latents = mask = None
    if ground.pixels is not None:
        latents = family.encode_picture(filled(ground.pixels, size))
        yield
    if ground.stay is not None:
        mask = for_latents(filled(ground.stay.mask, size), family.factor).to(family.device)
    with_words = bool(request.prompt.strip())
    pictures: tuple[Conditions, Conditions] = {}, {}
    if desk.tools.adapter is not None and brought.references:
        pictures = yield from beside(desk.tools.adapter, brought.references, with_words=with_words)
    starts = []
    for index in order.indices:
        text, negative, guidance = told(request, index, desk)
        text, negative = {**text, **pictures[0]}, {**negative, **pictures[1]}
        starts.append(
            Start(
                index=index,
                size=size,
                text=text,
                negative=negative,
                guidance=guidance,
                source=latents if ground.strength < 1 else None,
                keep=latents if mask is not None else None,
                mask=mask,
            )
        )
    return Prepared(strength=ground.strength, starts=tuple(starts), finish=ground.finish)


def _ground(request: Request, brought: Brought, *, adapts: bool) -> _Ground:
    size = request.width, request.height
    if brought.source is None:
        if adapts or not brought.references:
            # Pictures beside the words are no start: a lower strength would leave less noise, and nothing under it.
            return _Ground(size, None, 1.0)
        picture = brought.references[0]
        near = max(_NEAREST, _NEAR - _NEARER * (picture.weight - 1))
        return _Ground(size, covering(picture.pixels, size), min(request.strength, near))
    if request.canvas is not None:
        pixels, mask = lay(brought.source, request.canvas, size, request.seed)
        return _Ground(size, pixels, request.strength, _beyond(mask, brought.mask, request.canvas))
    pixels = resized(brought.source, size)
    if brought.mask is not None:
        return _Ground(size, pixels, request.strength, _region(brought.mask))
    # A source at full strength is forgotten before the first step; it need not even be encoded.
    return _Ground(size, pixels if request.strength < 1 else None, request.strength)


def _beyond(mask: Mask, region: Mask | None, canvas: Canvas) -> _Stay:
    """New canvas, and a region beside it if there is one."""
    # The rim is feathered as it was laid; only a region that somebody painted needs a seam of its own.
    seam: Weights = mask.astype(np.float32) / np.float32(255)
    known = within(seam, canvas)
    if region is None:
        return _Stay(mask, lambda: seam, known)
    both = np.maximum(mask, region)
    return _Stay(both, cache(lambda: np.maximum(seam, _soft(region))), np.where(region > 0, np.float32(0), known))


def _region(mask: Mask) -> _Stay:
    """A region alone. Within it the old picture tells nothing: what it shows may be what was not wanted."""
    return _Stay(mask, cache(lambda: _soft(mask)), around(mask, _feather(mask)))


def _soft(mask: Mask) -> Weights:
    return soft(mask, _feather(mask))


def _feather(mask: Mask) -> int:
    height, width = mask.shape
    return feather_of((width, height))
