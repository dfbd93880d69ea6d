"""Writes small weights files and folders that look like real ones to whoever reads headers. Computes nothing."""

import json
import struct
from pathlib import Path

CONTEXT = "transformer_blocks.0.attn2.to_k.weight"


def beginning(shapes: dict[str, list[int]], **metadata: str) -> tuple[bytes, int]:
    """A file's prefix and header, with every tensor in half precision, and how many bytes come behind them."""
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text, at


def tensors(path: Path, shapes: dict[str, list[int]], **metadata: str) -> Path:
    """A whole .safetensors file of zeros."""
    start, rest = beginning(shapes, **metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(start + bytes(rest))
    return path


def checkpoint(path: Path, width: int = 768, *, whole: bool = True) -> Path:
    """A single file in the original layout of Stable Diffusion: 768 is 1.x, 2048 is XL."""
    block = 4 if width == 2048 else 1
    shapes = {
        "model.diffusion_model.input_blocks.0.0.weight": [8, 4, 3, 3],
        f"model.diffusion_model.input_blocks.{block}.1.{CONTEXT}": [8, width],
    }
    if whole:
        shapes |= {"first_stage_model.decoder.conv_in.weight": [8, 4], "cond_stage_model.transformer.x": [4]}
    return tensors(path, shapes)


def lora(path: Path, width: int = 768) -> Path:
    """A LoRA in kohya's naming."""
    layer = f"lora_unet_down_blocks_1_attentions_0_{CONTEXT.replace('.', '_')[:-7]}"
    return tensors(path, {f"{layer}.lora_down.weight": [4, width], f"{layer}.lora_up.weight": [640, 4]})


def all_of(place: Path) -> list[Path]:
    """Every file below a folder."""
    return [path for path in place.rglob("*") if path.is_file()]


def folder(path: Path, *, width: int = 768, side: int = 64) -> Path:
    """A folder in diffusers' format, with the parts of Stable Diffusion 1.x."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "safety_checker": [None, None],
    }
    configs = {
        "unet/config.json": {"sample_size": side, "block_out_channels": [32, 64, 64, 64], "cross_attention_dim": width},
        "vae/config.json": {"block_out_channels": [8, 16, 16, 16]},
        "text_encoder/config.json": {},
        "tokenizer/tokenizer_config.json": {},
        "scheduler/scheduler_config.json": {},
        "model_index.json": index,
    }
    for name, config in configs.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(json.dumps(config))
    for name in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        tensors(path / f"{name}.safetensors", {"x": [64, 64]})
    return path
