"""Keeps LoRAs at hand for one model and switches between them.

A LoRA is a `.safetensors` file, called as the catalogue calls it (`name_of`). Each network has one slot beside its
layers, wide enough for all that count together: side by side, with their weights multiplied in. A switch copies numbers
into it and changes nothing else, so that a compiled network stays compiled. What was read stays in the host's memory
for a while, also when another file has taken its place; the one not used for longest goes. Knows nothing of batches or
jobs.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.catalogue import name_of
from core.spelling import nearest, quoted
from worker.diffusers_internals import is_group_offloaded
from worker.families.lora_file import Layers, read_lora

log = logging.getLogger("darkroom.loras")

#: Where LoRAs are: a folder, or what the catalogue names by now.
LoraFiles = Path | Callable[[], Mapping[str, Path]]

MAX_KEPT = 8
#: A slot grows by these ranks.
RANKS = 16
_SLOT = "slot"


class LoraSwitcher:
    """`pipeline`: diffusers' class, which knows the model's LoRAs; `networks`: those that take them, by its names."""

    def __init__(
        self, pipeline: Any, networks: Mapping[str, nn.Module], source: LoraFiles, *, keep: int = MAX_KEPT
    ) -> None:
        self._pipeline, self._networks, self._source, self._keep = pipeline, networks, source, keep
        self._slots = {name: LoraSlot(network) for name, network in networks.items()}
        self._read: OrderedDict[str, Layers] = OrderedDict()  # by state

    def switch_to(self, wanted: Sequence[tuple[str, float]], files: Sequence[str] = ()) -> None:
        """From now on these count, by weight, and no others. Raises LookupError with a sentence, changing nothing.

        `files`: which state of each one's file (`file_states`); without, the present one.
        """
        asked = zip(wanted, files or [""] * len(wanted), strict=True)
        given = [(self._layers(name, state), weight) for (name, weight), state in asked]
        for name in (name for layers, _ in given for name, some in layers.items() if some):
            if is_group_offloaded(self._networks[name]):
                raise LookupError(
                    "This LoRA changes a part of the model that does not fit into the GPU's memory here "
                    "and is loaded piece by piece. Leave out `--lora`, or choose a smaller model."
                )
        # Weights that are made in inference mode could never be used outside it.
        with torch.inference_mode(False), torch.no_grad():
            for name, slot in self._slots.items():
                slot.fill([(layers[name], weight) for layers, weight in given if name in layers])
        while len(self._read) > max(self._keep, len(wanted)):
            self._read.popitem(last=False)

    def _path(self, name: str) -> Path:
        files = lora_files_of(self._source)
        found = files.get(name_of(name))
        if found is None:
            near = nearest(name, files)
            cure = f" Did you mean {quoted(near)}?" if near else " LoRAs belong in the loras folder."
            raise LookupError(f"There is no LoRA {quoted(name)}.{cure}")
        return found

    def _layers(self, name: str, state: str) -> Layers:
        if state not in self._read:
            path = self._path(name)
            now = file_state(path)
            if not now:
                raise LookupError(f"The LoRA {quoted(name_of(name))} is no longer there.")
            if state and state != now:
                raise LookupError(f"The LoRA {quoted(name_of(name))} was replaced while this job waited. Run it again.")
            if now not in self._read:
                self._read[now] = self._opened(name, path, now)
            state = now
        self._read.move_to_end(state)
        return self._read[state]

    def _opened(self, name: str, path: Path, state: str) -> Layers:
        name, problem = quoted(name_of(name)), None
        try:
            layers = read_lora(path, self._pipeline, self._networks)
        except Exception as error:
            # diffusers raises whatever it likes on a file that does not fit; all mean the same here.
            log.warning("%s does not fit: %s", path.name, " ".join(str(error).split())[:300])
            problem = error
        if file_state(path) != state:
            raise LookupError(f"The LoRA {name} is just being replaced. Try again in a moment.") from problem
        if problem is not None:
            raise LookupError(f"The LoRA {name} does not fit this model: it was made for another kind.") from problem
        return layers


def lora_files_of(source: LoraFiles) -> dict[str, Path]:
    """What there is now, by the names that requests use."""
    if not isinstance(source, Path):
        return dict(source())
    return {name_of(path.stem): path for path in sorted(source.glob("*.safetensors"))}


def file_states(source: LoraFiles | None, names: Sequence[str]) -> tuple[str, ...]:
    """For each of these LoRAs the state that its file is in; empty where there is none. Nothing without a source."""
    if source is None or not names:
        return ()
    files = lora_files_of(source)
    return tuple(file_state(files[name_of(name)]) if name_of(name) in files else "" for name in names)


def file_state(path: Path) -> str:
    """Another one when another file has taken its place; empty where there is none."""
    try:
        told = path.stat()
    except OSError:
        return ""
    return f"{path}:{told.st_size}:{told.st_mtime_ns}"


class LoraSlot:
    """What is added to one network's layers, all LoRAs together: an adapter of peft's, filled anew at each switch."""

    def __init__(self, network: nn.Module) -> None:
        self._network, self._rank = network, 0
        self._layers: dict[str, Any] = {}  # those that it covers, as peft's wrappers
        self._counts = False

    def fill(self, loras: Sequence[tuple[Mapping[str, tuple[Tensor, Tensor]], float]]) -> None:
        """Puts the sum of these into it, each by its weight."""
        loras = [(layers, weight) for layers, weight in loras if layers]
        names = {name for layers, _ in loras for name in layers}
        sums = {name: sum(len(layers[name][0]) for layers, _ in loras if name in layers) for name in names}
        needed = max(sums.values(), default=0)
        if needed > self._rank or not names <= self._layers.keys():
            self._widen(max(self._rank, -(-needed // RANKS) * RANKS), names | self._layers.keys())
        for name, layer in self._layers.items() if loras else ():
            down, up = layer.lora_A[_SLOT].weight, layer.lora_B[_SLOT].weight
            # Both: what an earlier one left in the lower matrix may be no numbers, and times nothing they stay that.
            down.zero_()
            up.zero_()
            place = 0
            for layers, weight in loras:
                if name in layers:
                    thin, wide = layers[name]
                    rank = slice(place, place + len(thin))
                    down[rank].copy_(thin)
                    up[:, rank].copy_(wide * weight)
                    place = rank.stop
        self._count(bool(loras))

    def _count(self, whether: bool) -> None:
        if whether is not self._counts:
            for layer in self._layers.values():
                layer.enable_adapters(whether)
            self._counts = whether
        for layer in self._layers.values():
            layer.requires_grad_(False)

    def _widen(self, rank: int, names: set[str]) -> None:
        """Lays the slot anew; a compiled network is compiled again."""
        from peft import LoraConfig, inject_adapter_in_model

        before, self._layers = self._layers, {}
        for layer in before.values():
            layer.delete_adapter(_SLOT)
        if hasattr(self._network, "peft_config"):
            del self._network.peft_config
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=sorted(names))
        inject_adapter_in_model(config, self._network, adapter_name=_SLOT)
        self._rank, self._counts = rank, True
        self._layers = {name: self._network.get_submodule(name) for name in names}
        for layer in self._layers.values():
            base = layer.get_base_layer().weight
            layer.to(base.device).eval()
            for part in (layer.lora_A[_SLOT], layer.lora_B[_SLOT]):
                part.to(torch.bfloat16 if base.dtype.itemsize == 1 else base.dtype)  # fp8 is kept, never computed in
                part.weight.zero_()
