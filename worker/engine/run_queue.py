"""The jobs in the worker's hands, and whose turn it is: the ones that wait, their rows in the loop, what is finished.

The longest waiting row decides which rows take the next step, and so keys and models take turns. Knows no device and
computes nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator

from worker.engine.batch import Row
from worker.engine.model_cache import Shelf
from worker.engine.pipeline_row import Solo
from worker.engine.task import Task


class Line:
    """Used by the loop's thread alone. `lost` is called with a job whose work so far was for nothing."""

    def __init__(self, shelf: Shelf, lost: Callable[[str], None]) -> None:
        self._shelf, self._lost = shelf, lost
        self.tasks: dict[str, Task] = {}  # by job, in the order in which they came
        self.waiting: deque[Task] = deque()
        self.rows: deque[Row | Solo] = deque()
        self.finished: deque[Row | Solo] = deque()

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
        self._lost(task.id)
        again = Task(order=task.order, made_with=task.made_with, paused=task.paused, squeezed=task.squeezed)
        self.add(again)
        if first:
            self.waiting.rotate(1)

    def wanting(self, model: str) -> list[Task]:
        """The jobs that ask for this model."""
        return [task for task in self.tasks.values() if task.model == model]

    def busy(self) -> set[str]:
        """Models at work. Those of paused jobs may go: rows are small, and wait for their model to return."""
        begun = {task.model for task in self.tasks.values() if task.is_begun and not task.paused}
        return begun | {self.tasks[row.job].model for row in self.finished}

    def next_waiting(self) -> Task | None:
        """The first job in line whose model is there; has the other models loaded.

        Where one of them has to wait for room, nobody who came later begins, or it would wait for ever. And none takes
        the room of a model that somebody who came earlier is about to use.
        """
        for task in [task for task in self.tasks.values() if self._is_lost(task)]:
            self.restart(task)
        able, busy, closed = set(), self.busy(), False
        for task in self.tasks.values():
            if task.paused:
                continue
            if self._shelf.get(task.model) is not None:
                # Whoever begins now gets the files that are there now.
                if task.is_begun or not (closed or self._shelf.is_stale(task.model)):
                    able.add(task.id)
                    busy.add(task.model)
            elif not self._shelf.fetch(task.model, busy):
                closed = True
        return next((task for task in self.waiting if task.id in able), None)

    def _is_lost(self, task: Task) -> bool:
        """Whether it cannot go on from where it is: its model went while it was paused, and something hung on it."""
        if task.paused:
            return task.holds_its_model and self._shelf.get(task.model) is None
        if not task.rows or (held := self._shelf.get(task.model)) is None:
            return False
        # Rows outlive their model, but not one that came back as another one: they would be half of each.
        return task.made_with is not None and task.made_with.digest != held.made_with.digest

    def is_awaited(self) -> bool:
        """True while somebody who may go on has not taken a step yet."""
        return any(not task.paused for task in self.waiting)

    def enter(self, task: Task) -> None:
        """Its rows may take steps from now on."""
        task.undecoded = len(task.rows)
        self.rows.extend(task.rows)

    def turn(self, room: int) -> list[Row | Solo]:
        """The next step's rows: those that fit with the one that waited longest. They go to the end of the line."""
        turn = list(self._fitting(room))
        chosen = set(map(id, turn))
        self.rows = deque(row for row in self.rows if id(row) not in chosen)
        self.rows.extend(turn)
        return turn

    def stepped(self, rows: list[Row | Solo]) -> None:
        """These have taken a step; some of them were at their last."""
        self.finished.extend(row for row in rows if row.is_done)
        self.rows = deque(row for row in self.rows if not row.is_done)

    def next_finished(self) -> Row | Solo | None:
        """The first row that is to be decoded; it is in the caller's hands then."""
        return self.finished.popleft() if self.finished else None

    def _fewer(self, task: Task, room: int) -> int:
        """The model's own memory may leave less."""
        held = self._shelf.get(task.model)
        return min(room, held.loaded.plan.rows) if held is not None else room

    def _fitting(self, room: int) -> Iterator[Row | Solo]:
        first: Row | Solo | None = None
        for row in self.rows:
            task = self.tasks[row.job]
            if task.paused or self._shelf.get(task.model) is None:
                continue
            if first is None:
                first, room = row, self._fewer(task, room)
            alone = task.alone or self.tasks[first.job].alone
            if row.key == first.key and (row.job == first.job or not alone):
                yield row
                room -= 1
                if not room:
                    return
