"""Keeps LoRAs at hand for one model and switches between them: diffusers' adapters, loaded at first use.

A LoRA is a `.safetensors` file of the LoRAs' folder, called by its name without the ending; kohya's and peft's layouts
are both read. A few stay in memory, the one not used for longest goes. Knows nothing of batches or jobs.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from core.spelling import nearest, quoted

log = logging.getLogger("darkroom.loras")

KEEP = 8
#: Where the network will be compiled, LoRAs of up to this rank are swapped in place without compiling it again.
SWAP_RANK = 128


class Loras:
    """`pipeline`: diffusers' own, of the very networks that compute; `compiled`: they will be compiled later on."""

    def __init__(self, pipeline: Any, folder: Path, *, keep: int = KEEP, compiled: bool = False) -> None:
        self._pipeline, self._folder, self._keep = pipeline, folder, keep
        self._loaded: OrderedDict[Path, tuple[str, int]] = OrderedDict()  # file -> adapter, its time of change
        self._count = 0
        if compiled:
            pipeline.enable_lora_hotswap(target_rank=SWAP_RANK, check_compiled="ignore")

    def names(self) -> list[str]:
        """What the folder holds now."""
        return sorted(path.stem for path in self._folder.glob("*.safetensors"))

    def use(self, wanted: Sequence[tuple[str, float]]) -> None:
        """From now on these count, by weight, and no others. Raises LookupError with a sentence, changing nothing."""
        adapters = [self._adapter(name) for name, _ in wanted]
        if adapters:
            self._pipeline.set_adapters(adapters, [weight for _, weight in wanted])
            self._pipeline.enable_lora()
        elif self._loaded:
            self._pipeline.disable_lora()
        self._forget(keep=set(adapters))

    def _adapter(self, name: str) -> str:
        """The adapter for a LoRA, loaded if it is not or if its file has changed."""
        path = self._path(name)
        changed = path.stat().st_mtime_ns
        known = self._loaded.get(path)
        if known is not None and known[1] == changed:
            self._loaded.move_to_end(path)
            return known[0]
        adapter = self._load(path)
        if known is not None:
            self._pipeline.delete_adapters(known[0])
        self._loaded[path] = (adapter, changed)
        self._loaded.move_to_end(path)
        return adapter

    def _path(self, name: str) -> Path:
        names = self.names()
        found = next((one for one in names if one.lower() == name.lower()), None)
        if found is None:
            near = nearest(name, names)
            cure = f" Did you mean {quoted(near)}?" if near else " The folder of LoRAs is where they belong."
            raise LookupError(f"There is no LoRA {quoted(name)}.{cure}")
        return self._folder / f"{found}.safetensors"

    def _load(self, path: Path) -> str:
        self._count += 1
        adapter = f"lora{self._count}"
        try:
            self._pipeline.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=adapter, local_files_only=True,
                use_safetensors=True,
            )  # fmt: skip
            if not any(adapter in names for names in self._pipeline.get_list_adapters().values()):
                raise KeyError("nothing in it belongs to this model")
        except Exception as error:
            # diffusers and peft raise whatever they like on a file that does not fit; all mean the same here.
            log.warning("%s does not fit: %s", path.name, " ".join(str(error).split())[:300])
            self._remove(adapter)
            sentence = f"The LoRA {quoted(path.stem)} does not fit this model: it was made for another kind."
            raise LookupError(sentence) from error
        for network in self._networks():
            _settle(network)
        return adapter

    def _remove(self, adapter: str) -> None:
        for network in self._networks():
            if adapter in getattr(network, "peft_config", {}):
                network.delete_adapters(adapter) if hasattr(network, "delete_adapters") else None

    def _networks(self) -> list[Any]:
        parts = (getattr(self._pipeline, name, None) for name in self._pipeline._lora_loadable_modules)
        return [part for part in parts if isinstance(part, nn.Module)]

    def _forget(self, keep: set[str]) -> None:
        """Lets go of those not used for longest, beyond what is kept."""
        for path, (adapter, _) in list(self._loaded.items()):
            if len(self._loaded) <= self._keep:
                return
            if adapter not in keep:
                self._pipeline.delete_adapters(adapter)
                del self._loaded[path]


def _settle(network: Any) -> None:
    """Brings what was loaded to the network's own precision, and out of training."""
    for name, weight in network.named_parameters():
        if ".lora_" in name:
            weight.requires_grad_(False)
            weight.data = weight.data.to(network.dtype)
    network.eval()
