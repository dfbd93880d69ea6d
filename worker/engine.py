"""The loop over rows: admit, step, emit. Does what it is told and decides no policy.

A row is one picture. Rows of several jobs take their steps in one forward when they may (`Request.batch_key`); other
keys take turns; pictures are decoded one at a time between the steps, so that nobody's step waits for more than one
decode. Knows nothing of sockets, models' insides, or who may run what.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic

import torch

from core.events import Cancel, Cancelled, Done, Event, Failed, FailureKind, HouseTime, Phase, Picture, Started, Submit
from core.job import MadeWith
from worker import ENGINE
from worker.device import Device, free_cache, is_out_of_memory
from worker.families.base import Conditions
from worker.meter import Meter
from worker.models import Loaded
from worker.orders import Drop, Inbox, Stop
from worker.pictures import Finisher, Previewer, png, to_pixels
from worker.preview import Sketcher
from worker.pulse import Pulse
from worker.reporter import Reporter
from worker.rows import Batch, Row, new_row
from worker.samplers import Schedules
from worker.tasks import CannotCompute, Task, check, source_pixels

log = logging.getLogger("darkroom.engine")

PREVIEW_SECONDS = 1.0
PROGRESS_SECONDS = 0.1
TEXTS = 256
#: After this many forwards without trouble a room that was halved for want of memory may double again.
CALM_FORWARDS = 200


class Engine:
    """One loaded model on one device. All but `inbox` belongs to the thread that runs `run`."""

    def __init__(
        self, loaded: Loaded, device: Device, meter: Meter, pulse: Pulse, say: Callable[[Event], None],
        inbox: Inbox, clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        self.inbox = inbox
        self._family = loaded.family
        self._device, self._meter, self._pulse, self._say, self._clock = device, meter, pulse, say, clock
        info = loaded.info
        self._made_with = MadeWith(
            model=info.name, digest=info.digest, dtype=info.dtype, device=device.name, engine=ENGINE
        )
        self._reporter = Reporter(say)
        self._finisher = Finisher()
        self._previewer = Previewer(self._reporter.preview)
        self._schedules = Schedules(self._family.scheduler)
        self._texts: OrderedDict[tuple[str, bool], Conditions] = OrderedDict()
        self._tasks: dict[str, Task] = {}
        self._waiting: deque[Task] = deque()
        self._rows: deque[Row] = deque()
        self._finished: deque[Row] = deque()
        self._room = device.max_rows
        self._calm = 0
        pulse.watch(lambda: tuple(dict.fromkeys((*self._reporter.held(), *inbox.jobs()))), lambda: meter.busy_ms)
        with meter.measure() as measured, torch.inference_mode():
            measured.house("warmup")
            self._sketcher = Sketcher.fit(self._family)

    def run(self) -> None:
        """Until it is told to stop."""
        while self.tick():
            pass

    @torch.inference_mode()
    def tick(self) -> bool:
        """One turn: orders, at most one job admitted, one step, one picture decoded. False when told to stop."""
        if not self._listen():
            return False
        if self._waiting:
            self._admit(self._waiting.popleft())
        if self._rows:
            self._step(self._gather())
        if self._finished:
            self._emit(self._finished.popleft())
        self._account()
        return True

    # --- orders ----------------------------------------------------------------------------------------------------

    def _listen(self) -> bool:
        """Takes all orders that have come; waits for one when there is nothing else to do."""
        idle = not (self._waiting or self._rows or self._finished)
        while True:
            order = self.inbox.get(block=idle)
            if order is None:
                return True
            idle = False
            if isinstance(order, Stop):
                return False
            self._obey(order)

    def _obey(self, order: Submit | Cancel | Drop) -> None:
        if isinstance(order, Drop):
            self._reporter.forget_all()
            for task in list(self._tasks.values()):
                self._remove(task)
        elif isinstance(order, Cancel):
            self._cancel(order)
        else:
            self._take(order)
            self.inbox.taken(order)

    def _take(self, order: Submit) -> None:
        known = self._tasks.get(order.job)
        if known is not None:
            if known.order.attempt >= order.attempt:
                return
            self._reporter.forget(order.job)
            self._remove(known)
        task = Task(order=order)
        self._tasks[order.job] = task
        self._waiting.append(task)
        self._reporter.open(order.job, order.attempt, order.request.steps_to_run())

    def _cancel(self, order: Cancel) -> None:
        task = self._tasks.get(order.job)
        if task is None and not self._reporter.is_open(order.job):
            # Never heard of, or its last word was said before this one.
            self._say(Cancelled(job=order.job, attempt=order.attempt, gpu_ms=0))
        elif task is not None and task.order.attempt == order.attempt:
            gpu_ms = self._remove(task)
            self._reporter.tell(Cancelled(job=task.id, attempt=order.attempt, gpu_ms=gpu_ms), last=True)

    # --- admit -----------------------------------------------------------------------------------------------------

    def _admit(self, task: Task) -> None:
        """Encodes what the job brings and draws its rows' first noise."""
        try:
            check(task.order, self._family)
            with self._pulse.doing(Phase.ENCODING, (task.id,)), self._meter.measure() as measured:
                measured.job(task.id)
                task.rows = self._new_rows(task)
        except CannotCompute as error:
            self._fail(task, FailureKind.INVALID, str(error))
        except Exception as error:
            self._fail_on(task, error)
        else:
            task.undecoded = len(task.rows)
            self._rows.extend(task.rows)
            started = Started(job=task.id, attempt=task.order.attempt, made_with=self._made_with)
            self._reporter.open(task.id, task.order.attempt, task.steps)
            self._reporter.tell(started)

    def _new_rows(self, task: Task) -> list[Row]:
        request = task.order.request
        source = None
        if request.strength < 1:
            source = self._family.encode_picture(source_pixels(task.order))
        plan = self._schedules.plan(request.sampler, request.steps, request.strength, request.stop)
        text, negative = self._family.even([self._text(request.prompt), self._text(request.negative, negative=True)])
        # Longer texts cannot share a forward with shorter ones.
        key = f"{request.batch_key()}:{'/'.join(str(len(text[name])) for name in sorted(text))}"
        return [
            new_row(
                self._family, job=task.id, index=index, key=key, plan=plan, guidance=request.guidance,
                seed=request.seed, size=task.size, text=text, negative=negative, source=source,
            )
            for index in task.order.indices
        ]  # fmt: skip

    def _text(self, text: str, *, negative: bool = False) -> Conditions:
        """The text's encoding: made once, and each text alone, so that it does not depend on its company."""
        known = self._texts.get((text, negative))
        if known is None:
            known = self._texts[text, negative] = self._family.encode_prompt(text, negative=negative)
            if len(self._texts) > TEXTS:
                self._texts.popitem(last=False)
        self._texts.move_to_end((text, negative))
        return known

    # --- step ------------------------------------------------------------------------------------------------------

    def _gather(self) -> list[Row]:
        """This turn's rows: those that fit with the row that waited longest. They go to the end of the line."""
        first = self._rows[0]
        alone = self._tasks[first.job].alone
        turn = []
        for row in self._rows:
            together = row.job == first.job or not (alone or self._tasks[row.job].alone)
            if row.key == first.key and together:
                turn.append(row)
                if len(turn) == self._room:
                    break
        chosen = set(map(id, turn))
        self._rows = deque(row for row in self._rows if id(row) not in chosen)
        self._rows.extend(turn)
        return turn

    def _step(self, rows: list[Row]) -> None:
        jobs = tuple(dict.fromkeys(row.job for row in rows))
        try:
            with self._pulse.doing(Phase.STEPPING, jobs), self._meter.measure() as measured:
                Batch.of(rows).advance(self._family)
                measured.jobs(_shares(rows))
        except Exception as error:
            measured.house("oom" if is_out_of_memory(error) else "failed")
            if is_out_of_memory(error) and len(rows) > 1:
                self._halve(rows)
            elif len(jobs) > 1:
                self._separate(jobs, error)
            else:
                self._fail_on(self._tasks[jobs[0]], error)
            return
        if log.isEnabledFor(logging.DEBUG):
            counts = " ".join(f"{job}:{sum(row.job == job for row in rows)}" for job in jobs)
            log.debug("Step of %d rows: %s", len(rows), counts)
        self._grow()
        self._meter.settle(keep=1)
        self._finished.extend(row for row in rows if row.is_done)
        self._rows = deque(row for row in self._rows if not row.is_done)
        for job in jobs:
            self._tell(self._tasks[job])

    def _halve(self, rows: list[Row]) -> None:
        """These rows did not fit: from now on half as many a forward. They have not moved, and are tried again."""
        self._room, self._calm = max(1, len(rows) // 2), 0
        free_cache(self._device)
        log.warning("Memory is full with %d rows a forward; going on with %d.", len(rows), self._room)

    def _grow(self) -> None:
        if self._room < self._device.max_rows:
            self._calm += 1
            if self._calm >= CALM_FORWARDS:
                self._room, self._calm = min(self._device.max_rows, self._room * 2), 0

    def _separate(self, jobs: tuple[str, ...], error: Exception) -> None:
        """A shared forward raised, and nobody knows whose fault it is: these jobs go on one at a time."""
        log.warning("A forward of %s failed (%s); they go on one at a time.", ", ".join(jobs), error)
        for job in jobs:
            self._tasks[job].alone = True

    def _tell(self, task: Task) -> None:
        """Progress, and a preview when one is due."""
        now = self._clock()
        aloud = now - task.spoke_at >= PROGRESS_SECONDS
        if task.wants_sketch(now, PREVIEW_SECONDS):
            task.sketched_at, aloud = now, False
            with self._meter.measure() as measured:
                measured.house("preview")
                sketch = self._sketcher.sketch(torch.stack([row.draft for row in task.rows]))
            self._previewer.put(task.id, task.order.attempt, sketch, task.size)
        if aloud:
            task.spoke_at = now
        self._reporter.step(task.id, task.step, self._meter.job_ms(task.id), aloud=aloud)

    # --- emit ------------------------------------------------------------------------------------------------------

    def _emit(self, row: Row) -> None:
        """One finished row to its picture; after the last one the job is done."""
        task = self._tasks[row.job]
        try:
            with self._pulse.doing(Phase.DECODING, (row.job,)), self._meter.measure() as measured:
                measured.job(row.job)
                image = self._family.decode(row.x0)
                if not bool(image.isfinite().all()):
                    raise ArithmeticError("The model's numbers overflowed; DARKROOM_DTYPE=float32 avoids that.")
                pixels = to_pixels(image)
        except Exception as error:
            self._fail_on(task, error)
            return
        attempt = task.order.attempt
        self._finisher.put(lambda: self._send(Picture(job=row.job, attempt=attempt, index=row.index, png=png(pixels))))
        task.undecoded -= 1
        if not task.undecoded:
            done = Done(job=task.id, attempt=attempt, gpu_ms=self._remove(task))
            self._finisher.put(lambda: self._send(done))

    def _send(self, event: Picture | Done) -> None:
        self._reporter.tell(event, last=isinstance(event, Done))

    # --- ends ------------------------------------------------------------------------------------------------------

    def _fail_on(self, task: Task, error: Exception) -> None:
        """An exception while computing this job alone harms only this job."""
        if is_out_of_memory(error):
            free_cache(self._device)
            self._room = self._device.max_rows  # it was this job, so the others may have all the room again
            width, height = task.size
            sentence = f"One picture of {width}×{height} does not fit into the GPU's memory. Try a smaller size."
            self._fail(task, FailureKind.OUT_OF_MEMORY, sentence)
            return
        log.error("A job failed.", exc_info=error, extra={"job": task.id})
        known = str(error) if isinstance(error, ArithmeticError) else "The worker's log says why; a new try may help."
        self._fail(task, FailureKind.ERROR, f"The picture could not be computed. {known}")

    def _fail(self, task: Task, kind: FailureKind, sentence: str) -> None:
        gpu_ms = self._remove(task)
        event = Failed(job=task.id, attempt=task.order.attempt, kind=kind, sentence=sentence, gpu_ms=gpu_ms)
        self._reporter.tell(event, last=True)

    def _remove(self, task: Task) -> int:
        """Takes the job out of everything and closes its account: its GPU time in milliseconds."""
        self._tasks.pop(task.id, None)
        self._waiting = deque(other for other in self._waiting if other is not task)
        self._rows = deque(row for row in self._rows if row.job != task.id)
        self._finished = deque(row for row in self._finished if row.job != task.id)
        return self._meter.close(task.id)

    def _account(self) -> None:
        """Tells what the house pays."""
        self._meter.settle(keep=1 if self._rows else 0)
        for cause, gpu_ms in self._meter.take_house().items():
            self._say(HouseTime(cause=cause, gpu_ms=gpu_ms))


def _shares(rows: list[Row]) -> dict[str, int]:
    """Forwards × pixels of each job; rows of one batch have the same size, so the forwards decide."""
    shares: dict[str, int] = {}
    for row in rows:
        shares[row.job] = shares.get(row.job, 0) + row.forwards
    return shares
