"""Makes LoRA files for the tiny checkpoints, in the two layouts that people pass around."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

RANK = 2
LAYERS = ("attn1.to_q", "attn2.to_k", "attn2.to_v")
TEXT_LAYERS = ("self_attn.q_proj", "mlp.fc1")


def make_lora(
    path: Path, parts: Mapping[str, nn.Module], networks: Sequence[str] = ("unet",), *, layout: str = "peft",
    seed: int = 1, layers: Sequence[str] = LAYERS, rank: int = RANK, strength: float = 0.3,
) -> Path:  # fmt: skip
    """A LoRA on some layers of these networks; strong enough to be seen."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for network in networks:
        for wrapped, layer in parts[network].named_modules():
            name = wrapped.removesuffix(".base_layer")  # where LoRAs were loaded before
            wanted = TEXT_LAYERS if network.startswith("text") else layers
            if isinstance(layer, nn.Linear | nn.Conv2d) and name.endswith(tuple(wanted)):
                out, *into = layer.weight.shape
                down = torch.randn(rank, *into, generator=generator)
                up = torch.randn(out, rank, *[1] * (len(into) - 1), generator=generator) * strength
                tensors |= _named(network, name, down, up, layout)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def _named(network: str, name: str, down: Tensor, up: Tensor, layout: str) -> dict[str, Tensor]:
    if layout == "peft":
        return {f"{network}.{name}.lora_A.weight": down, f"{network}.{name}.lora_B.weight": up}
    prefix = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}[network]
    inside = f"text_model.{name}" if network.startswith("text") and not name.startswith("text_model.") else name
    key = f"{prefix}_{inside.replace('.', '_')}"
    alpha = torch.tensor(len(down) / 2)
    return {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": alpha}
