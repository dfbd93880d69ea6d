"""Tries a model with one step of one picture: what it cannot compute shows now, and not in somebody's job.

Knows nothing of jobs, of memory, or of what becomes of a model that fails.
"""

import torch

from core.job import Request
from worker.interfaces import Family, Whole

WORDS = "a test"
#: Of the native side: enough for networks that halve a picture several times, and next to no work.
_SMALL = 4


def small_side(family: Family | Whole) -> int:
    """Pixels of the side of a square that is quickly tried."""
    return max(1, -(-family.native // (_SMALL * family.multiple))) * family.multiple


@torch.inference_mode()
def try_out(family: Family | Whole, side: int) -> None:
    """A text, a forward and a decode at this size, or the pipeline's own step. Raises whatever goes wrong."""
    if isinstance(family, Whole):
        _run(family, side)
        return
    latents = torch.zeros(1, family.channels, side // family.factor, side // family.factor, device=family.device)
    text = {name: value[None] for name, value in family.encode_prompt(WORDS).items()}
    one = torch.ones(1, device=family.device)
    family.denoise(latents, one, text, one)
    family.decode(latents[0])


def _run(whole: Whole, side: int) -> None:
    request = Request(
        prompt=WORDS, width=side, height=side, seed=0, steps=1, guidance=1.0, sampler="", model=""
    )  # fmt: skip
    run = whole.begin(request, (0,), 1)
    try:
        while run.done < run.steps:
            run.advance()
    finally:
        run.close()
