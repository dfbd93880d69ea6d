"""Opens what a request's model name means: the catalogue's entry, with its files and with what lies beside it.

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
from worker.checkpoints.loader import Loaded, furnish
from worker.checkpoints.locator import is_place
from worker.device import Device
from worker.families.lora_switcher import LoraFiles
from worker.memory.offload_plan import ALONE, Company
from worker.paths import expanded
from worker.vision.companion_paths import NONE, Places


class LoadFiles(Protocol):
    """`models.load`."""

    def __call__(
        self, model: str, device: Device, progress: Callable[[], None], *, loras: LoraFiles, vae: str = "",
        tools: Places = NONE, company: Company = ALONE, name: str = "",
    ) -> Loaded:  # fmt: skip
        """Raises CannotLoad."""


class NotKnown(DarkroomError):
    """A request names a model that is not in the catalogue."""


class Opener:
    """Loads by name. `own`: the setting that names the worker's first model.

    Used by the loop's thread, and by one that loads.
    """

    def __init__(self, own: str, device: Device, load: LoadFiles, progress: Callable[[], None] = lambda: None) -> None:
        self._own, self._device, self._load, self._progress = own, device, load, progress
        self._places: Mapping[str, ModelPlace] = {}
        self._loras: Mapping[str, Path] = {}
        self._opened: dict[str, ModelPlace] = {}
        self._lies: dict[str, str] = {}  # where those lie that were opened

    def know(self, catalogue: Catalogue) -> None:
        """From now on these are the models and the LoRAs."""
        self._places = {place.name: place for place in catalogue.models}
        for name, place in self._places.items():
            if self._is_found(place):
                self._opened[name] = place
        self._loras = {lora.name: expanded(lora.where) for lora in catalogue.loras}

    @property
    def needs_catalogue(self) -> bool:
        """True when the worker was started with a name of the catalogue (`sdxl`), which has not come yet."""
        return not is_place(self._own) and not self._places

    def first(self) -> Loaded:
        """The model that the worker was started with: as the catalogue has it, or as its own files say it is.

        Raises DarkroomError.
        """
        if not is_place(self._own):
            return self.load(name_of(self._own))
        place = self._own_place()
        return self._by_files(ALONE) if place is None else self.load(place.name)

    def named(self, loaded: Loaded) -> Loaded:
        """The first model as the catalogue has it, if it does: by its name there, with what it names beside it."""
        place = self._own_place()
        if place is None or self._opened.get(loaded.info.name) == place:
            return loaded
        return furnish(self._called(loaded, place), Places.named(place), self._device)

    def load(self, name: str, company: Company = ALONE) -> Loaded:
        """Raises DarkroomError with a sentence."""
        place = self._places.get(name)
        if place is not None:
            loaded = self._files(_where(place), company, place.vae, Places.named(place), name)
            return self._called(loaded, place)
        own = {name_of(self._own)} if is_place(self._own) else set()
        if name in own:
            return self._by_files(company)
        names = ", ".join(sorted({*own, *self._places}))
        raise NotKnown(f"This worker knows no model {name!r}; it knows {names}.")

    def size_mb(self, name: str) -> int:
        """By the catalogue; 0 when it does not say."""
        place = self._places.get(name)
        return place.memory_mb if place is not None else 0

    def is_current(self, name: str) -> bool:
        """False when the catalogue has other files for it by now than those it was opened from."""
        place, opened = self._places.get(name), self._opened.get(name)
        return place is None or opened is None or _files_of(place) == _files_of(opened)

    def _is_found(self, place: ModelPlace) -> bool:
        """Whether the bot has only found by now where a model of the hub lies that was opened from there."""
        opened = self._opened.get(place.name)
        if opened is None or opened.where == place.where or place.where != self._lies.get(place.name):
            return False
        return _files_of(replace(opened, where=place.where, file="", stamp=place.stamp)) == _files_of(place)

    def _own_place(self) -> ModelPlace | None:
        return next((place for place in self._places.values() if place.where == self._own), None)

    def _by_files(self, company: Company) -> Loaded:
        loaded = self._files(self._own, company)
        self._opened[loaded.info.name] = ModelPlace(name=loaded.info.name, where=self._own)
        self._lies[loaded.info.name] = str(loaded.where)
        return loaded

    def _files(self, where: str, company: Company, vae: str = "", tools: Places = NONE, name: str = "") -> Loaded:
        loras = lambda: self._loras  # noqa: E731 – what the catalogue names by then
        return self._load(
            where, self._device, self._progress, loras=loras, vae=vae, tools=tools, company=company, name=name
        )  # fmt: skip

    def _called(self, loaded: Loaded, place: ModelPlace) -> Loaded:
        info = loaded.info
        named = replace(
            info, name=place.name, native=place.native or info.native, steps=place.steps or info.steps,
            guidance=info.guidance if place.guidance is None else place.guidance,
            sampler=place.sampler or info.sampler,
        )  # fmt: skip
        self._opened[place.name] = place
        self._lies[place.name] = str(loaded.where)
        return replace(loaded, info=named)


def _where(place: ModelPlace) -> str:
    return f"{place.where}/{place.file}" if place.file else place.where


def _files_of(place: ModelPlace) -> tuple[str, ...]:
    return (_where(place), place.vae, place.adapter, place.upscaler, place.classifier, place.stamp)
