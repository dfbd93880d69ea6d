"""The models in memory: as many as fit. The least recently used is evicted first, and none before the next is loaded.

Loading takes long, so a thread does it; all else is called from the loop's thread. Where a new model needs memory,
idle ones are offloaded to the host's while it loads: they are evicted once it is loaded and has been tried out, and
restored when it fails. Knows nothing of jobs and rows; which models are at work is told by whoever asks.
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
from worker.checkpoints.loader import LoadedCheckpoint
from worker.compiling.compiled_model import CompiledModel
from worker.device import (
    Device,
    causes_of,
    free_cache,
    is_out_of_memory,
    other_programs_mb,
    synchronize,
    without_traceback,
)
from worker.engine.loaded_model import LoadedModel
from worker.errors import NoRoom
from worker.memory.offload_plan import ReservedMemory
from worker.memory.placement import HOST, move_networks

log = logging.getLogger("darkroom.cache")

#: For so long compiled code takes no memory after there was too little: tried at once, it would only fill it again.
SUSPEND_SECONDS = 600.0


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
class _LoadAttempt:
    """One load, and what came of it."""

    name: str
    evicting: list[LoadedModel]
    alone: bool  # no other model was on the device meanwhile
    reserved: ReservedMemory
    model: LoadedModel | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What came of a load: the model is in the cache, or `sentence` says why not."""

    name: str
    sentence: str = ""


class ModelCache:
    """All models of one device. `budget_mb`: what they may take there together, but one there always is.

    `on_load_ended` is called from the loading thread at the end of each load.
    """

    def __init__(self, source: ModelSource, device: Device, budget_mb: int) -> None:
        self.on_load_ended: Callable[[], None] = lambda: None
        self._source, self._device, self._budget_mb = source, device, budget_mb
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()  # the least recently used first
        self._known: dict[str, ModelInfo] = {}
        self._sizes: dict[str, int] = {}
        self._too_large_beside_others: set[str] = set()  # those that found no room beside others
        self._attempt: _LoadAttempt | None = None
        self._ended = threading.Event()

    @property
    def loading(self) -> str | None:
        """The name of the model that is being loaded."""
        return self._attempt.name if self._attempt else None

    def add(self, model: LoadedModel) -> None:
        """A model that was loaded elsewhere."""
        self._models[model.name] = model
        self._known[model.name] = model.loaded.info
        self._sizes[model.name] = model.loaded.memory_mb

    def set_catalogue(self, catalogue: Catalogue) -> None:
        """A new catalogue: models that it has other files for are loaded anew, when they are idle."""
        self._source.set_catalogue(catalogue)

    def is_stale(self, name: str) -> bool:
        """Whether it lies in memory as it was before other files took its place."""
        return name in self._models and not self._source.is_current(name)

    def evict_stale(self, busy: Collection[str]) -> bool:
        """Evicts what is stale and idle; False when there is nothing."""
        stale = [name for name in self._models if name not in busy and self.is_stale(name)]
        for name in stale:
            self._evict(name)
            del self._known[name]  # what is loaded next may be another model, with a digest of its own
        return bool(stale)

    def get(self, name: str) -> LoadedModel | None:
        """The model, if it is in memory; it counts as used now."""
        if name in self._models:
            self._models.move_to_end(name)
        return self._models.get(name)

    def start_load(self, name: str, busy: Collection[str]) -> bool:
        """Begins to load a model that is not there. False when it has to wait until models of `busy` are idle.

        One loads at a time; while another one does, nothing begins, and the answer is True.
        """
        if self._attempt is not None or name in self._models:
            return True
        evicting = self._to_evict(name, busy)
        if evicting is None:
            return False
        for model in evicting:
            del self._models[model.name]
        self._attempt = _LoadAttempt(
            name=name, evicting=evicting, alone=not self._models, reserved=self._reserved_by_others()
        )
        self._ended.clear()
        threading.Thread(target=self._load, args=(self._attempt,), name="load", daemon=True).start()
        return True

    def finish_load(self, busy: Collection[str]) -> LoadResult | None:
        """What came of the load, once it has ended. One that lacked room gets more at the next `start_load`."""
        attempt = self._attempt
        if attempt is None or not self._ended.is_set():
            return None
        self._attempt = None
        if attempt.model is not None:
            self.add(attempt.model)
            self._evict_over_budget(attempt.name, busy)
            return LoadResult(name=attempt.name)
        for model in reversed(attempt.evicting):
            self._models[model.name] = model
            self._models.move_to_end(model.name, last=False)
        if not attempt.alone and _was_out_of_memory(attempt.error):
            self._too_large_beside_others.add(attempt.name)
            return None
        return LoadResult(name=attempt.name, sentence=_sentence(attempt.name, attempt.error))

    def free_memory(self, busy: Collection[str]) -> bool:
        """Evicts all models that are not at work or, where there are none, frees what those at work can do without.

        False when there is nothing.
        """
        idle = [name for name in self._models if name not in busy]
        for name in idle:
            self._evict(name)
        return bool(idle) or self._suspend_compiled_code()

    def _suspend_compiled_code(self) -> bool:
        """Compiled code's recordings and joined weights, for a while: what lacks memory may be a job's only way."""
        synchronize(self._device)  # decodes beside the loop may replay recordings
        suspended = [one.suspend(SUSPEND_SECONDS) for one in self.compiled_models()]
        if any(suspended):
            log.info("Memory is full: compiled code is suspended for %d minutes.", SUSPEND_SECONDS // 60)
            self._free()
        return any(suspended)

    def compiled_models(self) -> Iterator[CompiledModel]:
        """The compiled code of all models that have some."""
        found = (model.loaded.compiled_model for model in self._models.values())
        return (one for one in found if one is not None)

    def models(self) -> Models:
        """What is there, as the bot is told."""
        return Models(loaded=tuple(self._models), known=tuple(self._known.values()))

    def _to_evict(self, name: str, busy: Collection[str]) -> list[LoadedModel] | None:
        """The idle models that have to be evicted for this one; None when they are not enough."""
        known = self._sizes.get(name, self._source.size_mb(name))
        if name in self._too_large_beside_others:
            known = self._budget_mb
        missing = known - self._free_mb()
        evicting = []
        for other, model in self._models.items():
            if missing > 0 and other not in busy:
                evicting.append(model)
                missing -= self._sizes[other]
        # One that is larger than the whole budget gets the device for itself.
        return evicting if missing <= 0 or len(evicting) == len(self._models) else None

    def _reserved_by_others(self) -> ReservedMemory:
        """What the models that stay have of the memory, with all that they may come to hold."""
        loaded = [model.loaded for model in self._models.values()]
        return ReservedMemory(models=sum(one.memory_mb + one.plan.compiled_mb for one in loaded))

    def _free_mb(self) -> int:
        return self._budget_mb - other_programs_mb(self._device) - sum(self._sizes[name] for name in self._models)

    def _evict_over_budget(self, new: str, busy: Collection[str]) -> None:
        """How large a model is shows when it is there: then others may have to be evicted after all."""
        for name in [name for name in self._models if name != new and name not in busy]:
            if self._free_mb() < 0:
                self._evict(name)

    def _evict(self, name: str) -> None:
        log.info("%s is evicted.", name)
        synchronize(self._device)
        del self._models[name]
        self._free()

    def _free(self) -> None:
        """Models hold themselves in circles, and torch holds their memory."""
        gc.collect()
        free_cache(self._device)

    def _load(self, attempt: _LoadAttempt) -> None:
        """In a thread of its own."""
        names = ", ".join(model.name for model in attempt.evicting) or "none"
        log.info("Loading %s; %s offloaded for it.", attempt.name, names)
        try:
            synchronize(self._device)
            for model in attempt.evicting:
                _offload(model)
            self._free()
            attempt.model = LoadedModel.of(self._source.load(attempt.name, attempt.reserved), self._device)
        except NoRoom as error:
            log.info("%s", error.sentence)
            attempt.error = without_traceback(error)
        except Exception as error:
            log.warning("%s could not be loaded.", attempt.name, exc_info=error)
            attempt.error = without_traceback(error)  # its frames hold the half of a model that has been loaded
        if attempt.error is None:
            attempt.evicting = []
        self._free()
        attempt.evicting = [model for model in attempt.evicting if self._is_restored(model)]
        self._ended.set()
        self.on_load_ended()

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
    for network in model.loaded.companions.networks:
        network.to(place)


def _was_out_of_memory(error: BaseException | None) -> bool:
    return any(isinstance(one, NoRoom) or is_out_of_memory(one) for one in causes_of(error))


def _sentence(name: str, error: BaseException | None) -> str:
    if isinstance(error, DarkroomError):
        return error.sentence
    return f"{name} could not be loaded; the worker's log says why."
