"""From an order to rows: what its numbers and words become for the model that it asks for.

The pictures that it brings are `edits`' matter. Knows nothing of the loop.
"""

from worker.edits import Prepared, check_text_only, prepare, takes_steps
from worker.edits.prepared_job import RowStart
from worker.engine.batch import Row, condition_shapes, new_row
from worker.engine.loaded_model import LoadedModel
from worker.engine.pipeline_row import PipelineRow
from worker.engine.task import Task, check_request
from worker.errors import CannotCompute
from worker.interfaces import PipelineModel
from worker.samplers import StepSchedule

#: Rows that share a picture and its first noise (tiles) still need noise of their own for the later steps.
_APART = 2_654_435_769


def prepare_piece(task: Task, model: LoadedModel, rows: int) -> bool:
    """One short piece of what comes before a job's rows; False after the last, when the task has them.

    `rows`: pictures that a model may compute at once.

    Raises CannotCompute, for what can be told from the order alone in the first piece.
    """
    if task.preparing is None:
        family = model.loaded.family
        check_request(task.order, family, model.loaded.info.samplers)
        task.lora_files = model.lora_files(task.adaptation)
        if isinstance(family, PipelineModel) and takes_steps(task.order):
            check_text_only(task.order)
            model.adapt(task.adaptation)
            task.prepared, task.rows = Prepared(), [_pipeline_row(task, family, min(rows, model.plan.rows))]
            return False
        task.preparing = prepare(task.order, model.context(task.adaptation))
    model.adapt(task.adaptation)
    try:
        next(task.preparing)
    except StopIteration as end:
        task.prepared = end.value
        task.rows = [*_rows(task, end.value, model)]
        return False
    return True


def _pipeline_row(task: Task, family: PipelineModel, rows: int) -> PipelineRow:
    try:
        return PipelineRow(job=task.id, run=family.begin(task.order.request, task.order.indices, rows))
    except ValueError as error:
        raise CannotCompute(str(error)) from error


def _rows(task: Task, prepared: Prepared, model: LoadedModel) -> list[Row]:
    """The job's rows, in the order of its starts. Raises CannotCompute."""
    request = task.order.request
    sampler = prepared.sampler or request.sampler
    rows = []
    for place, start in enumerate(prepared.starts):
        try:
            schedule = model.schedules.schedule(sampler, request.steps, prepared.strength, request.stop, start.size)
        except ValueError as error:
            raise CannotCompute(str(error)) from error
        rows.append(_row(task, place, start, schedule, model))
    return rows


def _row(task: Task, place: int, start: RowStart, schedule: StepSchedule, model: LoadedModel) -> Row:
    """Rows share a forward when model, size, adaptation, and names and shapes of their conditions agree."""
    text, negative = model.family.pad_to_longest([start.text, start.negative])
    seed = task.order.request.seed
    return new_row(
        model.family,
        job=task.id,
        index=start.index,
        key=(task.model, start.size, task.adaptation, condition_shapes(text)),
        schedule=schedule,
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
