"""Weights in eight bits: half the memory of a denoiser, for a little time and a little of the picture.

A setting for small cards, not for speed: weights are cast up before each use. Knows nothing of plans.
"""

from typing import Any

import torch
from torch import nn

STORED = torch.float8_e4m3fn


def to_fp8(denoiser: nn.Module, compute: torch.dtype) -> None:
    """Keeps the weights of a network of diffusers in fp8; norms and embeddings stay as they are, as it names them."""
    network: Any = denoiser
    network.enable_layerwise_casting(storage_dtype=STORED, compute_dtype=compute)
