"""The models in memory: as many as fit. The least recently used goes first, and none before its successor is there.

With each of them what lies beside it (its companions), as far as jobs have needed it. Loading takes long, so a thread
does it (`loading.py`); all else is called from the loop's thread. Knows nothing of jobs and rows; which models and
companions are at work is told by whoever asks.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from core.errors import DarkroomError
from core.events import Catalogue, ModelInfo, Models
from worker.checkpoint_formats.kinds import CannotLoad
from worker.compiling.compiled_model import Boost
from worker.device import Device, bare, finish, programs_mb
from worker.engine.loaded_model import Held
from worker.engine.model_loading import Load, Loader, Source
from worker.memory.offload_plan import Company, NoRoom
from worker.vision import CannotOpen
from worker.vision.companions import Companion

log = logging.getLogger("darkroom.shelf")

#: For so long compiled code takes no memory after there was too little: tried at once, it would only fill it again.
REST_SECONDS = 600.0

#: A companion of a model, by the model's name.
Beside = tuple[str, Companion]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What came of a load: the model, or the companion of it, is there, or `sentence` says why not.

    A companion that did not come is withdrawn; `file` is what it is called, `lacked_room` whether memory is the reason.
    """

    name: str
    sentence: str = ""
    companion: Companion | None = None
    file: str = ""
    lacked_room: bool = False


class Shelf:
    """All models of one device. `budget_mb`: what they may take there together, but one there always is."""

    def __init__(self, source: Source, device: Device, budget_mb: int) -> None:
        self._source, self._device, self._budget_mb = source, device, budget_mb
        self._loader = Loader(source, device)
        self._held: OrderedDict[str, Held] = OrderedDict()  # the least recently used first
        self._known: dict[str, ModelInfo] = {}
        self._sizes: dict[str, int] = {}
        self._crowded: set[tuple[str, Companion | None]] = set()  # those that found no room beside other models
        self._cramped: set[str] = set()  # models that have to be placed anew, for a companion finds no room
        self._roomy: dict[str, dict[Companion, int]] = {}  # what they are then placed with room for, in MB
        self._withdrawn: dict[str, set[Companion]] = {}

    @property
    def arrived(self) -> Callable[[], None]:
        """Called from the loading thread at the end of each load."""
        return self._loader.arrived

    @arrived.setter
    def arrived(self, call: Callable[[], None]) -> None:
        self._loader.arrived = call

    @property
    def loading(self) -> str | None:
        """The model that is on its way, or has a companion on its way."""
        return self._loader.current.name if self._loader.current else None

    def put(self, held: Held) -> None:
        """A model that was loaded elsewhere."""
        for companion in self._withdrawn.get(held.name, ()):
            held.withdraw(companion)
        self._held[held.name] = held
        self._weigh(held)

    def know(self, catalogue: Catalogue) -> None:
        """A new catalogue: models that it has other files for are loaded anew, when they are idle."""
        self._source.know(catalogue)

    def is_stale(self, name: str) -> bool:
        """Whether it has to be loaded anew: other files took its place, or a companion finds no room beside it."""
        return name in self._held and (name in self._cramped or not self._source.is_current(name))

    def renew(self, busy: Collection[str]) -> bool:
        """Lets go of what is stale and idle; False when there is nothing."""
        going = [name for name in self._held if name not in busy and self.is_stale(name)]
        for name in going:
            self._let_go(name)
            self._cramped.discard(name)
            if not self._source.is_current(name):
                del self._known[name]  # what is loaded next may be another model, with a digest of its own
                self._withdrawn.pop(name, None)
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
        if self._loader.current is not None or name in self._held:
            return True
        known = self._sizes.get(name, self._source.size_mb(name))
        missing = (self._budget_mb if (name, None) in self._crowded else known) - self._room_mb()
        # One that is larger than the whole budget gets the device for itself.
        leaving = self._idle(missing, busy)
        if leaving is None:
            return False
        self._begin(Load(name=name, leaving=leaving, alone=len(leaving) == len(self._held)))
        return True

    def furnish(self, name: str, companion: Companion, busy: Collection[str], used: Collection[Beside] = ()) -> bool:
        """Begins to load a companion of a model that is there, as `fetch` does a model. `used`: those at work.

        Where the model leaves it no room as it lies, that has to be loaded anew first (`is_stale`).
        """
        if self._loader.current is not None:
            return True
        held = self._held[name]
        needed = held.companions.known[companion].memory_mb
        try:
            held.plan_with(needed)
        except NoRoom as error:
            if self._put_away(used, [held]):
                return self.furnish(name, companion, busy, used)
            return self._place_anew(held, companion, error)
        except CannotLoad as error:
            return self._give_up(held, companion, error)
        crowded = (name, companion) in self._crowded
        missing = (self._budget_mb if crowded else needed) - self._room_mb()
        leaving = self._idle(missing, {*busy, name}, staying=1)
        if leaving is None:
            return False
        if crowded:
            self._put_away(used, [held])
            self._slim()
        self._begin(Load(name=name, leaving=leaving, alone=crowded, held=held, companion=companion))
        return True

    def _place_anew(self, held: Held, companion: Companion, error: NoRoom) -> bool:
        """Once, with room for all that found none."""
        roomy = self._roomy.setdefault(held.name, {})
        if held.name in self._cramped:
            return False
        if companion in roomy:
            return self._give_up(held, companion, error)
        log.info("%s", error.sentence)
        roomy[companion] = held.companions.known[companion].memory_mb
        self._cramped.add(held.name)
        return False

    def _give_up(self, held: Held, companion: Companion, error: CannotLoad) -> bool:
        """There is no way to find room for it."""
        no_room = NoRoom(error.sentence)
        self._loader.fail(Load(name=held.name, alone=True, held=held, companion=companion, error=no_room))
        return True

    def _begin(self, load: Load) -> None:
        for held in load.leaving:
            del self._held[held.name]
        load.company = self._staying(load.name)
        self._loader.begin(load)

    def settle(self, busy: Collection[str]) -> Arrival | None:
        """What came of the load, once it has ended. What lacked room gets more of it at the next try."""
        load = self._loader.ended()
        if load is None:
            return None
        for held in reversed(load.leaving):
            self._held[held.name] = held
            self._held.move_to_end(held.name, last=False)
        if load.lacked_room and not load.alone:
            self._crowded.add((load.name, load.companion))
            return None
        if load.companion is not None:
            return self._settle_companion(load, load.companion, busy)
        if load.held is None:
            return Arrival(name=load.name, sentence=_sentence(load.name, load.error))
        self.put(load.held)
        self._trim(load.name, busy)
        return Arrival(name=load.name)

    def _settle_companion(self, load: Load, companion: Companion, busy: Collection[str]) -> Arrival | None:
        held = load.held
        if held is None or self._held.get(load.name) is not held:
            return None  # the model went meanwhile
        try:
            if load.opened is not None:
                held.take(companion, load.opened)
                self._weigh(held)
                self._trim(held.name, busy)
                log.info("The %s of %s is there; it lies so: %s.", companion, held.name, held.plan.sentence())
                return Arrival(name=held.name, companion=companion)
        except Exception as error:
            # What a library's layers may raise: the model goes on without.
            log.warning("The %s of %s does not fit into it.", companion, held.name, exc_info=error)
            load.error = bare(error)
        self._withdrawn.setdefault(held.name, set()).add(companion)
        self._roomy.get(held.name, {}).pop(companion, None)
        file = held.companions.known[companion].path.name
        held.withdraw(companion)
        self._weigh(held)
        return Arrival(
            name=held.name, sentence=_sentence(file, load.error), companion=companion, file=file,
            lacked_room=load.lacked_room,
        )  # fmt: skip

    def _weigh(self, held: Held) -> None:
        """What is known of a model, as it is now."""
        self._known[held.name] = held.loaded.info
        self._sizes[held.name] = held.memory_mb

    def shed(self, busy: Collection[str], used: Collection[Beside] = ()) -> bool:
        """Lets go of all models that are not at work or, where there are none, of what those at work can do without.

        `used`: companions at work. False when there is nothing.
        """
        idle = [name for name in self._held if name not in busy]
        for name in idle:
            self._let_go(name)
        return bool(idle) or self._put_away(used, list(self._held.values())) or self._slim()

    def _put_away(self, used: Collection[Beside], models: Collection[Held]) -> bool:
        """Companions of these models that are not at work leave memory; False when there are none."""
        idle = [(held, one) for held in models for one in held.companions.opened if (held.name, one) not in used]
        if not idle:
            return False
        finish(self._device)
        for held, companion in idle:
            log.info("The %s of %s is let go.", companion, held.name)
            held.drop(companion)
            self._weigh(held)
        self._loader.free()
        return True

    def _slim(self) -> bool:
        """Compiled code's recordings and joined weights, for a while: what lacks memory may be a job's only way."""
        finish(self._device)  # decodes beside the loop may replay recordings
        given = [boost.rest(REST_SECONDS) for boost in self.boosts()]
        if any(given):
            log.info("Memory is full: compiled code rests for %d minutes.", REST_SECONDS // 60)
            self._loader.free()
        return any(given)

    def boosts(self) -> Iterator[Boost]:
        """Of the models that are compiled for."""
        return (held.loaded.boost for held in self._held.values() if held.loaded.boost is not None)

    def models(self) -> Models:
        """What is there, as the bot is told."""
        return Models(loaded=tuple(self._held), known=tuple(self._known.values()))

    def _idle(self, missing: int, busy: Collection[str], staying: int = 0) -> list[Held] | None:
        """Idle models of so many MB, or all but `staying` there are; None when they are not enough."""
        leaving = []
        for other, held in self._held.items():
            if missing > 0 and other not in busy:
                leaving.append(held)
                missing -= self._sizes[other]
        return leaving if missing <= 0 or len(leaving) + staying == len(self._held) else None

    def _staying(self, name: str) -> Company:
        """Models that are there, with all that they may come to hold, and what `name` shall have room for beside it."""
        models = sum(self._sizes[held.name] + held.plan.later_mb for held in self._held.values())
        return Company(models=models, tools=sum(self._roomy.get(name, {}).values()))

    def _room_mb(self) -> int:
        return self._budget_mb - programs_mb(self._device) - sum(self._sizes[name] for name in self._held)

    def _trim(self, new: str, busy: Collection[str]) -> None:
        """How large a model is shows when it is there: then others may have to go after all."""
        for name in [name for name in self._held if name != new and name not in busy]:
            if self._room_mb() < 0:
                self._let_go(name)

    def _let_go(self, name: str) -> None:
        log.info("%s is let go.", name)
        finish(self._device)
        del self._held[name]
        self._loader.free()


def _sentence(name: str, error: BaseException | None) -> str:
    if isinstance(error, DarkroomError):
        return error.sentence
    if isinstance(error, CannotOpen):
        return str(error)
    return f"{name} could not be loaded; the worker's log says why."
