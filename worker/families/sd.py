"""Stable Diffusion 1.x and 2.x, and whatever is shaped like them: CLIP text encoder, UNet, KL autoencoder.

Knows nothing of jobs, steps or samplers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from core.catalogue import Capability
from worker.families.adaptation import ModelAdapter
from worker.families.autoencoder import Autoencoder
from worker.families.clip import PromptEncoder
from worker.families.lora_switcher import LoraSwitcher
from worker.interfaces import Adaptation, Conditions, Guidance, Pixels
from worker.vision import ip_adapter_kwargs

EDITS = (
    Capability.VARIATION, Capability.INPAINT, Capability.OUTPAINT, Capability.TILE, Capability.REFINE,
    Capability.NEGATIVE, Capability.WEIGHTS, Capability.STOP, Capability.CHAOS, Capability.PREVIEW,
)  # fmt: skip


class StableDiffusion:
    """The components of a checkpoint, ready on one device; see `interfaces.Family`."""

    name = "sd"

    def __init__(
        self,
        *,
        tokenizer: Any,
        text_encoder: Any,
        unet: Any,
        vae: Any,
        scheduler: Mapping[str, Any],
        device: torch.device,
        loras: LoraSwitcher | None = None,
    ) -> None:
        self.device = device
        self.scheduler = scheduler
        self.parts: Mapping[str, nn.Module] = {"text_encoder": text_encoder, "unet": unet, "vae": vae}
        self._prompt_encoder = PromptEncoder(tokenizer, text_encoder, device, penultimate=False)
        self._unet = unet
        self._dtype: torch.dtype = unet.dtype
        self._autoencoder = Autoencoder(vae, device)
        self._adapter = ModelAdapter(loras, (unet, vae.decoder))
        self.factor = self._autoencoder.factor
        self.channels = int(unet.config.in_channels)
        self.native = int(unet.config.sample_size) * self.factor
        self.multiple = self.factor * 2 ** (len(unet.config.block_out_channels) - 1)
        # Distilled ones (LCM) take the guidance scale as a number, next to the time.
        self._scale_features = int(unet.config.time_cond_proj_dim or 0)
        self.guidance: Guidance = Guidance.EMBEDDED if self._scale_features else Guidance.CLASSIFIER_FREE
        # Without a second forward nothing can be led away from.
        negates = self.guidance is Guidance.CLASSIFIER_FREE
        edits = EDITS if negates else tuple(edit for edit in EDITS if edit is not Capability.NEGATIVE)
        self.edits: tuple[Capability, ...] = (*edits, Capability.LORA) if loras is not None else edits

    def encode_prompt(self, text: str, *, negative: bool = False) -> Conditions:
        """`text`: [chunks × tokens, features]. Raises ValueError for weights that cannot be."""
        return {"text": self._prompt_encoder.encode(text).states.to(self._dtype)}

    def pad_to_longest(self, texts: Sequence[Conditions]) -> list[Conditions]:
        """Fills shorter texts up with empty chunks."""
        longest = max(len(text["text"]) for text in texts)
        return [text if len(text["text"]) == longest else self._fill(text, longest) for text in texts]

    def _fill(self, text: Conditions, length: int) -> Conditions:
        empty = self.encode_prompt("")["text"]
        missing = (length - len(text["text"])) // len(empty)
        return {**text, "text": torch.cat([text["text"], *[empty] * missing])}

    def encode_picture(self, pixels: Pixels) -> Tensor:
        """The mean of the autoencoder's distribution, scaled as the UNet expects it."""
        return self._autoencoder.encode_picture(pixels)

    def adapt(self, adaptation: Adaptation) -> None:
        """LoRAs on the UNet and the text encoder; edges that meet in the UNet and the decoder."""
        self._adapter.adapt(adaptation)

    def denoise(self, latents: Tensor, timesteps: Tensor, conditions: Conditions, scales: Tensor) -> Tensor:
        """One forward of the UNet."""
        scale = guidance_embedding(scales, self._scale_features).to(self._dtype) if self._scale_features else None
        out: Tensor = self._unet(
            latents.to(self._dtype),
            timesteps,
            conditions["text"],
            timestep_cond=scale,
            added_cond_kwargs=self._added(latents, conditions),
            cross_attention_kwargs=ip_adapter_kwargs(conditions),
            return_dict=False,
        )[0]
        return out.float()

    def _added(self, latents: Tensor, conditions: Conditions) -> dict[str, Any] | None:
        """What the UNet is told besides text and time."""
        return None

    def decode(self, latents: Tensor) -> Tensor:
        """One forward of the decoder."""
        return self._autoencoder.decode(latents)


def guidance_embedding(scales: Tensor, count: int) -> Tensor:
    """Guidance scales [B] as waves of falling frequency [B, count]: how a distilled UNet reads them."""
    half = count // 2
    frequencies = torch.exp(torch.arange(half, device=scales.device) * (-math.log(10000.0) / (half - 1)))
    waves = (scales.float() - 1)[:, None] * 1000 * frequencies[None]
    return nn.functional.pad(torch.cat([waves.sin(), waves.cos()], dim=1), (0, count % 2))
