"""Stable Diffusion 1.x and 2.x, and whatever is shaped like them: CLIP text encoder, UNet, KL autoencoder.

Knows nothing of jobs, steps or samplers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worker.families.base import Adaptation, Conditions, Guidance, Pixels


class StableDiffusion:
    """The four components of a checkpoint, ready on one device; see `base.Family`."""

    name = "sd"
    guidance = Guidance.TWICE

    def __init__(
        self,
        *,
        tokenizer: Any,
        text_encoder: Any,
        unet: Any,
        vae: Any,
        scheduler: Mapping[str, Any],
        device: torch.device,
    ) -> None:
        self.device = device
        self.scheduler = scheduler
        self.parts: Mapping[str, nn.Module] = {"text_encoder": text_encoder, "unet": unet, "vae": vae}
        self._tokenizer, self._text_encoder, self._unet, self._vae = tokenizer, text_encoder, unet, vae
        self._dtype: torch.dtype = unet.dtype
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = int(unet.config.in_channels)
        self.native = int(unet.config.sample_size) * self.factor
        self.multiple = self.factor * 2 ** (len(unet.config.block_out_channels) - 1)
        self._scale = float(vae.config.scaling_factor)
        self._shift = float(getattr(vae.config, "shift_factor", None) or 0.0)

    def encode_prompt(self, text: str, *, negative: bool = False) -> Conditions:
        """`text`: [tokens, features]; a longer text than the encoder reads is cut, as its own pipeline does."""
        length = self._tokenizer.model_max_length
        tokens = self._tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        mask = None
        if getattr(self._text_encoder.config, "use_attention_mask", False):
            mask = tokens.attention_mask.to(self.device)
        hidden: Tensor = self._text_encoder(tokens.input_ids.to(self.device), attention_mask=mask)[0]
        return {"text": hidden[0].to(self._dtype)}

    def even(self, texts: Sequence[Conditions]) -> list[Conditions]:
        """All are of one length."""
        return list(texts)

    def encode_picture(self, pixels: Pixels) -> Tensor:
        """The mean of the autoencoder's distribution, scaled as the UNet expects it."""
        image = torch.from_numpy(pixels.astype(np.float32)).to(self.device).permute(2, 0, 1)[None] / 127.5 - 1
        mean: Tensor = self._vae.encode(image.to(self._vae.dtype)).latent_dist.mode()
        return (mean[0].float() - self._shift) * self._scale

    def adapt(self, adaptation: Adaptation) -> None:
        """Takes the model as it is; raises LookupError for anything else."""
        if adaptation != Adaptation():
            raise LookupError("This model takes no LoRAs and no tiling.")

    def denoise(self, latents: Tensor, timesteps: Tensor, conditions: Conditions, scales: Tensor) -> Tensor:
        """One forward of the UNet."""
        out: Tensor = self._unet(latents.to(self._dtype), timesteps, conditions["text"], return_dict=False)[0]
        return out.float()

    def decode(self, latents: Tensor) -> Tensor:
        """One forward of the decoder."""
        scaled = latents[None] / self._scale + self._shift
        image: Tensor = self._vae.decode(scaled.to(self._vae.dtype), return_dict=False)[0]
        return (image[0].float() / 2 + 0.5).clamp_(0, 1)
