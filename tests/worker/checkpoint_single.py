"""Writes a checkpoint of diffusers' folders as one file, with the names that the original programs gave its tensors."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]
_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
_OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}  # fmt: skip


def single_file(
    folder: Path, path: Path, *, open_clip: bool = False, more: Mapping[str, Any] | None = None,
    without: tuple[str, ...] = (), change: Callable[[Tensors], Tensors] = dict,
) -> Path:  # fmt: skip
    """SDXL where there is a second text encoder; else 1.x, or 2.x with `open_clip`. `more`: tensors to add.

    `change`: what else another program does to them.
    """
    unet = _prefixed("model.diffusion_model.", _unet(_read(folder, "unet")))
    vae = _prefixed("first_stage_model.", _vae(_read(folder, "vae")))
    text = _read(folder, "text_encoder")
    if (folder / "text_encoder_2").is_dir():
        texts = {
            **_prefixed("conditioner.embedders.0.transformer.", _clip(text)),
            **_prefixed("conditioner.embedders.1.model.", _open_clip(_read(folder, "text_encoder_2"))),
        }
    elif open_clip:
        texts = _prefixed("cond_stage_model.model.", _open_clip(text))
    else:
        texts = _prefixed("cond_stage_model.transformer.", _clip(text))
    tensors = {**unet, **vae, **texts, **(more or {})}
    kept = {name: tensor.contiguous() for name, tensor in tensors.items() if not name.startswith(without or "-")}
    save_file(change(kept), path)
    return path


def renamed(*pairs: tuple[str, str]) -> Callable[[Tensors], Tensors]:
    """A change of beginnings of names."""

    def change(tensors: Tensors) -> Tensors:
        for old, new in pairs:
            tensors = {
                new + name.removeprefix(old) if name.startswith(old) else name: one for name, one in tensors.items()
            }
        return tensors

    return change


def scaled_fp8(ending: str, dtype: torch.dtype, *, rows: bool = False) -> Callable[[Tensors], Tensors]:
    """ComfyUI's: the UNet's layers in fp8, each with a scale beside it, for all of it or one for each of its `rows`."""

    def change(tensors: Tensors) -> Tensors:
        found = {**tensors, "model.diffusion_model.scaled_fp8": torch.zeros(2, dtype=dtype)}
        for name, tensor in tensors.items():
            if name.startswith("model.diffusion_model.") and name.endswith(".weight") and tensor.ndim == 2:
                largest = tensor.abs().amax(dim=1, keepdim=True) if rows else tensor.abs().max()
                scale = largest / torch.finfo(dtype).max
                found[name] = (tensor / scale).to(dtype)
                found[name.removesuffix("weight") + ending] = scale
                found[name.removesuffix("weight") + "scale_input"] = torch.ones(())
        return found

    return change


def _read(folder: Path, network: str) -> Tensors:
    (path,) = (folder / network).glob("*.safetensors")
    return dict(load_file(path))


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _unet(tensors: Tensors) -> Tensors:
    """For one resnet a level down and two a level up, as the tiny checkpoints have it."""
    attended = {name.split(".attentions.")[0] for name in tensors if ".attentions." in name}
    return {_unet_name(name, attended): tensor for name, tensor in tensors.items()}


def _unet_name(name: str, attended: set[str]) -> str:
    for new, old in _OUTSIDE.items():
        if name.startswith(f"{new}."):
            return old + name.removeprefix(new)
    side, _, rest = name.partition(".")
    if side == "mid_block":
        kind, number, inside = rest.split(".", 2)
        place = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{place}.{_inside(kind, inside)}"
    level, kind, number, inside = rest.split(".", 3)
    place = 2 * int(level) + int(number)
    if side == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{2 * int(level) + 2}.0.op.{inside.removeprefix('conv.')}"
        return f"input_blocks.{place + 1}.{int(kind == 'attentions')}.{_inside(kind, inside)}"
    if kind == "upsamplers":
        return f"output_blocks.{2 * int(level) + 1}.{2 if f'{side}.{level}' in attended else 1}.{inside}"
    return f"output_blocks.{place}.{int(kind == 'attentions')}.{_inside(kind, inside)}"


def _inside(kind: str, inside: str) -> str:
    if kind == "attentions":
        return inside
    part, _, end = inside.partition(".")
    return f"{_RESNET[part]}.{end}"


def _vae(tensors: Tensors) -> Tensors:
    found: Tensors = {}
    levels = 1 + max(int(match[1]) for name in tensors if (match := re.search(r"up_blocks\.(\d+)", name)))
    for name, tensor in tensors.items():
        old = re.sub(r"up_blocks\.(\d+)", lambda match: f"up.{levels - 1 - int(match[1])}", name)
        old = re.sub(r"down_blocks\.(\d+)", r"down.\1", old)
        old = re.sub(r"mid_block\.resnets\.(\d+)", lambda match: f"mid.block_{int(match[1]) + 1}", old)
        old = old.replace(".resnets.", ".block.").replace("conv_shortcut", "nin_shortcut")
        old = old.replace("downsamplers.0.", "downsample.").replace("upsamplers.0.", "upsample.")
        old = old.replace("conv_norm_out", "norm_out")
        if "mid_block.attentions.0." in old:
            head, _, part = old.partition("mid_block.attentions.0.")
            layer, _, end = part.rpartition(".")
            old = f"{head}mid.attn_1.{_ATTENTION[layer]}.{end}"
            found[old] = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        else:
            found[old] = tensor
    return found


def _clip(tensors: Tensors) -> Tensors:
    # Old files carry the places' numbers along.
    names = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tensors.items()}
    return {**names, "text_model.embeddings.position_ids": torch.arange(77)[None]}


def _open_clip(tensors: Tensors) -> Tensors:
    plain = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    found = {
        "token_embedding.weight": plain["embeddings.token_embedding.weight"],
        "positional_embedding": plain["embeddings.position_embedding.weight"],
        "ln_final.weight": plain["final_layer_norm.weight"],
        "ln_final.bias": plain["final_layer_norm.bias"],
        "logit_scale": torch.ones(()),
    }
    if "text_projection.weight" in plain:
        found["text_projection"] = plain["text_projection.weight"].T
    for name, tensor in plain.items():
        match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if match and match[2] in _OPEN_CLIP:
            found[f"transformer.resblocks.{match[1]}.{_OPEN_CLIP[match[2]]}.{match[3]}"] = tensor
        elif match and match[2] == "self_attn.q_proj":
            three = [plain[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            found[f"transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}"] = torch.cat(three)
    return found
