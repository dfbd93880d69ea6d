"""Reads a LoRA file for one model: for each layer that it changes two thin matrices, whose product is added.

What a file means says `core.lora_plan`, for the bot too; here its numbers are read and multiplied out, and what would
not be drawn as it was made is told before anything is touched. Knows nothing of switching.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from core import lora_plan, safetensors_header
from core.lora_layers import Layers
from core.lora_metadata import ADAPTER_CONFIG, LoraRefused
from core.safetensors_header import PREFIX, Header, NotSafetensors
from worker.families.lora_products import changes_of, together
from worker.families.lora_slot import Change

log = logging.getLogger("darkroom.loras")

#: By network and layer.
Changes = Mapping[str, Mapping[str, Change]]

_DTYPES = {
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "F16": torch.float16, "BF16": torch.bfloat16,
    "F32": torch.float32, "F64": torch.float64, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64, "U8": torch.uint8,
}  # fmt: skip
_MOST_CONFIG = 1_000_000  # bytes


def read_lora(path: Path, networks: Mapping[str, nn.Module]) -> Changes:
    """The file's changes on the CPU, float32. Raises LoraRefused, or OSError."""
    with path.open("rb") as file:
        try:
            header = safetensors_header.read(file.read)
        except NotSafetensors as error:
            raise LoraRefused(f"does not fit here: its file {error}. Fetch it again as .safetensors.") from None
        beside = _config(path) if lora_plan.wants_config(header) else None
        layers = {name: _layers(network) for name, network in networks.items()}
        plan = lora_plan.plan_of(header, layers, beside)
        file.seek(0)
        start = PREFIX + safetensors_header.length(file.read(PREFIX))
        found: dict[str, dict[str, Change]] = {}
        for placed in plan.placed:
            tensors = {part: _numbers(file, start, header, name) for part, name in placed.change.parts.items()}
            into = found.setdefault(placed.network, {})
            for layer, change in changes_of(placed, tensors, networks[placed.network]):
                into[layer] = together(into[layer], change) if layer in into else change
    used = sum(len(placed.change.parts) for placed in plan.placed)
    log.info(
        "%s: %d of its %d tensors change %d layers (%s).%s", path.name, used, len(header.tensors),
        sum(map(len, found.values())), ", ".join(sorted(plan.kinds)), "".join(f" It {note}." for note in plan.notes),
    )  # fmt: skip
    return found


def _layers(network: nn.Module) -> Layers:
    """Those that can be changed, also where an earlier LoRA has wrapped them."""
    return {
        name.removesuffix(".base_layer"): tuple(layer.weight.shape)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and ".lora_" not in name
    }


def _config(path: Path) -> Mapping[str, Any] | None:
    """What peft wrote beside the file, if it is there. Raises OSError where the disk does not say."""
    try:
        with path.with_name(ADAPTER_CONFIG).open("rb") as file:
            told = json.loads(file.read(_MOST_CONFIG))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _numbers(file: BinaryIO, start: int, header: Header, name: str) -> Tensor:
    """One tensor. A copy: what still lies in the file changes when another takes its place."""
    tensor = header.tensors[name]
    file.seek(start + tensor.begin)
    data = bytearray(file.read(tensor.end - tensor.begin))
    if len(data) < tensor.end - tensor.begin:
        raise LoraRefused("is cut off. Fetch it again.")
    if not data:
        return torch.zeros(tensor.shape)
    return torch.frombuffer(data, dtype=_DTYPES[tensor.dtype]).reshape(tensor.shape).to(torch.float32)
