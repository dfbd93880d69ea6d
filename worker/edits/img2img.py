"""Prepares pictures that the loop draws whole: grids, variations, regions, wider canvas, pictures beside the words.

What starts from a picture may have any size: it is drawn on the model's grid and cut. Knows nothing of upscales and
descriptions.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from core.events import Submit
from core.job import Canvas, Request, Role
from worker.edits.color_match import match_colors
from worker.edits.inputs import Inputs, Mask, Reference, covering, resized
from worker.edits.masks import Weights, around, extend_canvas, feather_of, feathered, for_latents, paste, within
from worker.edits.padding import Size, crop_to, grid_of, pad_to, round_up_to_grid
from worker.edits.prepared_job import PrepareContext, Prepared, RowStart
from worker.edits.prompt_encoding import encode_prompts
from worker.interfaces import Conditions, Pixels
from worker.vision import IPAdapter

#: Where no adapter is: the strength at which a picture starts near its image prompt of weight 1, and what a weight more
#: takes off.
_NEAR, _NEARER, _NEAREST = 0.8, 0.15, 0.35
#: An adapter's scale at weight 1: beside words both have to be heard; alone (a blend) the pictures say everything.
_BESIDE_WORDS, _ALONE = 0.6, 1.0
_SCALES = {Role.STYLE: 1.0, Role.CHARACTER: 0.8}


@dataclass(frozen=True, slots=True)
class _KeptParts:
    """What stays of a picture: `mask` says which parts are anew, `seam` how the old pixels come back over the new.

    The seam is reckoned when the first picture is finished, beside the loop: it takes its time. `known`: how much each
    pixel tells of the tint that lies between old and new.
    """

    mask: Mask
    seam: Callable[[], Weights]
    known: Weights


@dataclass(frozen=True, slots=True)
class _StartImage:
    """What a picture starts from: its size, pixels of that size, how much is done anew, and which parts stay."""

    size: Size
    pixels: Pixels | None
    strength: float
    kept: _KeptParts | None = None

    def finish(self, _place: int, drawn: Pixels) -> Pixels:
        """The decoded picture at its size, with the old pixels where none were to change."""
        made = crop_to(drawn, self.size)
        if self.pixels is None or self.kept is None:
            return made
        return paste(self.pixels, match_colors(self.pixels, made, self.kept.known), self.kept.seam())


def prepare_pictures(order: Submit, inputs: Inputs, context: PrepareContext) -> Generator[None, None, Prepared]:
    """One row for each picture that is ordered."""
    request, family = order.request, context.family
    start = _start_image(request, inputs, adapts=context.companions.adapter is not None)
    # What comes of words alone, and edges that meet, are drawn as large as they are: `task.check_request` saw to it.
    exact = inputs.source is None or request.tile
    size = start.size if exact else round_up_to_grid(start.size, grid_of(family))
    latents = mask = None
    if start.pixels is not None:
        latents = family.encode_picture(pad_to(start.pixels, size))
        yield
    if start.kept is not None:
        mask = for_latents(pad_to(start.kept.mask, size), family.factor).to(family.device)
    with_words = bool(request.prompt.strip())
    pictures: tuple[Conditions, Conditions] = {}, {}
    if context.companions.adapter is not None and inputs.references:
        pictures = yield from _image_prompts(context.companions.adapter, inputs.references, with_words=with_words)
    starts = []
    for index in order.indices:
        text, negative, guidance = encode_prompts(request, index, context)
        text, negative = {**text, **pictures[0]}, {**negative, **pictures[1]}
        starts.append(
            RowStart(
                index=index,
                size=size,
                text=text,
                negative=negative,
                guidance=guidance,
                source=latents if start.strength < 1 else None,
                keep=latents if mask is not None else None,
                mask=mask,
            )
        )
    return Prepared(strength=start.strength, starts=tuple(starts), finish=start.finish)


def _image_prompts(
    adapter: IPAdapter, references: Sequence[Reference], *, with_words: bool
) -> Generator[None, None, tuple[Conditions, Conditions]]:
    """What the pictures add to the conditions, and to those of the negative prompt. One encode at a time.

    An image prompt speaks in all layers, a style only where the look is made, a character in all of them.
    """
    tokens, scales = [], []
    for one in references:
        seen = adapter.tokens(one.pixels)
        strength = one.weight * _SCALES.get(one.role, _BESIDE_WORDS if with_words else _ALONE)
        layers = adapter.style_layers if one.role is Role.STYLE else torch.ones_like(adapter.style_layers)
        tokens.append(seen)
        scales.append((layers * strength).expand(len(seen), -1))
        yield
    nothing = torch.cat([adapter.empty_tokens()] * len(references))
    scale = torch.cat(scales)
    return {"image": torch.cat(tokens), "image_scale": scale}, {"image": nothing, "image_scale": scale}


def _start_image(request: Request, inputs: Inputs, *, adapts: bool) -> _StartImage:
    size = request.width, request.height
    if inputs.source is None:
        if adapts or not inputs.references:
            # Pictures beside the words are no start: a lower strength would leave less noise, and nothing under it.
            return _StartImage(size, None, 1.0)
        picture = inputs.references[0]
        near = max(_NEAREST, _NEAR - _NEARER * (picture.weight - 1))
        return _StartImage(size, covering(picture.pixels, size), min(request.strength, near))
    if request.canvas is not None:
        pixels, mask = extend_canvas(inputs.source, request.canvas, size, request.seed)
        return _StartImage(size, pixels, request.strength, _kept_beside_canvas(mask, inputs.mask, request.canvas))
    pixels = resized(inputs.source, size)
    if inputs.mask is not None:
        return _StartImage(size, pixels, request.strength, _kept_outside(inputs.mask))
    # A source at full strength is forgotten before the first step; it need not even be encoded.
    return _StartImage(size, pixels if request.strength < 1 else None, request.strength)


def _kept_beside_canvas(mask: Mask, region: Mask | None, canvas: Canvas) -> _KeptParts:
    """New canvas, and a region beside it if there is one."""
    # The rim is feathered as it was laid; only a region that somebody painted needs a seam of its own.
    seam: Weights = mask.astype(np.float32) / np.float32(255)
    known = within(seam, canvas)
    if region is None:
        return _KeptParts(mask, lambda: seam, known)
    both = np.maximum(mask, region)
    return _KeptParts(both, cache(lambda: np.maximum(seam, _soft(region))), np.where(region > 0, np.float32(0), known))


def _kept_outside(mask: Mask) -> _KeptParts:
    """A region alone. Within it the old picture tells nothing: what it shows may be what was not wanted."""
    return _KeptParts(mask, cache(lambda: _soft(mask)), around(mask, _feather(mask)))


def _soft(mask: Mask) -> Weights:
    return feathered(mask, _feather(mask))


def _feather(mask: Mask) -> int:
    height, width = mask.shape
    return feather_of((width, height))
