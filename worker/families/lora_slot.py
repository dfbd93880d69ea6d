"""What LoRAs add to one network's layers, all of them together, filled anew at each switch.

Each layer that a LoRA changes is wrapped once. Beside it lie two thin matrices, wide enough for all LoRAs that count
together, and what is multiplied with and added to its own answer (DoRA, differences of biases). A switch copies numbers
and changes nothing else, so that a compiled network stays compiled. Knows nothing of files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

#: A layer's matrices grow by these ranks.
RANKS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a LoRA of weight 1 does to a layer: its answer, without its bias, times 1 + `gain`; then what is added.

    `down`: [rank, …], like the layer's weight behind its first side; `up`: [out, rank, 1, …]; `gain`, `shift`: [out].
    """

    down: Tensor
    up: Tensor
    gain: Tensor | None = None
    shift: Tensor | None = None


class SlotLayer(nn.Module):
    """A layer with what is added to it. Where nothing counts it answers as the layer itself."""

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.base_layer = base
        self.counts = False
        self.rank = rank
        self.lora_A, self.lora_B = _thin_layers(base, rank)
        self.lora_gain: nn.Parameter | None = None
        self.lora_shift: nn.Parameter | None = None

    @property
    def weight(self) -> Tensor:
        """The layer's own, for those who ask a layer in which precision it is."""
        return self.base_layer.weight

    @property
    def bias(self) -> Tensor | None:
        """The layer's own."""
        return self.base_layer.bias

    def forward(self, given: Tensor) -> Tensor:
        """As the layer's, plus what was filled in."""
        out: Tensor = self.base_layer(given)
        if not self.counts:
            return out
        added: Tensor = self.lora_B(self.lora_A(given.to(self.lora_A.weight.dtype)))
        if self.lora_gain is not None and self.lora_shift is not None:
            added = added + out * self._by_channel(self.lora_gain) + self._by_channel(self.lora_shift)
        return out + added.to(out.dtype)

    def _by_channel(self, values: Tensor) -> Tensor:
        return values[:, None, None] if isinstance(self.base_layer, nn.Conv2d) else values

    def widen(self, rank: int) -> None:
        """Makes room for so many ranks."""
        self.rank = rank
        self.lora_A, self.lora_B = _thin_layers(self.base_layer, rank)

    def with_gain(self) -> None:
        """Makes room for what is multiplied and added."""
        base = self.base_layer
        for name in ("lora_gain", "lora_shift"):
            values = torch.zeros(len(base.weight), device=base.weight.device, dtype=_dtype_beside(base))
            setattr(self, name, nn.Parameter(values, requires_grad=False))

    def fill(self, changes: Sequence[tuple[Change, float]]) -> None:
        """Puts the sum of these into it, each by its weight."""
        down, up = self.lora_A.weight, self.lora_B.weight
        # Both: what an earlier one left in the lower matrix may be no numbers, and times nothing they stay that.
        down.zero_()
        up.zero_()
        place = 0
        for change, weight in changes:
            rank = slice(place, place + len(change.down))
            down[rank].copy_(change.down)
            up[:, rank].copy_(change.up * weight)
            place = rank.stop
        if self.lora_gain is not None and self.lora_shift is not None:
            self.lora_gain.zero_()
            self.lora_shift.zero_()
            for change, weight in changes:
                if change.gain is not None:
                    gain = change.gain.to(self.lora_gain) * weight
                    self.lora_gain.add_(gain)
                    # The layer's answer has its bias in it, which no LoRA stretches.
                    self.lora_shift.sub_(0 if self.bias is None else gain * self.bias.to(gain))
                if change.shift is not None:
                    self.lora_shift.add_(change.shift.to(self.lora_shift), alpha=weight)


def _thin_layers(base: nn.Linear | nn.Conv2d, rank: int) -> tuple[nn.Linear | nn.Conv2d, nn.Linear | nn.Conv2d]:
    how: dict[str, Any] = {"bias": False, "device": base.weight.device, "dtype": _dtype_beside(base)}
    down: nn.Linear | nn.Conv2d
    up: nn.Linear | nn.Conv2d
    if isinstance(base, nn.Conv2d):
        shape: dict[str, Any] = {"stride": base.stride, "padding": base.padding, "dilation": base.dilation}
        kernel: Any = base.kernel_size
        down, up = (
            nn.Conv2d(base.in_channels, rank, kernel, **shape, **how),
            nn.Conv2d(rank, base.out_channels, 1, **how),
        )
    else:
        down, up = nn.Linear(base.in_features, rank, **how), nn.Linear(rank, base.out_features, **how)
    for layer in (down, up):
        layer.eval().requires_grad_(False)
    return down, up


def _dtype_beside(base: nn.Linear | nn.Conv2d) -> torch.dtype:
    kept = base.weight.dtype
    return torch.bfloat16 if kept.itemsize == 1 else kept  # fp8 is kept, never computed in


class LoraSlot:
    """The wrapped layers of one network."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._layers: dict[str, SlotLayer] = {}

    def fill(self, loras: Sequence[tuple[Mapping[str, Change], float]]) -> None:
        """From now on the sum of these counts, each by its weight, and nothing else does."""
        wanted: dict[str, list[tuple[Change, float]]] = {}
        for layers, weight in loras:
            for name, change in layers.items():
                wanted.setdefault(name, []).append((change, weight))
        for name, changes in wanted.items():
            self._make_room(name, changes)
        for name, layer in self._layers.items():
            if wanted:
                layer.fill(wanted.get(name, ()))
            # All or none, not those alone that are filled: each other choice would be compiled anew.
            layer.counts = bool(wanted)

    def _make_room(self, name: str, changes: Sequence[tuple[Change, float]]) -> None:
        layer, needed = self._layers.get(name), sum(len(change.down) for change, _ in changes)
        rank = -(-needed // RANKS) * RANKS
        if layer is None:
            base: Any = self._network.get_submodule(name)
            layer = self._layers[name] = base if isinstance(base, SlotLayer) else SlotLayer(base, rank)
            self._network.set_submodule(name, layer)
        if needed > layer.rank:
            layer.widen(rank)
        if layer.lora_gain is None and any(
            change.gain is not None or change.shift is not None for change, _ in changes
        ):
            layer.with_gain()
