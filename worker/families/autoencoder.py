"""The KL autoencoder that most families share: pictures to latents as the denoiser expects them, and back.

Knows nothing of prompts, steps or what denoises.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worker.families.base import Pixels


class Autoencoder:
    """One `AutoencoderKL`, with the scale, shift, mean and deviation that its config names."""

    def __init__(self, vae: Any, device: torch.device) -> None:
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = int(vae.config.latent_channels)
        self._vae, self.device = vae, device
        scale = float(vae.config.scaling_factor)
        mean = _of(vae.config, "latents_mean", float(getattr(vae.config, "shift_factor", None) or 0.0))
        self._mean = mean.to(device)
        self._scale = (scale / _of(vae.config, "latents_std", 1.0)).to(device)

    def encode_picture(self, pixels: Pixels) -> Tensor:
        """The mean of the distribution, [channels, height / factor, width / factor], float32."""
        image = torch.from_numpy(pixels.astype(np.float32)).to(self.device).permute(2, 0, 1)[None] / 127.5 - 1
        found: Tensor = self._vae.encode(image.to(self._vae.dtype)).latent_dist.mode()
        return (found[0].float() - self._mean) * self._scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [channels, h, w] as float32 in 0 … 1, [3, height, width]."""
        there = (latents / self._scale + self._mean)[None]
        image: Tensor = self._vae.decode(there.to(self._vae.dtype), return_dict=False)[0]
        return (image[0].float() / 2 + 0.5).clamp_(0, 1)


def _of(config: Any, name: str, otherwise: float) -> Tensor:
    """A number per channel, [channels or 1, 1, 1]."""
    given = getattr(config, name, None)
    return torch.tensor([otherwise] if given is None else list(given), dtype=torch.float32)[:, None, None]


def dtype_of(config: Mapping[str, Any], wanted: torch.dtype) -> torch.dtype:
    """The precision for an autoencoder: those that say so (SDXL's) overflow in float16, and run in float32 then."""
    return torch.float32 if wanted is torch.float16 and config.get("force_upcast") else wanted
