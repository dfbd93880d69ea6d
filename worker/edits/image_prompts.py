"""Pictures beside the words: references become tokens, each with its weight in every layer of the adapter.

An image prompt speaks in all layers, a style only where the look is made, a character in all of them at full strength.
Knows no family; the adapter does the arithmetic.
"""

from collections.abc import Generator, Sequence

import torch

from core.job import Role
from worker.edits.inputs import Reference
from worker.interfaces import Conditions
from worker.vision.ip_adapter import ImageAdapter

#: An adapter's scale at weight 1: beside words both have to be heard; alone (a blend) the pictures say everything.
BESIDE_WORDS, ALONE = 0.6, 1.0
_SCALES = {Role.STYLE: 1.0, Role.CHARACTER: 0.8}


def beside(
    adapter: ImageAdapter, references: Sequence[Reference], *, with_words: bool
) -> Generator[None, None, tuple[Conditions, Conditions]]:
    """What the pictures add to the conditions, and to those of the negative prompt. One encode at a time."""
    tokens, scales = [], []
    for one in references:
        seen = adapter.tokens(one.pixels)
        strength = one.weight * _SCALES.get(one.role, BESIDE_WORDS if with_words else ALONE)
        layers = adapter.look if one.role is Role.STYLE else torch.ones_like(adapter.look)
        tokens.append(seen)
        scales.append((layers * strength).expand(len(seen), -1))
        yield
    nothing = torch.cat([adapter.nothing()] * len(references))
    scale = torch.cat(scales)
    return {"image": torch.cat(tokens), "image_scale": scale}, {"image": nothing, "image_scale": scale}
