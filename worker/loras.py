"""Keeps LoRAs at hand for one model and switches between them: diffusers' adapters, loaded at first use.

A LoRA is a `.safetensors` file of the LoRAs' folder, called as the catalogue calls it (`name_of`); kohya's and peft's
layouts are both read. A few stay in memory, the one not used for longest goes. Knows nothing of batches or jobs.
"""

import logging
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.catalogue import name_of
from core.spelling import nearest, quoted

log = logging.getLogger("darkroom.loras")

#: Where LoRAs are: a folder, or what the catalogue names by now.
LoraFiles = Path | Callable[[], Mapping[str, Path]]

KEEP = 8
#: Where the network will be compiled, LoRAs of up to this rank are swapped in place without compiling it again.
SWAP_RANK = 128
#: That there are several, and that one goes while it counts, is what we want.
_KNOWN_WARNINGS = ("Already found a `peft_config`", "Adapter .* was active which is now deleted")


class Loras:
    """`pipeline`: diffusers' own, of the very networks that compute; `compiled`: they will be compiled later on."""

    def __init__(self, pipeline: Any, source: LoraFiles, *, keep: int = KEEP, compiled: bool = False) -> None:
        self._pipeline, self._source, self._keep = pipeline, source, keep
        self._loaded: OrderedDict[Path, tuple[str, int]] = OrderedDict()  # file -> adapter, its time of change
        self._active: list[tuple[str, float]] = []
        self._count = 0
        if compiled:
            pipeline.enable_lora_hotswap(target_rank=SWAP_RANK, check_compiled="ignore")

    def files(self) -> dict[str, Path]:
        """What there is now, by the names that requests use."""
        if not isinstance(self._source, Path):
            return dict(self._source())
        return {name_of(path.stem): path for path in sorted(self._source.glob("*.safetensors"))}

    def use(self, wanted: Sequence[tuple[str, float]]) -> None:
        """From now on these count, by weight, and no others. Raises LookupError with a sentence, changing nothing."""
        paths = [self._path(name) for name, _ in wanted]
        # Weights that are made in inference mode could never be used outside it.
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            for known in _KNOWN_WARNINGS:
                warnings.filterwarnings("ignore", message=known)
            try:
                adapters = [self._adapter(path) for path in paths]
                self._active = [(adapter, weight) for adapter, (_, weight) in zip(adapters, wanted, strict=True)]
            finally:
                # Also when one does not fit: what was loaded before it counts at once.
                self._activate(self._active)
            self._forget()

    def _activate(self, adapters: Sequence[tuple[str, float]]) -> None:
        if adapters:
            self._pipeline.set_adapters([name for name, _ in adapters], [weight for _, weight in adapters])
            self._pipeline.enable_lora()
        elif self._loaded:
            self._pipeline.disable_lora()
        for network in self._networks():
            _freeze(network)

    def _adapter(self, path: Path) -> str:
        """The adapter for a file, loaded if it is not or if the file has changed."""
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
        files = self.files()
        found = files.get(name_of(name))
        if found is None:
            near = nearest(name, files)
            cure = f" Did you mean {quoted(near)}?" if near else " The folder of LoRAs is where they belong."
            raise LookupError(f"There is no LoRA {quoted(name)}.{cure}")
        return found

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
            sentence = f"The LoRA {quoted(name_of(path.stem))} does not fit this model: it was made for another kind."
            raise LookupError(sentence) from error
        return adapter

    def _remove(self, adapter: str) -> None:
        """Takes out what a load that failed has left behind."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        for network in self._networks():
            for layer in network.modules():
                if isinstance(layer, BaseTunerLayer):
                    layer.delete_adapter(adapter)
            getattr(network, "peft_config", {}).pop(adapter, None)

    def _networks(self) -> list[Any]:
        parts = (getattr(self._pipeline, name, None) for name in self._pipeline._lora_loadable_modules)
        return [part for part in parts if isinstance(part, nn.Module)]

    def _forget(self) -> None:
        """Lets go of those not used for longest, beyond what is kept."""
        active = {adapter for adapter, _ in self._active}
        for path, (adapter, _) in list(self._loaded.items()):
            if len(self._loaded) <= self._keep:
                return
            if adapter not in active:
                self._pipeline.delete_adapters(adapter)
                del self._loaded[path]


def _freeze(network: Any) -> None:
    """Brings what was loaded to the network's own precision, and out of training, where switching puts it."""
    dtype = network.dtype
    for name, weight in network.named_parameters():
        if ".lora_" in name:
            weight.requires_grad_(False)
            weight.data = weight.data.to(dtype)
    network.eval()
