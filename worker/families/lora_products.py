"""Makes two thin matrices of what a LoRA file holds for a layer, whichever kind it is; exactly, but for rounding.

Formulas: LoRA and CP as peft and LyCORIS add them, LoHa (a product of two LoRAs, number by number), LoKr (a Kronecker
product), GLoRA, whole differences, and DoRA around any of them. Knows nothing of files.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from core.lora_kinds import ChangeKind
from core.lora_layers import Place
from core.lora_plan import PlacedChange
from core.lora_tensors import Part
from worker.families.lora_slot import Change

Tensors = Mapping[Part, Tensor]


def changes_of(placed: PlacedChange, tensors: Tensors, network: nn.Module) -> Iterator[tuple[str, Change]]:
    """What it does to each of its layers. `tensors`: float32, on the CPU."""
    scale = placed.factor
    if Part.ALPHA in tensors and placed.change.size.scaled_by:
        scale = float(tensors[Part.ALPHA].flatten()[0]) / placed.change.size.scaled_by
    weights = [_weight_of(network, place) for place in placed.places]
    whole_up, whole_down = _product(placed, tensors, weights)
    for place, weight in zip(placed.places, weights, strict=True):
        up, down = _rows(whole_up, place) * scale, whole_down.reshape(-1, *weight.shape[1:])
        gain = shift = None
        if Part.MAGNITUDE in tensors:
            gain, up = _decomposed(weight, up, down, _rows(tensors[Part.MAGNITUDE].flatten(), place))
        for part, factor in ((Part.BIAS, scale), (Part.DIFF_B, 1.0)):
            if part in tensors:
                added = _rows(tensors[part].flatten(), place) * factor
                shift = added if shift is None else shift + added
        yield place.layer, Change(down=down, up=up.reshape(*up.shape, *[1] * (weight.ndim - 2)), gain=gain, shift=shift)


def _weight_of(network: nn.Module, place: Place) -> Tensor:
    """The layer's own, also where an earlier LoRA has wrapped it."""
    layer: Any = network.get_submodule(place.layer)
    weight: Tensor = getattr(layer, "base_layer", layer).weight
    return weight.detach()


def together(one: Change, other: Change) -> Change:
    """Both, where a file changes a layer under two names."""
    return Change(
        down=torch.cat([one.down, other.down]),
        up=torch.cat([one.up, other.up], dim=1),
        gain=_sum(one.gain, other.gain),
        shift=_sum(one.shift, other.shift),
    )


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other


def _rows(values: Tensor, place: Place) -> Tensor:
    """Of all outputs of the file's layer those of this one, in its order."""
    return _turned(values[place.first : place.first + place.count], place)


def _turned(values: Tensor, place: Place) -> Tensor:
    """A layer's outputs from the file's order to ours, or from ours to the file's."""
    return torch.cat([*values.chunk(2)][::-1]) if place.swapped else values


def _decomposed(weight: Tensor, up: Tensor, down: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """DoRA: each output's row of weight and product together gets this length. The gain, and the upper matrix."""
    sums = weight.to(torch.float32).cpu().flatten(1) + up @ down.flatten(1)
    norm = sums.norm(dim=1)
    factor = torch.where(norm > 0, magnitude / norm, 1.0)
    return factor - 1, up * factor[:, None]


def _product(placed: PlacedChange, tensors: Tensors, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Up [out, rank] and down [rank, …], for all outputs that the file's layer has. `weights`: of our layers."""
    match placed.change.kind:
        case ChangeKind.LORA:
            up, down = _lora(tensors)
        case ChangeKind.LOHA:
            up, down = _loha(tensors)
        case ChangeKind.LOKR:
            up, down = _lokr(tensors)
        case ChangeKind.GLORA:
            own = [_turned(weight, place) for weight, place in zip(weights, placed.places, strict=True)]
            up, down = _glora(tensors, torch.cat(own))
        case ChangeKind.DIFF:
            up, down = _whole(tensors[Part.DIFF])
        case ChangeKind.BIAS:
            up, down = torch.zeros(placed.change.size.out, 1), torch.zeros(1, *weights[0].shape[1:])
    if up.shape[1] > min(len(up), down[0].numel()):
        return _whole((up @ down.flatten(1)).reshape(len(up), *down.shape[1:]))
    return up, down


def _whole(difference: Tensor) -> tuple[Tensor, Tensor]:
    """A product with one."""
    out, into = len(difference), difference[0].numel()
    if out <= into:
        return torch.eye(out), difference
    return difference.reshape(out, into), torch.eye(into).reshape(into, *difference.shape[1:])


def _lora(tensors: Tensors) -> tuple[Tensor, Tensor]:
    down, up = tensors[Part.DOWN], tensors[Part.UP].flatten(1)
    if Part.MID in tensors:
        down = torch.einsum("p q ..., q i -> p i ...", tensors[Part.MID], down.flatten(1))
    return up, down


def _loha(tensors: Tensors) -> tuple[Tensor, Tensor]:
    up, down = _hada(tensors[Part.HADA_W1_A], tensors[Part.HADA_W1_B], tensors.get(Part.HADA_T1))
    with_up, with_down = _hada(tensors[Part.HADA_W2_A], tensors[Part.HADA_W2_B], tensors.get(Part.HADA_T2))
    if up.shape[1] * with_up.shape[1] > min(len(up), down[0].numel()):
        product = (up @ down.flatten(1)) * (with_up @ with_down.flatten(1))
        return _whole(product.reshape(len(up), *down.shape[1:]))
    up = (up[:, :, None] * with_up[:, None, :]).flatten(1)
    return up, (down[:, None] * with_down[None]).flatten(0, 1)


def _hada(wide: Tensor, thin: Tensor, middle: Tensor | None) -> tuple[Tensor, Tensor]:
    if middle is None:
        return wide, thin
    return wide.T, torch.einsum("i j ..., j r -> i r ...", middle, thin)


def _lokr(tensors: Tensors) -> tuple[Tensor, Tensor]:
    small = tensors.get(Part.LOKR_W1)
    if small is None:
        small = tensors[Part.LOKR_W1_A] @ tensors[Part.LOKR_W1_B]
    small = small.flatten(1)
    if Part.LOKR_W2 in tensors:
        up, down = _whole(tensors[Part.LOKR_W2])
    else:
        up, down = _hada(tensors[Part.LOKR_W2_A], tensors[Part.LOKR_W2_B], tensors.get(Part.LOKR_T2))
    rows, columns = small.shape
    left, right = (torch.eye(rows), small) if rows <= columns else (small, torch.eye(columns))
    right = right.reshape(*right.shape, *[1] * (down.ndim - 2))
    # It takes no matrix that lies turned, as a core's do.
    return torch.kron(left, up.contiguous()), torch.kron(right.contiguous(), down.contiguous())


def _glora(tensors: Tensors, weight: Tensor) -> tuple[Tensor, Tensor]:
    wide, thin, up, down = (tensors[part] for part in (Part.GLORA_A1, Part.GLORA_A2, Part.GLORA_B1, Part.GLORA_B2))
    if len(wide) != thin[0].numel():
        wide, thin, up, down = thin, wide, down, up
    own, wide, thin, up = weight.to(torch.float32).cpu(), wide.flatten(1), thin.flatten(1), up.flatten(1)
    through = torch.einsum("o i ..., i j -> o j ...", own, wide)
    if own[0, 0].numel() > 1:
        difference = torch.einsum("o j ..., j i -> o i ...", through, thin)
        return _whole(difference + (up @ down.flatten(1)).reshape(difference.shape))
    return torch.cat([through.flatten(1), up], dim=1), torch.cat([thin.reshape(-1, *down.shape[1:]), down])
