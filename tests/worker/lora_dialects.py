"""Writes the same change of a model in the layouts of many trainers, and adds it to the model's own weights.

The sum is what a LoRA has to give, by the formula of its kind; no library and none of our code has a part in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

RANK, ALPHA = 4, 2.0
Tensors = dict[str, Tensor]


@dataclass
class Delta:
    """What is added to one layer's weight and bias, and the tensors that say so, by their endings."""

    weight: Tensor
    tensors: Tensors
    bias: Tensor | None = None


def random(*shape: int, seed: int, strength: float = 0.4) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * strength


def lora(weight: Tensor, seed: int) -> Delta:
    """kohya's: alpha divides by the rank."""
    out, *into = weight.shape
    down, up = random(RANK, *into, seed=seed), random(out, RANK, seed=seed + 1)
    delta = (up @ down.flatten(1)).reshape(weight.shape) * ALPHA / RANK
    wide = up.reshape(out, RANK, *[1] * (weight.ndim - 2))
    return Delta(delta, {"lora_down.weight": down, "lora_up.weight": wide, "alpha": torch.tensor(ALPHA)})


def cp(weight: Tensor, seed: int) -> Delta:
    """LyCORIS' LoCon with a core between two convolutions of one pixel."""
    if weight.ndim == 2:
        return lora(weight, seed)
    out, into, *kernel = weight.shape
    down, middle, up = (
        random(RANK, into, seed=seed),
        random(RANK, RANK, *kernel, seed=seed + 1),
        random(out, RANK, seed=seed + 2),
    )
    delta = torch.einsum("o p, p q h w, q i -> o i h w", up, middle, down) * ALPHA / RANK
    tensors = {"lora_down.weight": down[..., None, None], "lora_up.weight": up[..., None, None]}
    return Delta(delta, {**tensors, "lora_mid.weight": middle, "alpha": torch.tensor(ALPHA)})


def dora(weight: Tensor, seed: int) -> Delta:
    """Each row of the sum gets a length that was learned."""
    plain = lora(weight, seed)
    summed = weight + plain.weight
    length = summed.flatten(1).norm(dim=1)
    wanted = length * (1 + random(len(weight), seed=seed + 5, strength=0.3))
    factor = (wanted / length).reshape(-1, *[1] * (weight.ndim - 1))
    scale = wanted.reshape(-1, *[1] * (weight.ndim - 1))
    return Delta(summed * factor - weight, {**plain.tensors, "dora_scale": scale})


def loha(weight: Tensor, seed: int) -> Delta:
    """LyCORIS' product of two, number by number."""
    out, *into = weight.shape
    across = torch.Size(into).numel()
    one, two = random(out, RANK, seed=seed, strength=0.6), random(RANK, across, seed=seed + 1, strength=0.6)
    three, four = random(out, RANK, seed=seed + 2, strength=0.6), random(RANK, across, seed=seed + 3, strength=0.6)
    delta = ((one @ two) * (three @ four)).reshape(weight.shape) * ALPHA / RANK
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    return Delta(delta, {**dict(zip(names, (one, two, three, four), strict=True)), "alpha": torch.tensor(ALPHA)})


def loha_cp(weight: Tensor, seed: int) -> Delta:
    """With a core in both."""
    if weight.ndim == 2:
        return loha(weight, seed)
    out, into, *kernel = weight.shape
    tensors, whole = {"alpha": torch.tensor(ALPHA)}, torch.tensor(ALPHA / RANK)
    for number in (1, 2):
        core = random(RANK, RANK, *kernel, seed=seed + number)
        thin, wide = random(RANK, into, seed=seed + 2 + number), random(RANK, out, seed=seed + 4 + number)
        whole = whole * torch.einsum("i j h w, j r, i p -> p r h w", core, thin, wide)
        tensors |= {f"hada_t{number}": core, f"hada_w{number}_a": wide, f"hada_w{number}_b": thin}
    return Delta(whole, tensors)


def lokr(weight: Tensor, seed: int, *, whole: bool = False) -> Delta:
    """LyCORIS' Kronecker product of a small matrix and a larger one, that one a product or whole."""
    out, into, *kernel = weight.shape
    small = random(2, 2, seed=seed, strength=0.7)
    if whole or kernel:
        large = random(out // 2, into // 2, *kernel, seed=seed + 1)
        tensors, scale = {"lokr_w2": large}, 1.0
    else:
        wide, thin = random(out // 2, RANK, seed=seed + 1), random(RANK, into // 2, seed=seed + 2)
        large, scale = wide @ thin, ALPHA / RANK
        tensors = {"lokr_w2_a": wide, "lokr_w2_b": thin}
    delta = torch.kron(small.reshape(2, 2, *[1] * len(kernel)), large) * scale
    return Delta(delta, {**tensors, "lokr_w1": small, "alpha": torch.tensor(ALPHA)})


def glora(weight: Tensor, seed: int) -> Delta:
    """LyCORIS': one product of its own, and one behind the model's weight."""
    out, into, *kernel = weight.shape
    a1, a2 = random(into, RANK, seed=seed), random(RANK, into, seed=seed + 1)
    b1, b2 = random(out, RANK, seed=seed + 2), random(RANK, into, *kernel, seed=seed + 3)
    behind = torch.einsum("o i ..., i j, j k -> o k ...", weight, a1, a2)
    delta = (behind + (b1 @ b2.flatten(1)).reshape(weight.shape)) * ALPHA / RANK
    tensors = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2}
    if kernel:
        tensors = {name: one if one.ndim == 4 else one[..., None, None] for name, one in tensors.items()}
    return Delta(delta, {**tensors, "alpha": torch.tensor(ALPHA)})


def diff(weight: Tensor, seed: int) -> Delta:
    """The difference as it is, and one of the bias."""
    whole = random(*weight.shape, seed=seed, strength=0.2)
    bias = random(len(weight), seed=seed + 1, strength=0.2)
    return Delta(whole, {"diff": whole, "diff_b": bias}, bias)


KINDS: Mapping[str, Callable[[Tensor, int], Delta]] = {
    "LoRA": lora, "LoRA with CP": cp, "DoRA": dora, "LoHa": loha, "LoHa with CP": loha_cp, "LoKr": lokr,
    "LoKr, whole": lambda weight, seed: lokr(weight, seed, whole=True), "GLoRA": glora, "full difference": diff,
}  # fmt: skip


@dataclass
class Written:
    """A file's tensors, and the sums that they stand for."""

    tensors: Tensors = field(default_factory=dict)
    deltas: dict[str, dict[str, Delta]] = field(default_factory=dict)  # by network and layer

    def save(self, path: Path, **metadata: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, path, metadata=metadata or None)
        return path

    def add_to(self, parts: Mapping[str, nn.Module], weight: float = 1.0) -> None:
        """Changes the model's own weights."""
        with torch.no_grad():
            for network, layers in self.deltas.items():
                for name, delta in layers.items():
                    layer: Any = parts[network].get_submodule(name)
                    layer.weight.add_(delta.weight * weight)
                    if delta.bias is not None and layer.bias is not None:
                        layer.bias.add_(delta.bias * weight)


def write(
    parts: Mapping[str, nn.Module], chosen: Mapping[str, tuple[str, ...]], kind: str, named: Callable[[str, str], str]
) -> Written:
    """`chosen`: by network the endings of layers' names; `named`: what the file calls a network's layer."""
    written = Written()
    for network, endings in chosen.items():
        for number, (name, layer) in enumerate(parts[network].named_modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d) and name.endswith(endings):
                delta = KINDS[kind](layer.weight.detach(), 100 * number)
                if layer.bias is None and delta.bias is not None:
                    delta = Delta(delta.weight, {key: one for key, one in delta.tensors.items() if key != "diff_b"})
                written.deltas.setdefault(network, {})[name] = delta
                for ending, tensor in delta.tensors.items():
                    written.tensors[f"{named(network, name)}.{ending}"] = tensor
    return written


def kohya(network: str, layer: str) -> str:
    """As kohya's scripts and LyCORIS name layers."""
    prefix = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}.get(network, "lora_unet")
    inside = f"text_model.{layer}" if layer.startswith("encoder.layers") else layer
    return f"{prefix}_{inside.replace('.', '_')}"
