"""Tiny pipelines, with random weights, of kinds that no family of ours draws row by row."""

from pathlib import Path
from typing import Any

import diffusers
import torch

from tests.worker.checkpoint import SCHEDULER
from tests.worker.checkpoint_families import autoencoder, t5, t5_tokenizer


def make_pixart(folder: Path, seed: int = 0) -> Path:
    """A tiny PixArt-Sigma."""
    torch.manual_seed(seed)
    transformer = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8,
        cross_attention_dim=16, caption_channels=24, patch_size=2, use_additional_conditions=False, norm_num_groups=2,
    )  # fmt: skip
    with torch.no_grad():
        transformer.proj_out.weight.mul_(6)
    pipeline = diffusers.PixArtSigmaPipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5(24), transformer=transformer, vae=autoencoder(),
        scheduler=diffusers.DPMSolverMultistepScheduler.from_config(SCHEDULER),
    )  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def qwen() -> tuple[Any, dict[str, Any]]:
    """A tiny Qwen-Image, with what it is to draw: patches of two by two as tokens, an autoencoder for films."""
    pipeline = diffusers.QwenImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), text_encoder=None, tokenizer=None,
        vae=diffusers.AutoencoderKLQwenImage(base_dim=8, z_dim=16, num_res_blocks=1),
        transformer=diffusers.QwenImageTransformer2DModel(
            in_channels=64, out_channels=16, num_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=16, axes_dims_rope=(4, 4, 8),
        ),
    )  # fmt: skip
    words = {"prompt_embeds": torch.randn(1, 5, 16), "prompt_embeds_mask": torch.ones(1, 5, dtype=torch.int64)}
    return pipeline, words


def flux2(*, guidance_embeds: bool = False, is_distilled: bool = False) -> tuple[Any, dict[str, Any]]:
    """A tiny FLUX.2: tokens are whole patches, each channel normed by what was usual in training."""
    vae = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 16, 16, 16), latent_channels=4, layers_per_block=1, norm_num_groups=8, sample_size=64
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2)
    pipeline = diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), text_encoder=None, tokenizer=None, vae=vae,
        transformer=diffusers.Flux2Transformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=16, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=guidance_embeds,
        ), is_distilled=is_distilled,
    )  # fmt: skip
    return pipeline, {"prompt_embeds": torch.randn(1, 5, 16), "guidance_scale": 1.0}
