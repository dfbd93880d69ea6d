"""The jobs that the worker has, and whose turn it is: the ones that wait, their rows in the loop, what is finished.

The longest waiting row decides which rows take the next step, and so keys and models take turns. Knows no device and
computes nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator

from worker.engine.batch import Row
from worker.engine.model_cache import ModelCache
from worker.engine.pipeline_row import PipelineRow
from worker.engine.task import Task


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

    def next_waiting(self) -> Task | None:
        """The first waiting job whose model is there; has the other models loaded.

        Where one of them has to wait for memory, nobody who came later begins, or it would wait for ever. And none
        takes the memory of a model that somebody who came earlier is about to use.
        """
        for task in [task for task in self.tasks.values() if self._is_lost(task)]:
            self.restart(task)
        able, busy_models, closed = set(), self.busy_models(), False
        for task in self.tasks.values():
            if task.paused:
                continue
            if self._cache.get(task.model) is not None:
                # Whoever begins now gets the files that are there now.
                if task.is_begun or not (closed or self._cache.is_stale(task.model)):
                    able.add(task.id)
                    busy_models.add(task.model)
            elif not self._cache.start_load(task.model, busy_models):
                closed = True
        return next((task for task in self.waiting if task.id in able), None)

    def _is_lost(self, task: Task) -> bool:
        """Whether it cannot go on from where it is: its model went while it was paused, and something hung on it."""
        if task.paused:
            return task.needs_its_model and self._cache.get(task.model) is None
        if not task.rows or (model := self._cache.get(task.model)) is None:
            return False
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
        return min(limit, model.loaded.plan.rows) if model is not None else limit

    def _compatible(self, limit: int) -> Iterator[Row | PipelineRow]:
        first: Row | PipelineRow | None = None
        for row in self.rows:
            task = self.tasks[row.job]
            if task.paused or self._cache.get(task.model) is None:
                continue
            if first is None:
                first, limit = row, self._limit_of(task, limit)
            alone = task.runs_alone or self.tasks[first.job].runs_alone
            if row.key == first.key and (row.job == first.job or not alone):
                yield row
                limit -= 1
                if not limit:
                    return
