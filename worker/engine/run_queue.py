"""The jobs that the worker has, and whose turn it is: the ones that wait, their rows in the loop, what is finished.

The longest waiting row decides which rows take the next step, and so keys and models take turns. Knows no device and
computes nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator

from worker.edits import needed_companions, wanted_companions
from worker.engine.batch import Row
from worker.engine.loaded_model import LoadedModel
from worker.engine.model_cache import Companion, ModelCache
from worker.engine.pipeline_row import PipelineRow
from worker.engine.task import Task
from worker.vision.companions import CompanionKind


class RunQueue:
    """Used by the loop's thread alone. `restarted` is called with a job whose work so far was for nothing."""

    def __init__(self, cache: ModelCache, restarted: Callable[[str], None]) -> None:
        self._cache, self._restarted = cache, restarted
        self.tasks: dict[str, Task] = {}  # by job, in the order in which they came
        self.waiting: deque[Task] = deque()
        self.rows: deque[Row | PipelineRow] = deque()
        self.finished: deque[Row | PipelineRow] = deque()

    def add(self, task: Task) -> None:
        """A job that has come."""
        self.tasks[task.id] = task
        self.waiting.append(task)

    def remove(self, task: Task) -> None:
        """Takes the job out of everything, wherever it is."""
        self.tasks.pop(task.id, None)
        self.waiting = deque(other for other in self.waiting if other is not task)
        self.rows = deque(row for row in self.rows if row.job != task.id)
        self.finished = deque(row for row in self.finished if row.job != task.id)
        task.close()

    def restart(self, task: Task, *, first: bool = False) -> None:
        """It begins anew, behind all others or as the `first`; what it has cost is not its member's."""
        self.remove(task)
        self._restarted(task.id)
        again = Task(
            order=task.order, made_with=task.made_with, paused=task.paused, ran_out_of_memory=task.ran_out_of_memory
        )
        self.add(again)
        if first:
            self.waiting.rotate(1)

    def tasks_for(self, model: str) -> list[Task]:
        """The jobs that ask for this model."""
        return [task for task in self.tasks.values() if task.model == model]

    def busy_models(self) -> set[str]:
        """Models at work. Those of paused jobs may go: rows are small, and wait for their model to return."""
        begun = {task.model for task in self.tasks.values() if task.is_begun and not task.paused}
        return begun | {self.tasks[row.job].model for row in self.finished}

    def busy_companions(self) -> set[Companion]:
        """Companions at work. Those of paused jobs may go, as their models may, and return for their rows."""
        found: set[Companion] = set()
        for task in self.tasks.values():
            model = self._cache.get(task.model) if task.is_begun else None
            if model is not None and (task.needs_its_model or not task.paused):
                found |= {(task.model, kind) for kind in model.companions.available(_wanted(task))}
        return found

    def tasks_without(self, name: str, kind: CompanionKind) -> list[Task]:
        """The jobs that cannot be without what this companion of their model was for, now that it is not there."""
        model = self._cache.get(name)
        needed = CompanionKind.DESCRIBER if kind is CompanionKind.CLASSIFIER else kind
        if model is not None and model.companions.available({needed}):
            return []
        return [task for task in self.tasks_for(name) if needed in _needed(task)]

    def next_waiting(self) -> Task | None:
        """The first waiting job whose model is there, with what the job wants beside it; has the others loaded.

        Where one of them has to wait for memory, nobody who came later begins, or it would wait for ever. And none
        takes the memory of a model that somebody who came earlier is about to use.
        """
        for task in [task for task in self.tasks.values() if self._is_lost(task)]:
            self.restart(task)
        able, busy_models, closed = set(), self.busy_models(), False
        for task in self.tasks.values():
            if task.paused:
                continue
            model = self._cache.get(task.model)
            if model is None:
                closed |= not self._cache.start_load(task.model, busy_models)
            # Whoever begins now gets the files that are there now.
            elif task.is_begun or not (closed or self._cache.is_stale(task.model)):
                if missing := model.companions.missing(_wanted(task)):
                    busy = self.busy_companions()
                    closed |= not self._cache.start_companion_load(task.model, missing, busy_models, busy)
                else:
                    able.add(task.id)
                busy_models.add(task.model)
        return next((task for task in self.waiting if task.id in able), None)

    def _is_lost(self, task: Task) -> bool:
        """Whether it cannot go on from where it is: its model went while it was paused, and something hung on it."""
        if task.paused:
            return task.needs_its_model and self._cache.get(task.model) is None
        if not task.rows or (model := self._cache.get(task.model)) is None:
            return False
        if lacking := _wanted(task) - set(model.companions.kinds_in_memory):
            # Its pictures cannot be heard, or only by a model that is loaded anew, for which it must not be in use.
            return self._cache.is_stale(task.model) or not lacking <= model.companions.available(lacking)
        # Rows outlive their model, but not one that came back as another one: they would be half of each.
        return task.made_with is not None and task.made_with.digest != model.made_with.digest

    def has_waiting(self) -> bool:
        """True while somebody who may go on has not taken a step yet."""
        return any(not task.paused for task in self.waiting)

    def add_rows(self, task: Task) -> None:
        """Its rows may take steps from now on."""
        task.undecoded = len(task.rows)
        self.rows.extend(task.rows)

    def next_batch(self, limit: int) -> list[Row | PipelineRow]:
        """The next step's rows: those that fit with the one that waited longest. They go to the end of the queue."""
        batch = list(self._compatible(limit))
        chosen = set(map(id, batch))
        self.rows = deque(row for row in self.rows if id(row) not in chosen)
        self.rows.extend(batch)
        return batch

    def record_step(self, rows: list[Row | PipelineRow]) -> None:
        """These have taken a step; some of them were at their last."""
        self.finished.extend(row for row in rows if row.is_done)
        self.rows = deque(row for row in self.rows if not row.is_done)

    def next_finished(self) -> Row | PipelineRow | None:
        """The first row that is to be decoded; it is in the caller's hands then."""
        return self.finished.popleft() if self.finished else None

    def _limit_of(self, task: Task, limit: int) -> int:
        """Fewer where the model's own offload plan allows no more."""
        model = self._cache.get(task.model)
        return min(limit, model.plan.rows) if model is not None else limit

    def _compatible(self, limit: int) -> Iterator[Row | PipelineRow]:
        first: Row | PipelineRow | None = None
        for row in self.rows:
            task = self.tasks[row.job]
            if task.paused or not _can_step(task, self._cache.get(task.model)):
                continue
            if first is None:
                first, limit = row, self._limit_of(task, limit)
            alone = task.runs_alone or self.tasks[first.job].runs_alone
            if row.key == first.key and (row.job == first.job or not alone):
                yield row
                limit -= 1
                if not limit:
                    return


def _wanted(task: Task) -> frozenset[CompanionKind]:
    """What it is drawn with; of what it was prepared with only what its rows still hear."""
    if task.prepared is None:
        return wanted_companions(task.order)
    heard = any(isinstance(row, Row) and "image" in row.text for row in task.rows)
    return frozenset({CompanionKind.ADAPTER} if heard else ())


def _needed(task: Task) -> frozenset[CompanionKind]:
    return needed_companions(task.order) if task.prepared is None else _wanted(task)


def _can_step(task: Task, model: LoadedModel | None) -> bool:
    """Whether its model is there, with what tells its rows of pictures."""
    return model is not None and not model.companions.missing(_wanted(task))
