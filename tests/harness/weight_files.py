"""Writes small weights files and folders that look like real ones to whoever reads headers. Computes nothing."""

import json
import struct
from pathlib import Path
from typing import Any

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


#: How many transformers a block of the UNet has, by block, of Stable Diffusion 1.x and 2.x, and of XL.
_SD: dict[str, Any] = {
    "input": {1: 1, 2: 1, 4: 1, 5: 1, 7: 1, 8: 1},
    "output": dict.fromkeys(range(3, 12), 1),
    "middle": 1,
    "blocks": 12,
}
_XL: dict[str, Any] = {
    "input": {4: 2, 5: 2, 7: 10, 8: 10},
    "output": {0: 10, 1: 10, 2: 10, 3: 2, 4: 2, 5: 2},
    "middle": 10,
    "blocks": 9,
}
_TEXTS = {
    768: ("cond_stage_model.transformer.text_model.x",), 1024: ("cond_stage_model.model.x",),
    2048: ("conditioner.embedders.0.transformer.text_model.x", "conditioner.embedders.1.model.x"),
}  # fmt: skip


def unet_shapes(width: int = 768) -> dict[str, list[int]]:
    """A UNet in the original layout that looks at text of this width: its blocks by name, and little else."""
    kind = _XL if width == 2048 else _SD
    shapes = {"input_blocks.0.0.weight": [8, 4, 3, 3]}
    for side in ("input", "output"):
        for block in range(kind["blocks"]):
            shapes[f"{side}_blocks.{block}.0.x"] = [1]
            for depth in range(kind[side].get(block, 0)):
                shapes[f"{side}_blocks.{block}.1.{CONTEXT.replace('0', str(depth), 1)}"] = [8, width]
    for depth in range(kind["middle"]):
        shapes[f"middle_block.1.{CONTEXT.replace('0', str(depth), 1)}"] = [8, width]
    if width == 2048:
        shapes["label_emb.0.0.weight"] = [8, 4]
    return {f"model.diffusion_model.{name}": shape for name, shape in shapes.items()}


def checkpoint_shapes(width: int = 768) -> dict[str, list[int]]:
    """A whole one."""
    texts = _TEXTS.get(width, _TEXTS[768])
    return {**unet_shapes(width), "first_stage_model.decoder.conv_in.weight": [8, 4], **{name: [4] for name in texts}}


def checkpoint(path: Path, width: int = 768, *, whole: bool = True) -> Path:
    """A single file in the original layout of Stable Diffusion: 768 is 1.x, 2048 is XL."""
    return tensors(path, checkpoint_shapes(width) if whole else unet_shapes(width))


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
