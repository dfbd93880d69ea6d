"""Opens what a request's model name means: the catalogue's entry, with its files and with what lies beside it.

The bot sends the catalogue; before that, and beside it, there is the model that the worker was started with. Knows
nothing of memory and of jobs.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from core.catalogue import name_of
from core.errors import DarkroomError
from core.events import Catalogue, ModelPlace
from worker.device import Device
from worker.models import Loaded
from worker.vision.tools import Places, open_tools

LoadFiles = Callable[[str, Device, Callable[[], None]], Loaded]


class NotKnown(DarkroomError):
    """A request names a model that is not in the catalogue."""


class Opener:
    """Loads by name. `own`: the setting that names the worker's first model; `load`: opens files (`models.load`)."""

    def __init__(self, own: str, device: Device, load: LoadFiles, progress: Callable[[], None] = lambda: None) -> None:
        self._own, self._device, self._load, self._progress = own, device, load, progress
        self._places: dict[str, ModelPlace] = {}

    def know(self, catalogue: Catalogue) -> None:
        """From now on these are the models."""
        self._places = {place.name: place for place in catalogue.models}

    def first(self) -> Loaded:
        """The model that the worker was started with."""
        return self._load(self._own, self._device, self._progress)

    def __call__(self, name: str) -> Loaded:
        """Raises DarkroomError with a sentence."""
        place = self._places.get(name)
        if place is not None:
            return self._open(place)
        if name == name_of(self._own):
            return self.first()
        names = ", ".join(sorted({name_of(self._own), *self._places}))
        raise NotKnown(f"This worker knows no model {name!r}; it knows {names}.")

    def size_mb(self, name: str) -> int:
        """By the catalogue; 0 when it does not say."""
        place = self._places.get(name)
        return place.memory_mb if place is not None else 0

    def _open(self, place: ModelPlace) -> Loaded:
        loaded = self._load(place.where, self._device, self._progress)
        info, device = loaded.info, self._device
        places = Places(
            adapter=_path(place.adapter), upscaler=_path(place.upscaler), classifier=_path(place.classifier)
        )
        tools = open_tools(places, loaded.family.parts, device.place, device.dtype)
        named = replace(
            info, name=place.name, native=place.native or info.native, steps=place.steps or info.steps,
            guidance=info.guidance if place.guidance is None else place.guidance,
            sampler=place.sampler or info.sampler, edits=tuple(dict.fromkeys((*info.edits, *tools.edits))),
        )  # fmt: skip
        return replace(loaded, info=named, tools=tools)


def _path(where: str) -> Path | None:
    return Path(where).expanduser() if where else None
