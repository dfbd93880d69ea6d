"""When a computation raises: what is tried again, in which other way, and which job is past help.

Nobody hears of full memory before all that can be given back was, and nobody pays for what was lost on the way. Decides
nothing of what a failed job's member is told (`failures.py`).
"""

import logging
from collections.abc import Callable, Sequence

from worker.device import Device, free_cache, is_out_of_memory
from worker.engine import decoding
from worker.engine.batch import Row
from worker.engine.batch_limit import Room
from worker.engine.loaded_model import Held
from worker.engine.model_cache import Shelf
from worker.engine.pipeline_row import Solo
from worker.engine.run_queue import Line
from worker.engine.task import Task

log = logging.getLogger("darkroom.recovery")


class Recovery:
    """Used by the loop's thread alone. `changed` is called when models have left.

    Each method takes what was computed and the exception, and returns the job that has to fail, or None: then the loop
    goes on, and comes by what failed again.
    """

    def __init__(self, line: Line, shelf: Shelf, room: Room, device: Device, changed: Callable[[], None]) -> None:
        self._line, self._shelf, self._room, self._device, self._changed = line, shelf, room, device, changed

    def preparing(self, task: Task, held: Held, error: Exception) -> Task | None:
        """A piece of what comes before a job's rows: it begins anew, with memory swept, then with smaller tiles."""
        if not self.shed(error):
            if not is_out_of_memory(error):
                return task
            free_cache(self._device)
            if task.squeezed and not decoding.tile_smaller(held):
                return task
            task.squeezed = True
        self._line.restart(task, first=True)
        return None

    def step(self, rows: Sequence[Row | Solo], held: Held, error: Exception) -> Task | None:
        """A forward: no row has moved. Fewer of them at once, or jobs one at a time, may do."""
        first = rows[0]
        if isinstance(first, Solo):
            return self._run(first, held, error)
        if self.shed(error):
            return None
        jobs = tuple(dict.fromkeys(row.job for row in rows))
        if is_out_of_memory(error) and len(rows) > 1:
            self._room.halve(len(rows))
        elif len(jobs) > 1:
            # Nobody knows whose fault it is.
            log.warning("A forward of %s failed (%s); they continue one at a time.", ", ".join(jobs), error)
            for job in jobs:
                self._line.tasks[job].alone = True
        else:
            return self._line.tasks[first.job]
        return None

    def decoding(self, row: Row | Solo, error: Exception) -> Task | None:
        """A finished row's decode, which has tried tiles already."""
        # In line it counts as work, so that its own model is not what goes.
        self._line.finished.appendleft(row)
        return None if self.shed(error) else self._line.tasks[row.job]

    def shed(self, error: Exception) -> bool:
        """Memory is full while something lies in it that nobody needs now: it goes."""
        shed = is_out_of_memory(error) and self._shelf.shed(self._line.busy())
        if shed:
            self._changed()
        return shed

    def _run(self, solo: Solo, held: Held, error: Exception) -> Task | None:
        """A pipeline's run is over when it raises. Fewer pictures at once or, with one, smaller tiles may do."""
        task = self._line.tasks[solo.job]
        if not self.shed(error):
            if not is_out_of_memory(error):
                return task
            if solo.run.together > 1:
                self._room.halve(solo.run.together)
            elif not decoding.tile_smaller(held):
                return task
        self._line.restart(task)
        return None
