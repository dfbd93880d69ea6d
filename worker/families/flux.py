"""FLUX.1 schnell and dev: CLIP sums the prompt up, T5 reads it, a transformer of patches denoises.

Outside, latents are [16, h, w] as everywhere; the 2×2 patches that the transformer sees are made and unmade here. dev
takes the guidance scale as a number, schnell none: a step is one forward either way. Knows nothing of jobs or steps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from core.catalogue import Capability
from core.prompt_weights import unweighted
from worker.families.adaptation import ModelAdapter
from worker.families.autoencoder import Autoencoder
from worker.families.lora_switcher import LoraSwitcher
from worker.interfaces import Adaptation, Conditions, Guidance, Pixels

EDITS = (
    Capability.VARIATION,
    Capability.INPAINT,
    Capability.OUTPAINT,
    Capability.REFINE,
    Capability.STOP,
    Capability.CHAOS,
    Capability.PREVIEW,
)
#: The longest prompts that they were trained with, in T5's tokens.
DEV_TOKENS, SCHNELL_TOKENS = 512, 256


class Flux:
    """See `interfaces.Family`. Both sides of a picture must be multiples of `multiple`: patches are two latents."""

    name = "flux"

    def __init__(
        self,
        *,
        tokenizer: Any,
        tokenizer_2: Any,
        text_encoder: Any,
        text_encoder_2: Any,
        transformer: Any,
        vae: Any,
        scheduler: Mapping[str, Any],
        device: torch.device,
        loras: LoraSwitcher | None = None,
    ) -> None:
        self.device = device
        self.scheduler: Mapping[str, Any] = {"prediction_type": "flow_prediction", **scheduler}
        self.parts: Mapping[str, nn.Module] = {
            "text_encoder": text_encoder, "text_encoder_2": text_encoder_2, "transformer": transformer, "vae": vae,
        }  # fmt: skip
        self.edits: tuple[Capability, ...] = (*EDITS, Capability.LORA) if loras is not None else EDITS
        self._clip, self._clip_tokens = text_encoder, tokenizer
        self._t5, self._t5_tokens = text_encoder_2, tokenizer_2
        self._transformer = transformer
        self._dtype: torch.dtype = transformer.dtype
        self._autoencoder = Autoencoder(vae, device)
        self._adapter = ModelAdapter(loras, ())
        self._guided = bool(transformer.config.guidance_embeds)
        self.guidance: Guidance = Guidance.EMBEDDED if self._guided else Guidance.NONE
        self._longest = DEV_TOKENS if self._guided else SCHNELL_TOKENS
        self.factor = self._autoencoder.factor
        self.channels = int(transformer.config.in_channels) // 4
        self.multiple = 2 * self.factor
        self.native = 128 * self.factor

    def encode_prompt(self, text: str, *, negative: bool = False) -> Conditions:
        """`pooled` [features] of CLIP, `text` [tokens, features] of T5, which is always as long as it may be."""
        words = unweighted(text)
        clip = self._ids(self._clip_tokens, words, self._clip_tokens.model_max_length)
        pooled: Tensor = self._clip(clip, output_hidden_states=False).pooler_output
        states: Tensor = self._t5(self._ids(self._t5_tokens, words, self._longest), output_hidden_states=False)[0]
        return {"text": states[0].to(self._dtype), "pooled": pooled[0].to(self._dtype)}

    def _ids(self, tokenizer: Any, text: str, length: int) -> Tensor:
        found = tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        ids: Tensor = found.input_ids
        return ids.to(self.device)

    def pad_to_longest(self, texts: Sequence[Conditions]) -> list[Conditions]:
        """They are of one length already."""
        return list(texts)

    def encode_picture(self, pixels: Pixels) -> Tensor:
        """The mean of the autoencoder's distribution, shifted and scaled."""
        return self._autoencoder.encode_picture(pixels)

    def adapt(self, adaptation: Adaptation) -> None:
        """LoRAs on the transformer and CLIP. Raises LookupError for edges that meet: places are absolute here."""
        self._adapter.adapt(adaptation)

    def denoise(self, latents: Tensor, timesteps: Tensor, conditions: Conditions, scales: Tensor) -> Tensor:
        """One forward of the transformer: the velocity. Times are 0 … 1000, as diffusers' schedulers name them."""
        height, width = latents.shape[2:]
        if height % 2 or width % 2:
            raise ValueError(f"FLUX needs sides that are multiples of {self.multiple} pixels.")
        text = conditions["text"]
        out: Tensor = self._transformer(
            hidden_states=packed(latents).to(self._dtype),
            timestep=timesteps.float() / 1000,
            guidance=scales if self._guided else None,
            pooled_projections=conditions["pooled"],
            encoder_hidden_states=text,
            txt_ids=torch.zeros(text.shape[1], 3, device=self.device, dtype=self._dtype),
            img_ids=patch_positions(height // 2, width // 2).to(self.device, self._dtype),
            return_dict=False,
        )[0]
        return unpacked(out.float(), height, width)

    def decode(self, latents: Tensor) -> Tensor:
        """One forward of the decoder."""
        return self._autoencoder.decode(latents)


def packed(latents: Tensor) -> Tensor:
    """[B, channels, h, w] as patches of 2×2, [B, h/2 · w/2, 4 · channels]."""
    return nn.functional.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def unpacked(patches: Tensor, height: int, width: int) -> Tensor:
    """The reverse of `packed`."""
    grid = patches.transpose(1, 2).reshape(len(patches), -1, height // 2, width // 2)
    return nn.functional.pixel_shuffle(grid, 2)


def patch_positions(rows: int, columns: int) -> Tensor:
    """Each patch's place as (0, row, column), [rows · columns, 3]."""
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(down), down, across], dim=-1).flatten(0, 1).float()
