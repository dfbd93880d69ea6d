"""Loads what a request's model name means: the catalogue's entry, with its files and its companions.

The bot sends the catalogue; before that, and beside it, there is the model that the worker was started with. Knows
nothing of memory and of jobs.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from core.catalogue import name_of
from core.errors import DarkroomError
from core.events import Catalogue, ModelPlace
from worker.checkpoints.loader import LoadedCheckpoint, add_companions
from worker.checkpoints.locator import is_location
from worker.device import Device
from worker.families import LoraFiles
from worker.memory import NOTHING_RESERVED, ReservedMemory
from worker.paths import expanded
from worker.vision import NO_COMPANIONS, CompanionPaths


class LoadFiles(Protocol):
    """What loads a checkpoint: `loader.load`, or what compiles for it too."""

    def __call__(
        self, model: str, device: Device, progress: Callable[[], None], *, loras: LoraFiles, vae: str = "",
        companions: CompanionPaths = NO_COMPANIONS, reserved: ReservedMemory = NOTHING_RESERVED, name: str = "",
    ) -> LoadedCheckpoint:  # fmt: skip
        """Raises CannotLoad."""


class UnknownModel(DarkroomError):
    """A request names a model that is not in the catalogue."""


class CatalogueLoader:
    """Loads by name. `own`: the setting that names the worker's first model.

    Used by the loop's thread, and by one that loads.
    """

    def __init__(self, own: str, device: Device, load: LoadFiles, progress: Callable[[], None] = lambda: None) -> None:
        self._own, self._device, self._load, self._progress = own, device, load, progress
        self._entries: Mapping[str, ModelPlace] = {}
        self._loras: Mapping[str, Path] = {}
        self._opened: dict[str, ModelPlace] = {}
        self._paths: dict[str, str] = {}  # of what was opened

    def set_catalogue(self, catalogue: Catalogue) -> None:
        """From now on these are the models and the LoRAs."""
        self._entries = {entry.name: entry for entry in catalogue.models}
        for name, entry in self._entries.items():
            if self._was_found(entry):
                self._opened[name] = entry
        self._loras = {lora.name: expanded(lora.where) for lora in catalogue.loras}

    @property
    def needs_catalogue(self) -> bool:
        """True when the worker was started with a name of the catalogue (`sdxl`), which has not come yet."""
        return not is_location(self._own) and not self._entries

    @property
    def has_others(self) -> bool:
        """Whether the catalogue has models besides the one that the worker was started with."""
        own = self._own_entry()
        return bool(self._entries.keys() - {name_of(self._own) if own is None else own.name})

    def load_first(self) -> LoadedCheckpoint:
        """The model that the worker was started with: as the catalogue has it, or as its own files say it is.

        Raises DarkroomError.
        """
        if not is_location(self._own):
            return self.load(name_of(self._own))
        entry = self._own_entry()
        return self._load_own(NOTHING_RESERVED) if entry is None else self.load(entry.name)

    def named_by_catalogue(self, loaded: LoadedCheckpoint) -> LoadedCheckpoint:
        """The first model as the catalogue has it, if it does: by its name there, with what it names beside it."""
        entry = self._own_entry()
        if entry is None or self._opened.get(loaded.info.name) == entry:
            return loaded
        return add_companions(self._with_entry(loaded, entry), CompanionPaths.of_entry(entry), self._device)

    def load(self, name: str, reserved: ReservedMemory = NOTHING_RESERVED) -> LoadedCheckpoint:
        """Raises DarkroomError with a sentence."""
        entry = self._entries.get(name)
        if entry is not None:
            loaded = self._load_files(_location(entry), reserved, entry.vae, CompanionPaths.of_entry(entry), name)
            return self._with_entry(loaded, entry)
        own = {name_of(self._own)} if is_location(self._own) else set()
        if name in own:
            return self._load_own(reserved)
        names = ", ".join(sorted({*own, *self._entries}))
        raise UnknownModel(f"This worker knows no model {name!r}; it knows {names}.")

    def size_mb(self, name: str) -> int:
        """By the catalogue; 0 when it does not say."""
        entry = self._entries.get(name)
        return entry.memory_mb if entry is not None else 0

    def is_current(self, name: str) -> bool:
        """False when the catalogue has other files for it by now than those it was opened from."""
        entry, opened = self._entries.get(name), self._opened.get(name)
        return entry is None or opened is None or _file_identity(entry) == _file_identity(opened)

    def _was_found(self, entry: ModelPlace) -> bool:
        """Whether the bot has only found by now where a model of the hub lies that was opened from there."""
        opened = self._opened.get(entry.name)
        if opened is None or opened.where == entry.where or entry.where != self._paths.get(entry.name):
            return False
        found = replace(opened, where=entry.where, file="", stamp=entry.stamp)
        return _file_identity(found) == _file_identity(entry)

    def _own_entry(self) -> ModelPlace | None:
        return next((entry for entry in self._entries.values() if entry.where == self._own), None)

    def _load_own(self, reserved: ReservedMemory) -> LoadedCheckpoint:
        loaded = self._load_files(self._own, reserved)
        self._opened[loaded.info.name] = ModelPlace(name=loaded.info.name, where=self._own)
        self._paths[loaded.info.name] = str(loaded.path)
        return loaded

    def _load_files(
        self, where: str, reserved: ReservedMemory, vae: str = "", companions: CompanionPaths = NO_COMPANIONS,
        name: str = "",
    ) -> LoadedCheckpoint:  # fmt: skip
        loras = lambda: self._loras  # noqa: E731 – what the catalogue names by then
        return self._load(
            where, self._device, self._progress, loras=loras, vae=vae, companions=companions, reserved=reserved,
            name=name,
        )  # fmt: skip

    def _with_entry(self, loaded: LoadedCheckpoint, entry: ModelPlace) -> LoadedCheckpoint:
        info = loaded.info
        named = replace(
            info, name=entry.name, native=entry.native or info.native, steps=entry.steps or info.steps,
            guidance=info.guidance if entry.guidance is None else entry.guidance,
            sampler=entry.sampler or info.sampler,
        )  # fmt: skip
        self._opened[entry.name] = entry
        self._paths[entry.name] = str(loaded.path)
        return replace(loaded, info=named)


def _location(entry: ModelPlace) -> str:
    return f"{entry.where}/{entry.file}" if entry.file else entry.where


def _file_identity(entry: ModelPlace) -> tuple[str, ...]:
    return (_location(entry), entry.vae, entry.adapter, entry.upscaler, entry.classifier, entry.stamp)
