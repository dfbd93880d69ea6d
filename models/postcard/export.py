"""Puts the parts together as a folder that diffusers reads like any Stable Diffusion checkpoint, and takes them back.

Knows no training. Weights are stored in half precision where the folder would else grow past its 25 MB.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from models.postcard.unet import new_scheduler


def export(
    folder: Path, vae: AutoencoderKL, unet: UNet2DConditionModel, text: CLIPTextModel, tokenizer: CLIPTokenizer
) -> None:
    """Write the whole model folder; only safetensors and JSON."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def open_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The shipped model in single precision, as plain diffusers loads it, offline."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, safety_checker=None, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
