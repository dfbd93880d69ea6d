"""Loads in a thread of its own: a model or, where that is there, a companion of it; one at a time.

Where models have to leave for it, they move to the host's memory, and come back when it fails. Knows nothing of who has
to leave, of jobs and of rows.
"""

import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch

from core.events import Catalogue
from worker.checkpoints.loader import Loaded
from worker.device import Device, bare, chain, finish, free_cache, is_out_of_memory
from worker.engine.loaded_model import Held
from worker.memory.offload_plan import ALONE, Company, NoRoom
from worker.memory.placement import HOST, move
from worker.vision.companions import Companion, Opened

log = logging.getLogger("darkroom.loading")


class Source(Protocol):
    """Where models come from, by the names in requests (`opener.py`)."""

    def know(self, catalogue: Catalogue) -> None:
        """From now on these are the models."""

    def load(self, name: str, company: Company) -> Loaded:
        """In a thread of its own. Raises NoRoom when others had better go first, or DarkroomError with a sentence."""

    def size_mb(self, name: str) -> int:
        """What it will take on the device; 0 where nobody knows."""

    def is_current(self, name: str) -> bool:
        """False when it would be loaded from other files today."""


@dataclass(slots=True, eq=False, kw_only=True)
class Load:
    """One load, and what came of it: `held` and for a companion `opened`, or `error`.

    Of a companion `held` is the model that it lies beside. `leaving`: the models that leave for it; afterwards those
    that are back. `alone`: nothing more can be done for its room.
    """

    name: str
    alone: bool
    leaving: list[Held] = field(default_factory=list)
    company: Company = ALONE
    held: Held | None = None
    companion: Companion | None = None
    opened: Opened | None = None
    error: BaseException | None = None

    @property
    def lacked_room(self) -> bool:
        """Whether there was too little memory for it."""
        return any(isinstance(one, NoRoom) or is_out_of_memory(one) for one in chain(self.error))


class Loader:
    """`arrived` is called from the loading thread at the end of each load; all else belongs to the loop's thread."""

    def __init__(self, source: Source, device: Device) -> None:
        self.arrived: Callable[[], None] = lambda: None
        self.current: Load | None = None  # the load under way
        self._source, self._device = source, device
        self._ended = threading.Event()

    def begin(self, load: Load) -> None:
        """While none is under way."""
        self.current = load
        self._ended.clear()
        threading.Thread(target=self._run, args=(load,), name="load", daemon=True).start()

    def fail(self, load: Load) -> None:
        """One that ends before it has begun."""
        self.current = load
        self._ended.set()
        self.arrived()

    def ended(self) -> Load | None:
        """The load, once it has ended; then none is under way."""
        if self.current is None or not self._ended.is_set():
            return None
        load, self.current = self.current, None
        return load

    def free(self) -> None:
        """Models hold themselves in circles, and torch holds their memory."""
        gc.collect()
        free_cache(self._device)

    def _run(self, load: Load) -> None:
        """In a thread of its own."""
        what = f"the {load.companion} of {load.name}" if load.companion else load.name
        log.info("Loading %s; %s leave for it.", what, ", ".join(held.name for held in load.leaving) or "none")
        try:
            finish(self._device)
            for held in load.leaving:
                _leave(held)
            self.free()
            self._load(load)
        except NoRoom as error:
            log.info("%s", error.sentence)
            load.error = bare(error)
        except Exception as error:
            log.warning("%s could not be loaded.", what, exc_info=error)
            load.error = bare(error)  # its frames hold the half of what has been loaded
        if load.error is None:
            load.leaving = []
        self.free()
        load.leaving = [held for held in load.leaving if self._comes_back(held)]
        self._ended.set()
        self.arrived()

    def _load(self, load: Load) -> None:
        if load.companion is not None and load.held is not None:
            load.opened = load.held.companions.open(load.companion)
        else:
            load.held = Held.of(self._source.load(load.name, load.company), self._device)

    def _comes_back(self, held: Held) -> bool:
        try:
            _come_back(held, self._device.place)
        except Exception as error:
            # It is loaded anew when somebody asks for it.
            log.warning("%s could not come back (%s).", held.name, error)
            return False
        return True


def _leave(held: Held) -> None:
    """To the host's memory, with nothing left behind."""
    held.leave()
    _move(held, HOST)


def _come_back(held: Held, place: torch.device) -> None:
    _move(held, place)
    held.come_back()


def _move(held: Held, place: torch.device) -> None:
    move(held.family.parts, held.loaded.plan, place)
    for network in held.companions.networks:
        network.to(place)
