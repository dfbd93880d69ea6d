"""Reads a LoRA file for one model: for each layer that it changes two thin matrices, whose product is added.

diffusers knows the layouts that people pass around (kohya's, peft's, its own of old); here they become one, with every
factor multiplied in, and what does not fit the model is told before anything is touched. Knows nothing of switching.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

#: By network and layer: down [rank, …] and up [out, rank, …].
Layers = Mapping[str, Mapping[str, tuple[Tensor, Tensor]]]

_UP = re.compile(r"(\.lora_B|\.up)\.weight$")


class LoraDoesNotFit(ValueError):
    """The file is none for this model; the text says why, for the log."""


def read_lora(path: Path, pipeline: Any, networks: Mapping[str, nn.Module]) -> Layers:
    """The file's layers on the CPU, float32. `pipeline`: diffusers' class. Raises DoesNotFit, or whatever that does."""
    more = {"unet_config": networks["unet"].config} if "StableDiffusionXL" in pipeline.__name__ else {}
    tensors, alphas, notes = pipeline.lora_state_dict(
        str(path), local_files_only=True, use_safetensors=True, return_alphas=True, return_lora_metadata=True, **more
    )
    # Copies: what still lies in the file changes when another takes its place; a shorter one would kill the process.
    tensors = {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}
    _multiply(tensors, dict(alphas or {}), dict(notes or {}))
    found = {}
    for network in networks:
        own = {name.removeprefix(f"{network}."): t for name, t in tensors.items() if name.startswith(f"{network}.")}
        if own:
            found[network] = _layers(_as_peft(own, networks[network]), networks[network])
    if not any(found.values()):
        raise LoraDoesNotFit("no layer of it belongs to this model")
    return found


def _multiply(tensors: dict[str, Tensor], alphas: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    """Takes the scale into the upper matrices: alpha / rank, where there is an alpha."""
    for name in list(tensors):
        if not _UP.search(name):
            continue
        down = name.replace(".lora_B.", ".lora_A.").replace(".up.", ".down.")
        rank = tensors[down].shape[0]
        layer = _UP.sub("", name).removesuffix(".lora")
        alpha = next((alphas[key] for key in (f"{down}.alpha", f"{layer}.alpha") if key in alphas), None)
        alpha = _alpha_from_metadata(layer, rank, notes) if alpha is None else float(alpha)
        tensors[name] = tensors[name] * (alpha / rank)


def _alpha_from_metadata(layer: str, rank: int, notes: Mapping[str, Any]) -> float:
    """peft's own files tell the scale beside the tensors; without a word it is 1."""
    network, _, inside = layer.partition(".")
    special: Mapping[str, float] = notes.get(f"{network}.alpha_pattern") or {}
    alpha = next((value for key, value in special.items() if re.search(rf"(^|\.){key}$", inside)), None)
    alpha = notes.get(f"{network}.lora_alpha", rank) if alpha is None else alpha
    return float(alpha) * (rank**0.5 if notes.get(f"{network}.use_rslora") else 1.0)


def _as_peft(tensors: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """With the names of `<layer>.lora_A.weight` and `<layer>.lora_B.weight`."""
    from diffusers.utils import (
        convert_state_dict_to_diffusers,
        convert_state_dict_to_peft,
        convert_unet_state_dict_to_peft,
    )

    if any(".lora_A." in name for name in tensors):
        renamed = dict(tensors)
    elif any("lora_linear_layer" in name or "self_attn" in name for name in tensors):
        renamed = convert_state_dict_to_peft(convert_state_dict_to_diffusers(dict(tensors)))
    else:
        renamed = convert_unet_state_dict_to_peft(dict(tensors))
    if hasattr(network, "text_model"):
        return renamed
    return {name.removeprefix("text_model."): tensor for name, tensor in renamed.items()}


def _layers(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Pairs, each as its layer needs it. Layers that the network has not are left out, as diffusers does."""
    found = {}
    for name, down in tensors.items():
        layer = name.removesuffix(".lora_A.weight")
        up = tensors.get(f"{layer}.lora_B.weight")
        if layer == name or up is None:
            continue
        try:
            module: Any = network.get_submodule(layer)
        except AttributeError:
            continue
        base = getattr(module, "base_layer", module)
        if not isinstance(base, nn.Linear | nn.Conv2d):
            continue
        out, *into = base.weight.shape
        if up.shape[0] != out or down[0].numel() != torch.Size(into).numel() or up[0].numel() != len(down):
            raise LoraDoesNotFit(
                f"{layer} is {list(base.weight.shape)} here, not {list(up.shape)} by {list(down.shape)}"
            )
        found[layer] = down.reshape(-1, *into), up.reshape(out, -1, *[1] * (base.weight.ndim - 2))
    return found
