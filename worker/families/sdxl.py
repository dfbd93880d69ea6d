"""Stable Diffusion XL and its kin (Turbo, Lightning, LCM, v-prediction fine-tunes): two CLIP encoders, one UNet.

Few-step models are those whose requests ask for a guidance of at most 1: a step then costs one forward. What the
model predicts and whether its schedule ends in pure noise stands in the scheduler's config. Knows no jobs or steps.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from worker.families.clip import PromptEncoder
from worker.families.lora_switcher import LoraSwitcher
from worker.families.sd import StableDiffusion
from worker.interfaces import Conditions


class StableDiffusionXL(StableDiffusion):
    """`zeros_for_empty`: a negative prompt without words is zeros, not an empty text's states."""

    name = "sdxl"

    def __init__(
        self, *, tokenizer: Any, tokenizer_2: Any, text_encoder: Any, text_encoder_2: Any, unet: Any, vae: Any,
        scheduler: Mapping[str, Any], device: torch.device, zeros_for_empty: bool = True,
        loras: LoraSwitcher | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            tokenizer=tokenizer, text_encoder=text_encoder, unet=unet, vae=vae,
            scheduler=scheduler, device=device, loras=loras,
        )  # fmt: skip
        networks: dict[str, nn.Module] = {**self.parts, "text_encoder_2": text_encoder_2}
        self.parts = networks
        self._prompt_encoders = (
            PromptEncoder(tokenizer, text_encoder, device, penultimate=True),
            PromptEncoder(tokenizer_2, text_encoder_2, device, penultimate=True),
        )
        self._zeros_for_empty = zeros_for_empty
        self.multiple = max(self.multiple, 64)  # as all sizes that it was trained at

    def encode_prompt(self, text: str, *, negative: bool = False) -> Conditions:
        """`text`: both encoders' states side by side; `pooled`: what the second one sums the text up to."""
        first, second = (encoder.encode(text) for encoder in self._prompt_encoders)
        states = torch.cat([first.states, second.states], dim=-1).to(self._dtype)
        pooled = second.pooled.to(self._dtype)
        if negative and not text and self._zeros_for_empty:
            return {"text": torch.zeros_like(states), "pooled": torch.zeros_like(pooled)}
        return {"text": states, "pooled": pooled}

    def _fill(self, text: Conditions, length: int) -> Conditions:
        if text["text"].any():
            return super()._fill(text, length)
        states = text["text"]
        return {**text, "text": states.new_zeros(length, states.shape[1])}

    def _added(self, latents: Tensor, conditions: Conditions) -> dict[str, Any]:
        """The size that the picture is said to have had, uncropped: its own."""
        height, width = (side * self.factor for side in latents.shape[2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], device=latents.device, dtype=self._dtype)
        return {"text_embeds": conditions["pooled"], "time_ids": sizes.expand(len(latents), -1)}
