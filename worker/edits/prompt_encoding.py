"""What a picture is told: its words with the house style on them, and chaos, which leads each picture another way.

Everything is decided by the request and the picture's index. Knows no samplers and no pictures.
"""

import math

import torch
from torch import Tensor

from core.job import Request
from worker.edits.prepared_job import PrepareContext
from worker.interfaces import Conditions, Family

#: Conditions that hold what words mean; others hold sizes or pictures, which no style and no chaos touches.
WORD_CONDITIONS = ("text", "pooled")
#: At full chaos: the share of the quarter circle that words are turned towards their random direction, and how far (in
#: log) guidance strays to either side.
MAX_ROTATION, MAX_GUIDANCE_SHIFT = 0.5, 0.5


def encode_prompts(request: Request, index: int, context: PrepareContext) -> tuple[Conditions, Conditions, float]:
    """Picture `index`'s conditions, those of its negative prompt, and its guidance."""
    text, house = context.text, request.house
    positive, negative = text(request.prompt), text(request.negative, negative=True)
    if house is not None and house.weight:
        styled = text(_joined(request.prompt, house.positive))
        avoided = text(_joined(request.negative, house.negative), negative=True)
        positive = _towards(positive, styled, house.weight, context.family)
        negative = _towards(negative, avoided, house.weight, context.family)
    guidance = request.guidance
    if request.chaos:
        share = request.chaos / 100
        # Another stream than the picture's own noise, and no other picture's either: an odd factor mixes all 32 bits.
        random = torch.Generator().manual_seed((request.seed + index) * 2_654_435_769 % 2**32)
        guidance = _varied_guidance(guidance, share * MAX_GUIDANCE_SHIFT, random)
        positive = {
            name: _rotated(value, share * MAX_ROTATION, random) if name in WORD_CONDITIONS else value
            for name, value in positive.items()
        }
    positive, negative = context.family.pad_to_longest([positive, negative])
    return positive, negative, guidance


def _joined(words: str, more: str) -> str:
    return ", ".join(part for part in (words, more) if part)


def _towards(plain: Conditions, styled: Conditions, weight: float, family: Family) -> Conditions:
    """`plain`, moved by `weight` towards `styled`."""
    plain, styled = family.pad_to_longest([plain, styled])
    return {
        name: torch.lerp(value, styled[name], weight) if name in WORD_CONDITIONS else value
        for name, value in plain.items()
    }


def _varied_guidance(guidance: float, reach: float, random: torch.Generator) -> float:
    """Up to `reach` (in log) more or less; what needs no second forward still needs none, and the reverse."""
    strayed = guidance * math.exp(reach * (2 * torch.rand(1, generator=random).item() - 1))
    return max(1.01, strayed) if guidance > 1 else guidance


def _rotated(value: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Turned on its sphere towards a random direction, by that share of a right angle.

    The sphere is around the tokens' mean, and the first token, which means "here it begins" and outweighs all others,
    stays. The direction is drawn with each feature's own spread, so that the turned words are as long as words are.
    """
    kept, moved = (value[:1], value[1:].float()) if value.ndim > 1 else (value[:0], value.float())
    middle = moved.mean(dim=0, keepdim=True)
    spread = moved.std(dim=0, keepdim=True)
    away = torch.randn(moved.shape, generator=random).to(value.device) * spread
    own = moved - middle
    away = away - own * (away * own).sum() / own.square().sum().clamp_min(1e-12)
    away = away * own.norm() / away.norm().clamp_min(1e-12)
    angle = share * math.pi / 2
    return torch.cat([kept, (middle + math.cos(angle) * own + math.sin(angle) * away).to(value.dtype)])
