"""From an order to rows: what its numbers and words become for the model that it asks for.

The pictures that it brings are `edits`' matter. Knows nothing of the loop.
"""

from worker.edits import Prepared, check_from_words, prepare, takes_steps
from worker.edits.prepared_job import Start
from worker.engine.batch import Row, new_row, shapes
from worker.engine.loaded_model import Held
from worker.engine.pipeline_row import Solo
from worker.engine.task import CannotCompute, Task, check
from worker.interfaces import Whole
from worker.samplers import Plan

#: Rows that share a picture and its first noise (tiles) still need noise of their own for the later steps.
_APART = 2_654_435_769


def go_on(task: Task, held: Held, rows: int) -> bool:
    """One short piece of what comes before a job's rows; False after the last, when the task has them.

    `rows`: pictures that a model may compute at once.

    Raises CannotCompute, for what can be told from the order alone in the first piece.
    """
    if task.preparing is None:
        model = held.loaded.family
        check(task.order, model, held.loaded.info.samplers)
        task.lora_files = held.lora_files(task.adaptation)
        if isinstance(model, Whole) and takes_steps(task.order):
            check_from_words(task.order)
            held.adapt(task.adaptation)
            task.prepared, task.rows = Prepared(), [_solo(task, model, min(rows, held.loaded.plan.rows))]
            return False
        task.preparing = prepare(task.order, held.desk(task.adaptation))
    held.adapt(task.adaptation)
    try:
        next(task.preparing)
    except StopIteration as end:
        task.prepared = end.value
        task.rows = [*_rows(task, end.value, held)]
        return False
    return True


def _solo(task: Task, family: Whole, rows: int) -> Solo:
    try:
        return Solo(job=task.id, run=family.begin(task.order.request, task.order.indices, rows))
    except ValueError as error:
        raise CannotCompute(str(error)) from error


def _rows(task: Task, prepared: Prepared, held: Held) -> list[Row]:
    """The job's rows, in the order of its starts. Raises CannotCompute."""
    request = task.order.request
    sampler = prepared.sampler or request.sampler
    rows = []
    for place, start in enumerate(prepared.starts):
        try:
            plan = held.schedules.plan(sampler, request.steps, prepared.strength, request.stop, start.size)
        except ValueError as error:
            raise CannotCompute(str(error)) from error
        rows.append(_row(task, place, start, plan, held))
    return rows


def _row(task: Task, place: int, start: Start, plan: Plan, held: Held) -> Row:
    """Rows share a forward when model, size, adaptation, and names and shapes of their conditions agree."""
    text, negative = held.family.even([start.text, start.negative])
    seed = task.order.request.seed
    return new_row(
        held.family,
        job=task.id,
        index=start.index,
        key=(task.model, start.size, task.adaptation, shapes(text)),
        plan=plan,
        guidance=start.guidance,
        seed=seed if start.noise is None else seed + place * _APART,
        size=start.size,
        text=text,
        negative=negative,
        source=start.source,
        keep=start.keep,
        mask=start.mask,
        noise=start.noise,
    )
