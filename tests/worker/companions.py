"""Makes random-weight companions in the published formats, small enough to compute in milliseconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Swin2SRConfig,
    Swin2SRForImageSuperResolution,
)

from worker.checkpoints import LoadedCheckpoint
from worker.engine.image_encoding import png
from worker.vision import Companions
from worker.vision.upscale import Upscaler

WIDTH, EMBED = 128, 24  # of the encoder: a plus resampler's heads are 64 wide
LABELS = ("thing:boat", "thing:star", "colour:red", "colour:blue", "ground:sea", "ground:city", "sky:day", "sky:night")
SOURCE = png(np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8))
LARGER = {"width": 128, "height": 128, "count": 1}


def vision_config(**changes: Any) -> CLIPVisionConfig:
    """16 patches."""
    own = {"hidden_size": WIDTH, "intermediate_size": 64, "projection_dim": EMBED, "num_hidden_layers": 3}
    return CLIPVisionConfig(**{**own, "num_attention_heads": 2, "image_size": 32, "patch_size": 8, **changes})


def make_encoder(folder: Path, seed: int = 1) -> Path:
    """A CLIP vision tower with its projection, that sees a picture's middle square."""
    torch.manual_seed(seed)
    CLIPVisionModelWithProjection(vision_config()).save_pretrained(folder)
    preprocessor = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def make_classifier(folder: Path, labels: tuple[str, ...] = LABELS, seed: int = 2, **config: Any) -> Path:
    """A classifier with these labels, that sees the whole picture as a square."""
    torch.manual_seed(seed)
    own = CLIPConfig(
        text_config={}, vision_config=vision_config().to_dict(), id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)}, **config,
    )  # fmt: skip
    CLIPForImageClassification(own).save_pretrained(folder)
    preprocessor = {"size": {"height": 32, "width": 32}, "do_center_crop": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def make_adapter(folder: Path, unet: Any, *, plus: bool = False, seed: int = 3) -> Path:
    """An IP-Adapter for this UNet, with its encoder in a folder beside its file."""
    torch.manual_seed(seed)
    make_encoder(folder / "image_encoder")
    dim = int(unet.config.cross_attention_dim)
    weights = _resampler(dim) if plus else _projection(dim)
    layers = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for place, name in enumerate(layers):
        attention = unet.get_submodule(name.removesuffix(".processor"))
        for one in "kv":
            weights[f"ip_adapter.{2 * place + 1}.to_{one}_ip.weight"] = torch.randn(attention.to_k.weight.shape) * 0.3
    save_file(weights, folder / "adapter.safetensors")
    return folder


def _projection(dim: int, tokens: int = 4) -> dict[str, Tensor]:
    return {
        "image_proj.proj.weight": torch.randn(tokens * dim, EMBED), "image_proj.proj.bias": torch.zeros(tokens * dim),
        "image_proj.norm.weight": torch.ones(dim), "image_proj.norm.bias": torch.zeros(dim),
    }  # fmt: skip


def _resampler(dim: int, queries: int = 6, inner: int = 128, blocks: int = 4) -> dict[str, Tensor]:
    """As IP-Adapter plus names them."""
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, queries, inner), "proj_in.weight": (inner, WIDTH), "proj_in.bias": (inner,),
        "proj_out.weight": (dim, inner), "proj_out.bias": (dim,), "norm_out.weight": (dim,), "norm_out.bias": (dim,),
    }  # fmt: skip
    for block in range(blocks):
        ask, think = f"layers.{block}.0", f"layers.{block}.1"
        shapes |= {f"{ask}.norm{n}.{part}": (inner,) for n in (1, 2) for part in ("weight", "bias")}
        shapes |= {f"{ask}.to_q.weight": (128, inner), f"{ask}.to_kv.weight": (256, inner)}
        shapes |= {f"{ask}.to_out.weight": (inner, 128), f"{think}.0.weight": (inner,), f"{think}.0.bias": (inner,)}
        shapes |= {f"{think}.1.weight": (4 * inner, inner), f"{think}.3.weight": (inner, 4 * inner)}
    return {f"image_proj.{name}": torch.randn(shape) * 0.1 for name, shape in shapes.items()}


def open_all(loaded: LoadedCheckpoint) -> Companions:
    """Everything beside a model, as if jobs had needed it."""
    companions = loaded.companions
    for kind in companions.known:
        if kind not in companions.kinds_in_memory:
            companions.add(kind, companions.open(kind), loaded.family.parts)
    return companions.in_memory


def make_upscaler(folder: Path, seed: int = 4, upscale: int = 2) -> Path:
    """A Swin2SR that makes pictures larger, by default twice: what it adds is random, but nearness is kept."""
    torch.manual_seed(seed)
    config = Swin2SRConfig(
        image_size=32, embed_dim=24, depths=[2], num_heads=[2], window_size=8, mlp_ratio=2.0, upscale=upscale,
        upsampler="pixelshuffledirect",
    )  # fmt: skip
    Swin2SRForImageSuperResolution(config).save_pretrained(folder)
    return folder


def enlarge_in_small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine of them for a picture of 64 × 64, so that an upscale is many pieces."""
    whole = Upscaler.enlarge
    small = lambda self, pixels, factor: whole(self, pixels, factor, side=32, overlap=16)  # noqa: E731
    monkeypatch.setattr(Upscaler, "enlarge", small)
