"""What the engine needs of a family of models: encode, denoise a batch, decode. Nothing else differs between families.

To add one: write a module with a class of these methods, and let `worker.models` choose it by what the checkpoint's
`model_index.json` names. The engine gives every row its own timestep and text; a family never sees jobs, steps, seeds
or samplers.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]  # [height, width, 3], RGB


class Family(Protocol):
    """A loaded model. Latents are float32 on `device`; sizes in pixels; one picture has no batch axis."""

    name: str
    device: torch.device
    native: int  # side of its native square
    multiple: int  # sides that it likes are multiples of this
    factor: int  # pixels a latent's side stands for; sides must be multiples of it
    channels: int  # of the latents
    scheduler: Mapping[str, Any]  # diffusers' scheduler config, with `prediction_type`

    def encode_prompt(self, text: str) -> Tensor:
        """What `denoise` needs of a text, [tokens, features]; the same for the same text, whatever else runs."""

    def encode_picture(self, pixels: Pixels) -> Tensor:
        """A picture as latents [channels, height / factor, width / factor], without randomness."""

    def denoise(self, latents: Tensor, timesteps: Tensor, texts: Tensor) -> Tensor:
        """The model's output, float32, for latents [B, …], timesteps [B] and texts [B, tokens, features]."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [channels, h, w] as a picture: float32 in 0 … 1, [3, height, width]."""
