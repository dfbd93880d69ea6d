"""The models in memory: as many as fit. The least recently used is evicted first, and none before the next is loaded.

With each of them what lies beside it (its companions), as far as jobs have needed it. Loading takes long, so a thread
does it (`model_loading.py`); all else is called from the loop's thread. Knows nothing of jobs and rows; which models
and companions are at work is told by whoever asks.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from core.errors import DarkroomError
from core.events import Catalogue, ModelInfo, Models
from worker.compiling import CompiledModel
from worker.device import Device, other_programs_mb, synchronize, without_traceback
from worker.engine.loaded_model import LoadedModel
from worker.engine.model_loading import LoadAttempt, ModelLoader, ModelSource
from worker.errors import CannotLoad, CannotOpen, NoRoom, NotHere
from worker.memory import ReservedMemory
from worker.vision import CompanionKind

log = logging.getLogger("darkroom.cache")

#: For so long compiled code takes no memory after there was too little: tried at once, it would only fill it again.
SUSPEND_SECONDS = 600.0

#: A companion of a model, by the model's name.
Companion = tuple[str, CompanionKind]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What came of a load: the model, or the companion of it, is in the cache, or `sentence` says why not.

    A companion that did not come is withdrawn; `file`: its name. `lacked_memory`, `not_here`: whether this is why.
    """

    name: str
    sentence: str = ""
    companion: CompanionKind | None = None
    file: str = ""
    lacked_memory: bool = False
    not_here: bool = False  # its files are not here


class ModelCache:
    """All models of one device. `budget_mb`: what they may take there together, but one there always is."""

    def __init__(self, source: ModelSource, device: Device, budget_mb: int) -> None:
        self._source, self._device, self._budget_mb = source, device, budget_mb
        self._loader = ModelLoader(source, device)
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()  # the least recently used first
        self._known: dict[str, ModelInfo] = {}
        self._sizes: dict[str, int] = {}
        #: Models and companions that found no room beside other models.
        self._too_large_beside_others: set[tuple[str, CompanionKind | None]] = set()
        self._to_place_anew: set[str] = set()  # models that leave a companion no room as they lie
        self._placed_for: dict[str, dict[CompanionKind, int]] = {}  # what they are then placed with room for, in MB
        self._withdrawn: dict[str, set[CompanionKind]] = {}

    @property
    def on_load_ended(self) -> Callable[[], None]:
        """Called from the loading thread at the end of each load."""
        return self._loader.on_load_ended

    @on_load_ended.setter
    def on_load_ended(self, call: Callable[[], None]) -> None:
        self._loader.on_load_ended = call

    @property
    def loading(self) -> str | None:
        """The name of the model that is being loaded, or that a companion is loaded for."""
        return self._loader.current.name if self._loader.current else None

    def add(self, model: LoadedModel) -> None:
        """A model that was loaded elsewhere."""
        for kind in self._withdrawn.get(model.name, ()):
            model.withdraw_companion(kind)
        self._models[model.name] = model
        self._record(model)

    def _record(self, model: LoadedModel) -> None:
        """What is known of a model, as it is now."""
        self._known[model.name] = model.loaded.info
        self._sizes[model.name] = model.memory_mb

    def set_catalogue(self, catalogue: Catalogue) -> None:
        """A new catalogue: models that it has other files for are loaded anew, when they are idle."""
        self._source.set_catalogue(catalogue)

    def is_stale(self, name: str) -> bool:
        """Whether it has to be loaded anew: other files took its place, or a companion finds no room beside it."""
        return name in self._models and (name in self._to_place_anew or not self._source.is_current(name))

    def evict_stale(self, busy: Collection[str]) -> bool:
        """Evicts what is stale and idle; False when there is nothing."""
        stale = [name for name in self._models if name not in busy and self.is_stale(name)]
        for name in stale:
            self._evict(name)
            self._to_place_anew.discard(name)
            if not self._source.is_current(name):
                del self._known[name]  # what is loaded next may be another model, with a digest of its own
                self._withdrawn.pop(name, None)
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
        if self._loader.current is not None or name in self._models:
            return True
        known = self._sizes.get(name, self._source.size_mb(name))
        crowded = (name, None) in self._too_large_beside_others
        # One that is larger than the whole budget gets the device for itself.
        evicting = self._to_evict((self._budget_mb if crowded else known) - self._free_mb(), busy)
        if evicting is None:
            return False
        self._start(LoadAttempt(name=name, evicting=evicting, last=len(evicting) == len(self._models)))
        return True

    def start_companion_load(
        self, name: str, kind: CompanionKind, busy: Collection[str], busy_companions: Collection[Companion] = ()
    ) -> bool:
        """The same for a companion of a model that is there. `busy_companions`: those at work.

        Where the model leaves it no room as it lies, that has to be loaded anew first (`is_stale`).
        """
        if self._loader.current is not None:
            return True
        model = self._models[name]
        needed = model.companions.known[kind].memory_mb
        try:
            model.plan_with(needed)
        except NoRoom as error:
            if self._unload_companions(busy_companions, [model]):
                return self.start_companion_load(name, kind, busy, busy_companions)
            return self._place_anew(model, kind, error)
        except CannotLoad as error:
            return self._give_up(model, kind, error)
        crowded = (name, kind) in self._too_large_beside_others
        evicting = self._to_evict((self._budget_mb if crowded else needed) - self._free_mb(), {*busy, name}, staying=1)
        if evicting is None:
            return False
        if crowded:
            self._unload_companions(busy_companions, [model])
            self._suspend_compiled_code()
        self._start(LoadAttempt(name=name, evicting=evicting, last=crowded, model=model, companion=kind))
        return True

    def _place_anew(self, model: LoadedModel, kind: CompanionKind, error: NoRoom) -> bool:
        """Once, with room for all that found none."""
        placed_for = self._placed_for.setdefault(model.name, {})
        if model.name in self._to_place_anew:
            return False
        if kind in placed_for:
            return self._give_up(model, kind, error)
        log.info("%s", error.sentence)
        placed_for[kind] = model.companions.known[kind].memory_mb
        self._to_place_anew.add(model.name)
        return False

    def _give_up(self, model: LoadedModel, kind: CompanionKind, error: CannotLoad) -> bool:
        """There is no way to find room for it."""
        no_room = NoRoom(error.sentence)
        self._loader.fail(LoadAttempt(name=model.name, last=True, model=model, companion=kind, error=no_room))
        return True

    def _start(self, attempt: LoadAttempt) -> None:
        for model in attempt.evicting:
            del self._models[model.name]
        attempt.reserved = self._reserved_beside(attempt.name)
        self._loader.start(attempt)

    def finish_load(self, busy: Collection[str]) -> LoadResult | None:
        """What came of the load, once it has ended. What lacked room gets more at the next try."""
        attempt = self._loader.ended()
        if attempt is None:
            return None
        for model in reversed(attempt.evicting):
            self._models[model.name] = model
            self._models.move_to_end(model.name, last=False)
        if attempt.lacked_memory and not attempt.last:
            self._too_large_beside_others.add((attempt.name, attempt.companion))
            return None
        if attempt.companion is not None:
            return self._finish_companion_load(attempt, attempt.companion, busy)
        if attempt.model is None:
            sentence, absent = _sentence(attempt.name, attempt.error), isinstance(attempt.error, NotHere)
            return LoadResult(name=attempt.name, sentence=sentence, not_here=absent)
        self.add(attempt.model)
        self._evict_over_budget(attempt.name, busy)
        return LoadResult(name=attempt.name)

    def _finish_companion_load(
        self, attempt: LoadAttempt, kind: CompanionKind, busy: Collection[str]
    ) -> LoadResult | None:
        model = attempt.model
        if model is None or self._models.get(attempt.name) is not model:
            return None  # the model was evicted meanwhile
        try:
            if attempt.opened is not None:
                model.add_companion(kind, attempt.opened)
                self._record(model)
                self._evict_over_budget(model.name, busy)
                log.info("The %s of %s is loaded; %s.", kind, model.name, model.plan.sentence())
                return LoadResult(name=model.name, companion=kind)
        except Exception as error:
            # What a library's layers may raise: the model goes on without.
            log.warning("The %s of %s does not fit the model.", kind, model.name, exc_info=error)
            attempt.error = without_traceback(error)
        self._withdrawn.setdefault(model.name, set()).add(kind)
        self._placed_for.get(model.name, {}).pop(kind, None)
        file = model.companions.known[kind].path.name
        model.withdraw_companion(kind)
        self._record(model)
        return LoadResult(
            name=model.name, sentence=_sentence(file, attempt.error), companion=kind, file=file,
            lacked_memory=attempt.lacked_memory,
        )  # fmt: skip

    def free_memory(self, busy: Collection[str], busy_companions: Collection[Companion] = ()) -> bool:
        """Evicts all models that are not at work or, where there are none, frees what those at work can do without.

        `busy_companions`: companions at work. False when there is nothing.
        """
        idle = [name for name in self._models if name not in busy]
        for name in idle:
            self._evict(name)
        if idle or self._unload_companions(busy_companions, list(self._models.values())):
            return True
        return self._suspend_compiled_code()

    def _unload_companions(self, busy: Collection[Companion], models: Collection[LoadedModel]) -> bool:
        """Companions of these models that are not at work leave memory; False when there are none."""
        found = ((model, kind) for model in models for kind in model.companions.kinds_in_memory)
        idle = [(model, kind) for model, kind in found if (model.name, kind) not in busy]
        if not idle:
            return False
        synchronize(self._device)
        for model, kind in idle:
            log.info("The %s of %s is unloaded.", kind, model.name)
            model.unload_companion(kind)
            self._record(model)
        self._loader.free()
        return True

    def _suspend_compiled_code(self) -> bool:
        """Compiled code's recordings and joined weights, for a while: what lacks memory may be a job's only way."""
        synchronize(self._device)  # decodes beside the loop may replay recordings
        suspended = [one.suspend(SUSPEND_SECONDS) for one in self.compiled_models()]
        if any(suspended):
            log.info("Memory is full: compiled code is suspended for %d minutes.", SUSPEND_SECONDS // 60)
            self._loader.free()
        return any(suspended)

    def compiled_models(self) -> Iterator[CompiledModel]:
        """The compiled code of all models that have some."""
        found = (model.loaded.compiled_model for model in self._models.values())
        return (one for one in found if one is not None)

    def models(self) -> Models:
        """What is there, as the bot is told."""
        return Models(loaded=tuple(self._models), known=tuple(self._known.values()))

    def _to_evict(self, missing: int, busy: Collection[str], staying: int = 0) -> list[LoadedModel] | None:
        """Idle models of so many MB, or all but `staying` there are; None when they are not enough."""
        evicting = []
        for other, model in self._models.items():
            if missing > 0 and other not in busy:
                evicting.append(model)
                missing -= self._sizes[other]
        return evicting if missing <= 0 or len(evicting) + staying == len(self._models) else None

    def _reserved_beside(self, name: str) -> ReservedMemory:
        """What the models that stay may come to hold, and the companions that `name` is to be placed with room for."""
        models = sum(self._sizes[model.name] + model.plan.compiled_mb for model in self._models.values())
        return ReservedMemory(models=models, companions=sum(self._placed_for.get(name, {}).values()))

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
        self._loader.free()


def _sentence(name: str, error: BaseException | None) -> str:
    if isinstance(error, DarkroomError):
        return error.sentence
    if isinstance(error, CannotOpen):
        return str(error)
    return f"{name} could not be loaded; the worker's log says why."
