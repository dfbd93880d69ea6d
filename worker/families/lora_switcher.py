"""Keeps LoRAs at hand for one model and switches between them.

A LoRA is a `.safetensors` file, called as the catalogue calls it (`name_of`). Each network has one slot beside its
layers (`lora_slot.py`). What was read stays in the host's memory for a while, also when another file has taken its
place; the one not used for longest goes. Knows nothing of batches or jobs.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from core.catalogue import name_of
from core.lora_metadata import ADAPTER_CONFIG, LoraRefused
from core.lora_plan import MisfitLora
from core.spelling import nearest, quoted
from worker.diffusers_internals import is_group_offloaded
from worker.families.lora_file import Changes, read_lora
from worker.families.lora_slot import LoraSlot

log = logging.getLogger("darkroom.loras")

#: Where LoRAs are: a folder, or what the catalogue names by now.
LoraFiles = Path | Callable[[], Mapping[str, Path]]

MAX_KEPT = 8


class LoraSwitcher:
    """`networks`: those of the model that take LoRAs, by their folders' names."""

    def __init__(self, networks: Mapping[str, nn.Module], source: LoraFiles, *, keep: int = MAX_KEPT) -> None:
        self._networks, self._source, self._keep = networks, source, keep
        self._slots = {name: LoraSlot(network) for name, network in networks.items()}
        self._read: OrderedDict[str, Changes] = OrderedDict()  # by state

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

    def _layers(self, name: str, state: str) -> Changes:
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

    def _opened(self, name: str, path: Path, state: str) -> Changes:
        name, problem = quoted(name_of(name)), ""
        try:
            changes = read_lora(path, self._networks)
        except MisfitLora as error:
            problem = f"{error} Use it with the model that it was made for."
        except LoraRefused as error:
            problem = str(error)
        except OSError as error:
            problem = f"cannot be read from the disk just now ({error.strerror}). Please try again in a moment."
        except Exception as error:
            # Whatever is in a file, nothing of it stops the worker.
            log.exception("%s cannot be read.", path.name)
            problem = f"does not fit here: its file cannot be read ({type(error).__name__}). Fetch it again."
        if file_state(path) != state:
            raise LookupError(f"The LoRA {name} is just being replaced. Try again in a moment.")
        if problem:
            log.warning("%s %s", path.name, problem)
            raise LookupError(f"The LoRA {name} {problem}")
        return changes


def lora_files_of(source: LoraFiles) -> dict[str, Path]:
    """What there is now, by the names that requests use."""
    if not isinstance(source, Path):
        return dict(source())
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() == ".safetensors")
    return {name_of(path.name): path for path in found[::-1]}


def file_states(source: LoraFiles | None, names: Sequence[str]) -> tuple[str, ...]:
    """For each of these LoRAs the state that its file is in; empty where there is none. Nothing without a source."""
    if source is None or not names:
        return ()
    files = lora_files_of(source)
    return tuple(file_state(files[name_of(name)]) if name_of(name) in files else "" for name in names)


def file_state(path: Path) -> str:
    """Another one when another file has taken its place or its trainer's config; empty where there is none."""
    try:
        told = path.stat()
    except OSError:
        return ""
    return f"{path}:{told.st_size}:{told.st_mtime_ns}{_config_state(path)}"


def _config_state(path: Path) -> str:
    try:
        told = path.with_name(ADAPTER_CONFIG).stat()
    except OSError:
        return ""
    return f":{told.st_size}:{told.st_mtime_ns}"
