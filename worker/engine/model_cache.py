"""The models in memory: as many as fit. The least recently used goes first, and none before its successor is there.

Loading takes long, so a thread does it; all else is called from the loop's thread. Where a new model needs room, idle
ones move to the host's memory while it loads: they are let go when it is there and has been tried out, and come back
when it fails. Knows nothing of jobs and rows; which models are at work is told by whoever asks.
"""

import gc
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from core.errors import DarkroomError
from core.events import Catalogue, ModelInfo, Models
from worker.checkpoints.loader import Loaded
from worker.compiling.compiled_model import Boost
from worker.device import Device, bare, chain, finish, free_cache, is_out_of_memory, programs_mb
from worker.engine.loaded_model import Held
from worker.memory.offload_plan import Company, NoRoom
from worker.memory.placement import HOST, move

log = logging.getLogger("darkroom.shelf")

#: For so long compiled code takes no memory after there was too little: tried at once, it would only fill it again.
REST_SECONDS = 600.0


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
class _Try:
    """One load, and what came of it."""

    name: str
    leaving: list[Held]
    alone: bool  # no other model was on the device meanwhile
    company: Company
    held: Held | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What came of a load: the model is on the shelf, or `sentence` says why not."""

    name: str
    sentence: str = ""


class Shelf:
    """All models of one device. `budget_mb`: what they may take there together, but one there always is.

    `arrived` is called from the loading thread at the end of each load.
    """

    def __init__(self, source: Source, device: Device, budget_mb: int) -> None:
        self.arrived: Callable[[], None] = lambda: None
        self._source, self._device, self._budget_mb = source, device, budget_mb
        self._held: OrderedDict[str, Held] = OrderedDict()  # the least recently used first
        self._known: dict[str, ModelInfo] = {}
        self._sizes: dict[str, int] = {}
        self._crowded: set[str] = set()  # those that found no room beside others
        self._trying: _Try | None = None
        self._ended = threading.Event()

    @property
    def loading(self) -> str | None:
        """The model on its way."""
        return self._trying.name if self._trying else None

    def put(self, held: Held) -> None:
        """A model that was loaded elsewhere."""
        self._held[held.name] = held
        self._known[held.name] = held.loaded.info
        self._sizes[held.name] = held.loaded.memory_mb

    def know(self, catalogue: Catalogue) -> None:
        """A new catalogue: models that it has other files for are loaded anew, when they are idle."""
        self._source.know(catalogue)

    def is_stale(self, name: str) -> bool:
        """Whether it lies in memory as it was before other files took its place."""
        return name in self._held and not self._source.is_current(name)

    def renew(self, busy: Collection[str]) -> bool:
        """Lets go of what is stale and idle; False when there is nothing."""
        going = [name for name in self._held if name not in busy and self.is_stale(name)]
        for name in going:
            self._let_go(name)
            del self._known[name]  # what is loaded next may be another model, with a digest of its own
        return bool(going)

    def get(self, name: str) -> Held | None:
        """The model, if it is in memory; it counts as used now."""
        if name in self._held:
            self._held.move_to_end(name)
        return self._held.get(name)

    def fetch(self, name: str, busy: Collection[str]) -> bool:
        """Begins to load a model that is not there. False when it has to wait until models of `busy` are idle.

        One loads at a time; while another one does, nothing begins, and the answer is True.
        """
        if self._trying is not None or name in self._held:
            return True
        leaving = self._leaving(name, busy)
        if leaving is None:
            return False
        for held in leaving:
            del self._held[held.name]
        self._trying = _Try(name=name, leaving=leaving, alone=not self._held, company=self._staying())
        self._ended.clear()
        threading.Thread(target=self._run, args=(self._trying,), name="load", daemon=True).start()
        return True

    def settle(self, busy: Collection[str]) -> Arrival | None:
        """What came of the load, once it has ended. A model that lacked room gets more of it at the next `fetch`."""
        tried = self._trying
        if tried is None or not self._ended.is_set():
            return None
        self._trying = None
        if tried.held is not None:
            self.put(tried.held)
            self._trim(tried.name, busy)
            return Arrival(name=tried.name)
        for held in reversed(tried.leaving):
            self._held[held.name] = held
            self._held.move_to_end(held.name, last=False)
        if not tried.alone and _lacked_room(tried.error):
            self._crowded.add(tried.name)
            return None
        return Arrival(name=tried.name, sentence=_sentence(tried.name, tried.error))

    def shed(self, busy: Collection[str]) -> bool:
        """Lets go of all models that are not at work or, where there are none, of what those at work can do without.

        False when there is nothing.
        """
        idle = [name for name in self._held if name not in busy]
        for name in idle:
            self._let_go(name)
        return bool(idle) or self._slim()

    def _slim(self) -> bool:
        """Compiled code's recordings and joined weights, for a while: what lacks memory may be a job's only way."""
        finish(self._device)  # decodes beside the loop may replay recordings
        given = [boost.rest(REST_SECONDS) for boost in self.boosts()]
        if any(given):
            log.info("Memory is full: compiled code is not used for %d minutes.", REST_SECONDS // 60)
            self._free()
        return any(given)

    def boosts(self) -> Iterator[Boost]:
        """Of the models that are compiled for."""
        return (held.loaded.boost for held in self._held.values() if held.loaded.boost is not None)

    def models(self) -> Models:
        """What is there, as the bot is told."""
        return Models(loaded=tuple(self._held), known=tuple(self._known.values()))

    def _leaving(self, name: str, busy: Collection[str]) -> list[Held] | None:
        """The idle models that have to go for this one; None when they are not enough."""
        known = self._budget_mb if name in self._crowded else self._sizes.get(name, self._source.size_mb(name))
        missing = known - self._room_mb()
        leaving = []
        for other, held in self._held.items():
            if missing > 0 and other not in busy:
                leaving.append(held)
                missing -= self._sizes[other]
        # One that is larger than the whole budget gets the device for itself.
        return leaving if missing <= 0 or len(leaving) == len(self._held) else None

    def _staying(self) -> Company:
        """Those that are there, with all that they may come to hold."""
        loaded = [held.loaded for held in self._held.values()]
        return Company(models=sum(one.memory_mb + one.plan.later_mb for one in loaded))

    def _room_mb(self) -> int:
        return self._budget_mb - programs_mb(self._device) - sum(self._sizes[name] for name in self._held)

    def _trim(self, new: str, busy: Collection[str]) -> None:
        """How large a model is shows when it is there: then others may have to go after all."""
        for name in [name for name in self._held if name != new and name not in busy]:
            if self._room_mb() < 0:
                self._let_go(name)

    def _let_go(self, name: str) -> None:
        log.info("%s is unloaded.", name)
        finish(self._device)
        del self._held[name]
        self._free()

    def _free(self) -> None:
        """Models hold themselves in circles, and torch holds their memory."""
        gc.collect()
        free_cache(self._device)

    def _run(self, tried: _Try) -> None:
        """In a thread of its own."""
        log.info("Loading %s; %s make room.", tried.name, ", ".join(held.name for held in tried.leaving) or "none")
        try:
            finish(self._device)
            for held in tried.leaving:
                _leave(held)
            self._free()
            tried.held = Held.of(self._source.load(tried.name, tried.company), self._device)
        except NoRoom as error:
            log.info("%s", error.sentence)
            tried.error = bare(error)
        except Exception as error:
            log.warning("%s could not be loaded.", tried.name, exc_info=error)
            tried.error = bare(error)  # its frames hold the half of a model that has been loaded
        if tried.error is None:
            tried.leaving = []
        self._free()
        tried.leaving = [held for held in tried.leaving if self._comes_back(held)]
        self._ended.set()
        self.arrived()

    def _comes_back(self, held: Held) -> bool:
        try:
            _come_back(held, self._device.place)
        except Exception as error:
            # It is loaded anew when somebody asks for it.
            log.warning("%s could not be moved back (%s).", held.name, error)
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
    for network in held.loaded.tools.networks:
        network.to(place)


def _lacked_room(error: BaseException | None) -> bool:
    return any(isinstance(one, NoRoom) or is_out_of_memory(one) for one in chain(error))


def _sentence(name: str, error: BaseException | None) -> str:
    if isinstance(error, DarkroomError):
        return error.sentence
    return f"{name} could not be loaded; the worker's log says why."
