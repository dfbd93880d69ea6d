"""What the adapters of the frozen model share: its parts, its noise, and the loss of one noisy batch.

Knows no adapter: what is learned hangs in the UNet already.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from models.postcard.captions import caption
from models.postcard.latents import inside
from models.postcard.text import token_ids
from models.postcard.train import HERE
from models.postcard.unet import INSIDE_WEIGHT, TRAIN_STEPS, new_scheduler
from models.postcard.world import Scene


@dataclass(frozen=True, slots=True)
class FrozenModel:
    """The shipped parts, frozen, in single precision."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel
    tokenizer: CLIPTokenizer
    alphas: Tensor

    @torch.no_grad()
    def read(self, words: Sequence[str]) -> Tensor:
        """(count, tokens, 128): what the UNet attends to."""
        states: Tensor = self.text(token_ids(self.tokenizer, words)).last_hidden_state
        return states


def frozen_vae() -> AutoencoderKL:
    """The shipped autoencoder."""
    return AutoencoderKL.from_pretrained(HERE / "vae", torch_dtype=torch.float32).eval().requires_grad_(False)


def frozen_model() -> FrozenModel:
    """The shipped model as training needs it."""
    unet = UNet2DConditionModel.from_pretrained(HERE / "unet", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(HERE / "text_encoder", dtype=torch.float32)
    unet.set_attn_processor(AttnProcessor())  # on a CPU the fused attention's backward pass is the slower one
    return FrozenModel(
        unet.requires_grad_(False),
        frozen_vae(),
        text.eval().requires_grad_(False),
        CLIPTokenizer.from_pretrained(HERE / "tokenizer"),
        DDPMScheduler.from_config(new_scheduler().config).alphas_cumprod,
    )


def told(scenes: Sequence[Scene], rng: random.Random, silence: float) -> list[str]:
    """A wording of each scene, or nothing."""
    return ["" if rng.random() < silence else caption(s, rng) for s in scenes]


def loss_of(model: FrozenModel, latents: Tensor, scenes: Sequence[Scene], states: Tensor, **more: Any) -> Tensor:
    """Squared error of v at noise levels spread evenly over the batch, a little heavier where the things are."""
    count = len(latents)
    steps = ((torch.arange(count) + torch.rand(count)) / count * TRAIN_STEPS).long()
    eps = torch.randn(latents.shape)
    a, s = (v.view(-1, 1, 1, 1) for v in (model.alphas[steps].sqrt(), (1 - model.alphas[steps]).sqrt()))
    with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
        v = model.unet(a * latents + s * eps, steps, states, **more).sample
    weight = 1 + INSIDE_WEIGHT * torch.stack([inside(scene) for scene in scenes])
    error: Tensor = (v.float() - (a * eps - s * latents)).square() * weight
    return error.mean() / weight.mean()
