"""The bot's tables of layers are what diffusers and transformers build from the same numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from torch import nn

from core import model_layers
from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_flux, make_sdxl
from worker.checkpoint_formats import CONFIGS
from worker.checkpoints import class_of


def layers_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(layer.weight.shape)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


def with_text_model(layers: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """transformers calls them with or without it, by version."""
    return {f"text_model.{name}" if name.startswith("encoder.layers") else name: of for name, of in layers.items()}


@pytest.mark.parametrize("shape", ["sd1", "sd2", "sdxl"])
def test_the_well_known_ones_are_those_that_single_files_are_loaded_as(shape: str) -> None:
    expected, folder = {}, CONFIGS / shape
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    for name in ("unet", "text_encoder", "text_encoder_2"):
        if name in index:
            config = json.loads((folder / name / "config.json").read_text("utf-8"))
            with torch.device("meta"):
                if name == "unet":
                    expected[name] = layers_of(diffusers.UNet2DConditionModel.from_config(config))
                else:
                    kind: Any = class_of(index[name][1])
                    expected[name] = with_text_model(layers_of(kind(transformers.CLIPTextConfig(**config))))
    assert model_layers.well_known(shape) == expected


def test_flux_is_too() -> None:
    with torch.device("meta"):
        transformer = diffusers.FluxTransformer2DModel(guidance_embeds=True)
        config = transformers.T5Config(
            d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, feed_forward_proj="gated-gelu"
        )
        words = transformers.T5EncoderModel(config)
    found = model_layers.well_known("flux") or {}
    assert (found["transformer"], found["text_encoder_2"]) == (layers_of(transformer), layers_of(words))
    assert model_layers.well_known("sdxl-refiner") is None


@pytest.mark.parametrize(
    "maker", [make, make_sdxl, lambda folder: make_flux(folder, guided=False)], ids=["sd", "sdxl", "flux"]
)
def test_small_ones_of_ones_own_are_built_from_their_configs(tmp_path: Path, maker: Callable[[Path], Path]) -> None:
    folder = maker(tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    readers: dict[str, Callable[[Any], model_layers.Layers]] = {
        "UNet2DConditionModel": model_layers.unet,
        "FluxTransformer2DModel": model_layers.flux,
        "CLIPTextModel": model_layers.clip,
        "CLIPTextModelWithProjection": lambda config: model_layers.clip(config, projects=True),
        "T5EncoderModel": model_layers.t5,
    }
    for name, value in index.items():
        if isinstance(value, list) and value[1] in readers:
            config = json.loads((folder / name / "config.json").read_text("utf-8"))
            network = class_of(value[1]).from_pretrained(folder / name)
            assert readers[value[1]](config) == with_text_model(layers_of(network)), name
