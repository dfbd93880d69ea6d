"""Autoencoders: pictures to latents as the denoiser expects them, and back.

`AutoencoderKL`, which most families share, and its relatives that pipelines without a family bring. Knows nothing of
prompts, steps or what denoises.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from worker.interfaces import Pixels

PATCH = 2  # side of FLUX.2's patches, in latents


class Autoencoder:
    """One network, with the scale, shift, mean and deviation that its config names.

    `factor`: pixels of a latent's side, for networks whose config does not tell. Those made for films see one frame.
    """

    def __init__(self, vae: Any, device: torch.device, factor: int = 0) -> None:
        self.factor = factor or 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = int(getattr(vae.config, "latent_channels", None) or vae.config.z_dim)
        self._vae, self.device = vae, device
        self._films = any(isinstance(layer, nn.Conv3d) for layer in vae.modules())
        scale = float(getattr(vae.config, "scaling_factor", None) or 1.0)
        mean = _of(vae.config, "latents_mean", float(getattr(vae.config, "shift_factor", None) or 0.0))
        self._mean = mean.to(device)
        self._scale = (scale / _of(vae.config, "latents_std", 1.0)).to(device)

    def encode_picture(self, pixels: Pixels) -> Tensor:
        """The mean of the distribution, [channels, height / factor, width / factor], float32."""
        image = torch.from_numpy(pixels.astype(np.float32)).to(self.device).permute(2, 0, 1)[None] / 127.5 - 1
        return (self._encode(image) - self._mean) * self._scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [channels, h, w] as float32 in 0 … 1, [3, height, width]."""
        return (self._decode(latents / self._scale + self._mean) / 2 + 0.5).clamp_(0, 1)

    def _encode(self, image: Tensor) -> Tensor:
        """[1, 3, height, width] in -1 … 1 as the network's own latents [channels, h, w]."""
        image = image.to(self._vae.dtype)
        found = self._vae.encode(image[:, :, None] if self._films else image)
        latents: Tensor = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latent
        return (latents[:, :, 0] if self._films else latents)[0].float()

    def _decode(self, latents: Tensor) -> Tensor:
        """And back, [3, height, width]."""
        there = latents[None].to(self._vae.dtype)
        image: Tensor = self._vae.decode(there[:, :, None] if self._films else there, return_dict=False)[0]
        return (image[:, :, 0] if self._films else image)[0].float()


class PatchAutoencoder(Autoencoder):
    """FLUX.2's: its latents are patches of two by two, each of their channels normed by what was usual in training.

    `pixels_first`: a patch's channels run over its four places first, as Ideogram's do.
    """

    def __init__(self, vae: Any, device: torch.device, factor: int, *, pixels_first: bool = False) -> None:
        super().__init__(vae, device, factor)
        inside, places = self.channels, PATCH**2
        self.factor, self.channels = self.factor * PATCH, inside * places
        self._mean = vae.bn.running_mean.float().to(device)[:, None, None]
        self._scale = (vae.bn.running_var.float() + vae.config.batch_norm_eps).rsqrt().to(device)[:, None, None]
        plain = torch.arange(self.channels)
        self._order = plain.view(inside, places).T.flatten() if pixels_first else plain

    def _encode(self, image: Tensor) -> Tensor:
        return pixel_unshuffle(super()._encode(image), PATCH)[self._order]

    def _decode(self, latents: Tensor) -> Tensor:
        return super()._decode(pixel_shuffle(latents[self._order.argsort()], PATCH))


def _of(config: Any, name: str, otherwise: float) -> Tensor:
    """A number per channel, [channels or 1, 1, 1]."""
    given = getattr(config, name, None)
    return torch.tensor([otherwise] if given is None else list(given), dtype=torch.float32)[:, None, None]


def dtype_of(config: Mapping[str, Any], wanted: torch.dtype) -> torch.dtype:
    """The precision for an autoencoder: those that say so (SDXL's) overflow in float16, and run in float32 then."""
    return torch.float32 if wanted is torch.float16 and config.get("force_upcast") else wanted
