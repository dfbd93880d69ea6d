"""When a computation raises: what is tried again, in which other way, and which job is past help.

Nobody hears of full memory before all that can be given back was, and nobody pays for what was lost on the way. Decides
nothing of what a failed job's member is told (`failure_messages.py`).
"""

import logging
from collections.abc import Callable, Sequence

from worker.device import Device, free_cache, is_out_of_memory
from worker.engine import decoding
from worker.engine.batch import Row
from worker.engine.batch_limit import BatchLimit
from worker.engine.loaded_model import LoadedModel
from worker.engine.model_cache import ModelCache
from worker.engine.pipeline_row import PipelineRow
from worker.engine.run_queue import RunQueue
from worker.engine.task import Task

log = logging.getLogger("darkroom.recovery")


class Recovery:
    """Used by the loop's thread alone. `models_changed` is called when models were evicted.

    Each method takes what was computed and the exception, and returns the job that has to fail, or None: then the loop
    goes on, and comes by what failed again.
    """

    def __init__(
        self,
        queue: RunQueue,
        cache: ModelCache,
        batch_limit: BatchLimit,
        device: Device,
        models_changed: Callable[[], None],
    ) -> None:
        self._queue, self._cache, self._batch_limit = queue, cache, batch_limit
        self._device, self._models_changed = device, models_changed

    def after_failed_prepare(self, task: Task, model: LoadedModel, error: Exception) -> Task | None:
        """A piece of what comes before a job's rows: it begins anew, with memory swept, then with smaller tiles."""
        if not self.free_memory(error):
            if not is_out_of_memory(error):
                return task
            free_cache(self._device)
            if task.ran_out_of_memory and not decoding.tile_smaller(model):
                return task
            task.ran_out_of_memory = True
        self._queue.restart(task, first=True)
        return None

    def after_failed_step(self, rows: Sequence[Row | PipelineRow], model: LoadedModel, error: Exception) -> Task | None:
        """A forward: no row has moved. Fewer of them at once, or jobs one at a time, may do."""
        first = rows[0]
        if isinstance(first, PipelineRow):
            return self._after_failed_run(first, model, error)
        if self.free_memory(error):
            return None
        jobs = tuple(dict.fromkeys(row.job for row in rows))
        if is_out_of_memory(error) and len(rows) > 1:
            self._batch_limit.halve(len(rows))
        elif len(jobs) > 1:
            # Nobody knows whose fault it is.
            log.warning("A forward of %s failed (%s); they continue one at a time.", ", ".join(jobs), error)
            for job in jobs:
                self._queue.tasks[job].runs_alone = True
        else:
            return self._queue.tasks[first.job]
        return None

    def after_failed_decode(self, row: Row | PipelineRow, error: Exception) -> Task | None:
        """A finished row's decode, which has tried tiles already."""
        # In the queue it counts as work, so that its own model is not what is evicted.
        self._queue.finished.appendleft(row)
        return None if self.free_memory(error) else self._queue.tasks[row.job]

    def free_memory(self, error: Exception) -> bool:
        """Frees what nobody needs now, where memory is full; False when there is nothing."""
        freed = is_out_of_memory(error) and self._cache.free_memory(
            self._queue.busy_models(), self._queue.busy_companions()
        )
        if freed:
            self._models_changed()
        return freed

    def _after_failed_run(self, row: PipelineRow, model: LoadedModel, error: Exception) -> Task | None:
        """A pipeline's run is over when it raises. Fewer pictures at once or, with one, smaller tiles may do."""
        task = self._queue.tasks[row.job]
        if not self.free_memory(error):
            if not is_out_of_memory(error):
                return task
            if row.run.largest_batch > 1:
                self._batch_limit.halve(row.run.largest_batch)
            elif not decoding.tile_smaller(model):
                return task
        self._queue.restart(task)
        return None
