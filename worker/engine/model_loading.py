"""Loads in a thread of its own: a model or, where that is in memory, a companion of it; one at a time.

Where models have to be evicted for it, they are offloaded to the host's memory, and restored when it fails. Knows
nothing of who is to be evicted, of jobs and of rows.
"""

import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch

from core.events import Catalogue
from worker.checkpoints.loader import LoadedCheckpoint
from worker.device import Device, causes_of, free_cache, is_out_of_memory, synchronize, without_traceback
from worker.engine.loaded_model import LoadedModel
from worker.errors import NoRoom
from worker.memory.offload_plan import NOTHING_RESERVED, ReservedMemory
from worker.memory.placement import HOST, move_networks
from worker.vision.companions import CompanionKind, OpenCompanion

log = logging.getLogger("darkroom.loading")


class ModelSource(Protocol):
    """Where models come from, by the names in requests (`catalogue_loader.py`)."""

    def set_catalogue(self, catalogue: Catalogue) -> None:
        """The models from now on."""

    def load(self, name: str, reserved: ReservedMemory) -> LoadedCheckpoint:
        """In a thread of its own. Raises NoRoom when others had better go first, or DarkroomError with a sentence."""

    def size_mb(self, name: str) -> int:
        """What it will take on the device; 0 where nobody knows."""

    def is_current(self, name: str) -> bool:
        """False when it would be loaded from other files today."""


@dataclass(slots=True, eq=False, kw_only=True)
class LoadAttempt:
    """One load, and what came of it: `model` and for a companion `opened`, or `error`.

    Of a companion `model` is what it lies beside. `evicting`: the models that are offloaded for it; afterwards those
    that are restored. `last`: nothing more can be done for its memory.
    """

    name: str
    last: bool
    evicting: list[LoadedModel] = field(default_factory=list)
    reserved: ReservedMemory = NOTHING_RESERVED
    model: LoadedModel | None = None
    companion: CompanionKind | None = None
    opened: OpenCompanion | None = None
    error: BaseException | None = None

    @property
    def lacked_memory(self) -> bool:
        """Whether there was too little memory for it."""
        return any(isinstance(one, NoRoom) or is_out_of_memory(one) for one in causes_of(self.error))


class ModelLoader:
    """`on_load_ended` is called from the loading thread at the end of each load; all else is the loop's thread's."""

    def __init__(self, source: ModelSource, device: Device) -> None:
        self.on_load_ended: Callable[[], None] = lambda: None
        self.current: LoadAttempt | None = None  # the load under way
        self._source, self._device = source, device
        self._ended = threading.Event()

    def start(self, attempt: LoadAttempt) -> None:
        """While none is under way."""
        self.current = attempt
        self._ended.clear()
        threading.Thread(target=self._run, args=(attempt,), name="load", daemon=True).start()

    def fail(self, attempt: LoadAttempt) -> None:
        """One that ends before it has begun."""
        self.current = attempt
        self._ended.set()
        self.on_load_ended()

    def ended(self) -> LoadAttempt | None:
        """The load, once it has ended; then none is under way."""
        if self.current is None or not self._ended.is_set():
            return None
        attempt, self.current = self.current, None
        return attempt

    def free(self) -> None:
        """Models hold themselves in circles, and torch holds their memory."""
        gc.collect()
        free_cache(self._device)

    def _run(self, attempt: LoadAttempt) -> None:
        """In a thread of its own."""
        what = f"the {attempt.companion} of {attempt.name}" if attempt.companion else attempt.name
        names = ", ".join(model.name for model in attempt.evicting) or "none"
        log.info("Loading %s; %s offloaded for it.", what, names)
        try:
            synchronize(self._device)
            for model in attempt.evicting:
                _offload(model)
            self.free()
            self._load(attempt)
        except NoRoom as error:
            log.info("%s", error.sentence)
            attempt.error = without_traceback(error)
        except Exception as error:
            log.warning("%s could not be loaded.", what, exc_info=error)
            attempt.error = without_traceback(error)  # its frames hold the half of what has been loaded
        if attempt.error is None:
            attempt.evicting = []
        self.free()
        attempt.evicting = [model for model in attempt.evicting if self._is_restored(model)]
        self._ended.set()
        self.on_load_ended()

    def _load(self, attempt: LoadAttempt) -> None:
        if attempt.companion is not None and attempt.model is not None:
            attempt.opened = attempt.model.companions.open(attempt.companion)
        else:
            attempt.model = LoadedModel.of(self._source.load(attempt.name, attempt.reserved), self._device)

    def _is_restored(self, model: LoadedModel) -> bool:
        try:
            _restore(model, self._device.torch_device)
        except Exception as error:
            # It is loaded anew when somebody asks for it.
            log.warning("%s could not be restored (%s).", model.name, error)
            return False
        return True


def _offload(model: LoadedModel) -> None:
    """To the host's memory, with nothing left behind."""
    model.release_device_memory()
    _move(model, HOST)


def _restore(model: LoadedModel, place: torch.device) -> None:
    _move(model, place)
    model.restore()


def _move(model: LoadedModel, place: torch.device) -> None:
    move_networks(model.family.parts, model.loaded.plan, place)
    for network in model.companions.networks:
        network.to(place)
