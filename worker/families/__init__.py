"""Families of models. One file each; `interfaces.Family` says what a newcomer has to bring."""

from worker.families.autoencoder import dtype_of
from worker.families.flux import Flux
from worker.families.generic_pipeline import GenericPipeline
from worker.families.latent_preview import LatentPreview, preview_sheet
from worker.families.lora_switcher import LoraFiles, LoraSwitcher, file_states
from worker.families.sd import StableDiffusion
from worker.families.sdxl import StableDiffusionXL

__all__ = [
    "Flux",
    "GenericPipeline",
    "LatentPreview",
    "LoraFiles",
    "LoraSwitcher",
    "StableDiffusion",
    "StableDiffusionXL",
    "dtype_of",
    "file_states",
    "preview_sheet",
]
