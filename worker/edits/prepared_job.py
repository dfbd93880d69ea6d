"""What a job of any kind becomes before the loop takes it: rows to start, and how their pictures are finished.

Values only. Knows nothing of how they were made, nor of queues and batches.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from worker.interfaces import Conditions, Family, Pixels
from worker.vision import Companions


class EncodeText(Protocol):
    """Encodes words once and keeps what it got, as `Family.encode_prompt` says it."""

    def __call__(self, words: str, *, negative: bool = False) -> Conditions:
        """What the family needs of these words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareContext:
    """What preparing a job needs: the loaded model, its companions, and its texts' encodings (cached)."""

    family: Family
    companions: Companions
    text: EncodeText


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStart:
    """One row before its first step. Most pictures are one row; a creative upscale has a row for each tile.

    `size`: the row's own, which decides with whom it can share a forward. `source`: latents that it starts near. `keep`
    and `mask` (float [1, h, w], 1 = anew): latents that stay where the mask is 0. `noise`: its first noise, where the
    seed's own (`None`) will not do.
    """

    index: int  # of the picture in its job
    size: tuple[int, int]  # (width, height) in pixels
    text: Conditions
    negative: Conditions
    guidance: float
    source: Tensor | None = None
    keep: Tensor | None = None
    mask: Tensor | None = None
    noise: Tensor | None = None


#: Takes a row's place among the starts and its decoded pixels; gives the finished picture, or None while other rows of
#: that picture are missing. It uses no device, may take a while, and belongs to one thread of the caller's choice.
Finish = Callable[[int, Pixels], Pixels | None]


def unchanged(_place: int, pixels: Pixels) -> Pixels:
    """The row's pixels are the picture."""
    return pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A job ready for the loop: `starts` to be computed, or `pictures` (by index) or `words` that are finished."""

    strength: float = 1.0
    sampler: str | None = None  # None: the request's
    starts: tuple[RowStart, ...] = ()
    finish: Finish = unchanged
    previews: bool = True  # False: its rows are parts, which nobody wants to see
    pictures: tuple[tuple[int, Pixels], ...] = field(default=(), repr=False)
    words: tuple[str, ...] = ()
