"""The loop over rows: admit, step, emit. Does what it is told and decides no policy.

A row is one picture. Rows of several jobs take their steps in one forward when they may (`admit.py` says when); others
take turns, whatever their model; jobs are prepared, and pictures decoded, one short piece at a time between the steps,
so that nobody's step waits for more than one of each. Knows nothing of sockets, models' insides, or who may run what.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

import torch

from core.events import (
    Cancel,
    Cancelled,
    Catalogue,
    Event,
    Failed,
    FailureKind,
    OverheadTime,
    Pause,
    Phase,
    Resume,
    Started,
    Submit,
)
from worker.cuda_streams import IN_TURN, Lane, lane
from worker.device import Device, claim, is_out_of_memory
from worker.engine import decoding, failure_messages, prepare_job
from worker.engine.batch import Row
from worker.engine.batch_limit import Room
from worker.engine.decoding import Decoding
from worker.engine.gpu_meter import Meter
from worker.engine.image_encoding import Previewer
from worker.engine.loaded_model import Held
from worker.engine.model_cache import Shelf
from worker.engine.pipeline_row import Solo, advance, shares
from worker.engine.recovery import Recovery
from worker.engine.result_writer import Delivery
from worker.engine.run_queue import Line
from worker.engine.task import Task
from worker.transport.heartbeat import Pulse
from worker.transport.inbox import Arrived, Drop, Inbox, Order, Stop
from worker.transport.progress_reporter import Reporter

log = logging.getLogger("darkroom.engine")

PREVIEW_SECONDS = 1.0
PROGRESS_SECONDS = 0.1


class Engine:
    """All models of one device. All but `inbox` belongs to the thread that runs `run`.

    `rest` is set while there is nothing to do.
    """

    def __init__(
        self, shelf: Shelf, device: Device, meter: Meter, pulse: Pulse, say: Callable[[Event], None], inbox: Inbox,
        clock: Callable[[], float] = monotonic, rest: threading.Event | None = None,
    ) -> None:  # fmt: skip
        self.inbox = inbox
        self._shelf, self._device, self._meter, self._pulse = shelf, device, meter, pulse
        self._say, self._clock = say, clock
        self._reporter = Reporter(say)
        self._delivery = Delivery(self._reporter)
        self._previewer = Previewer(self._reporter.preview)
        self._line, self._room = Line(shelf, self._forgive), Room(device)
        self._recovery = Recovery(self._line, shelf, self._room, device, lambda: say(shelf.models()))
        self._lane = lane(device.place)
        self._decoding: deque[Decoding] = deque()
        self._idle, self._rest = True, rest or threading.Event()
        # A GPU steps on while a model is read from the disk. On a CPU the load would take the cores that the steps
        # need, and members would pay for it: there the rows wait, and the time is the house's.
        self._steps_beside_loads = device.place.type == "cuda"
        shelf.arrived = lambda: inbox.put(Arrived())
        pulse.watch(lambda: tuple(dict.fromkeys((*self._reporter.held(), *inbox.jobs()))), lambda: meter.busy_ms)

    def run(self) -> None:
        """Until it is told to stop."""
        claim(self._device)
        self._say(self._shelf.models())
        while self.tick():
            pass

    @torch.inference_mode()
    def tick(self) -> bool:
        """One turn: orders, a piece of one job's preparation, one step, one decode. False when told to stop."""
        if not self._listen():
            return False
        if self._shelf.renew(self._line.busy()):
            self._say(self._shelf.models())
        task = self._line.next_waiting()
        self._idle = (self._shelf.loading is not None and not self._steps_beside_loads) or not self._turn(task)
        self._account()
        return True

    def _turn(self, task: Task | None) -> bool:
        """False when there was nothing to do."""
        if task:
            self._admit(task)
        if rows := self._line.turn(self._room.rows):
            self._step(rows)
        if row := self._line.next_finished():
            self._decode(row)
        busy = bool(task or rows or row)
        decoded = self._emit(wait=not busy)
        return self._adopt(idle=not busy and not decoded) or busy or decoded

    # --- orders ----------------------------------------------------------------------------------------------------

    def _listen(self) -> bool:
        """Takes all orders that have come; waits for one when the last turn found nothing to do."""
        while True:
            order = self._wait() if self._idle else self.inbox.get(block=False)
            if order is None:
                return True
            self._idle = False
            if isinstance(order, Stop):
                return False
            self._obey(order)

    def _wait(self) -> Order | None:
        """For the next order; while a model loads, that is the house's time."""
        if self._shelf.loading is None:
            self._rest.set()
            order = self.inbox.get(block=True)
            self._rest.clear()
            return order
        with self._pulse.doing(Phase.LOADING), self._meter.measure() as measured:
            measured.house("load")
            return self.inbox.get(block=True)

    def _obey(self, order: Order) -> None:
        if isinstance(order, Drop):
            self._reporter.forget_all()
            for task in list(self._line.tasks.values()):
                self._remove(task)
        elif isinstance(order, Cancel):
            self._cancel(order)
        elif isinstance(order, Pause | Resume):
            self._pause(order)
        elif isinstance(order, Catalogue):
            self._shelf.know(order)
        elif isinstance(order, Arrived):
            self._receive()
        elif isinstance(order, Submit):
            self._take(order)
            self.inbox.taken(order)

    def _take(self, order: Submit) -> None:
        known = self._line.tasks.get(order.job)
        if known is not None:
            if known.attempt >= order.attempt:
                return
            self._reporter.forget(order.job)
            self._remove(known)
        task = Task(order=order)
        self._line.add(task)
        self._reporter.open(order.job, order.attempt, order.request.steps_to_run())

    def _pause(self, order: Pause | Resume) -> None:
        """Its rows keep their places and their step; an order about another attempt, or none, came too late."""
        task = self._line.tasks.get(order.job)
        if task is not None and task.attempt == order.attempt:
            task.paused = isinstance(order, Pause)

    def _cancel(self, order: Cancel) -> None:
        task = self._line.tasks.get(order.job)
        if task is None and not self._reporter.is_open(order.job):
            # Never heard of, or its last word was said before this one.
            self._say(Cancelled(job=order.job, attempt=order.attempt, gpu_ms=0))
        elif task is not None and task.attempt == order.attempt:
            gpu_ms = self._remove(task)
            self._reporter.tell(Cancelled(job=task.id, attempt=order.attempt, gpu_ms=gpu_ms), last=True)

    # --- models ----------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        """A load has ended: the model is there, or the jobs that waited for it fail, and no others."""
        arrival = self._shelf.settle(self._line.busy())
        if arrival is None:
            return
        self._say(self._shelf.models())
        if arrival.sentence:
            log.error("%s cannot be used: %s", arrival.name, arrival.sentence)
            for task in self._line.wanting(arrival.name):
                self._fail(task, FailureKind.INVALID, failure_messages.not_loaded(arrival.name))

    def _model(self, job: str) -> Held:
        held = self._shelf.get(self._line.tasks[job].model)
        assert held is not None  # a model that rows are at work with does not go
        return held

    # --- admit -----------------------------------------------------------------------------------------------------

    def _admit(self, task: Task) -> None:
        """One piece of what comes before a job's first step: an encode, a tile. After the last its rows are here."""
        held = self._model(task.id)
        self._line.waiting.remove(task)
        try:
            with self._pulse.doing(Phase.ENCODING, (task.id,)), self._meter.measure() as measured:
                measured.job(task.id)
                more = prepare_job.go_on(task, held, self._room.rows)
        except Exception as error:
            self._fail_on(self._recovery.preparing(task, held, error), error)
            return
        if more:
            self._line.waiting.append(task)
            self._tell_spent(task)
            return
        self._line.enter(task)
        if task.rows:
            self._reporter.open(task.id, task.attempt, task.steps)
        if task.made_with != held.made_with:
            task.made_with = held.made_with
            self._reporter.tell(Started(job=task.id, attempt=task.attempt, made_with=held.made_with))
        if task.prepared is not None and not task.rows:
            self._delivery.prepared(task, task.prepared)
            self._delivery.end(task, self._remove(task))

    def _tell_spent(self, task: Task) -> None:
        """Before the first step too: the lanes' shares hang on it, and an upscale is all preparation."""
        self._meter.settle(keep=1)
        if (now := self._clock()) - task.spoke_at >= PROGRESS_SECONDS:
            task.spoke_at = now
            self._reporter.step(task.id, 0, self._meter.job_ms(task.id), aloud=True)

    # --- step ------------------------------------------------------------------------------------------------------

    def _step(self, rows: list[Row | Solo]) -> None:
        jobs = tuple(dict.fromkeys(row.job for row in rows))
        held = self._model(rows[0].job)
        try:
            with self._pulse.doing(Phase.STEPPING, jobs), self._meter.measure() as measured:
                held.adapt(self._line.tasks[rows[0].job].adaptation)
                advance(rows, held.family)
                measured.jobs(shares(rows), held.padding)
        except Exception as error:
            measured.house("oom" if is_out_of_memory(error) else "failed")
            self._fail_on(self._recovery.step(rows, held, error), error)
            return
        if log.isEnabledFor(logging.DEBUG):
            counts = " ".join(f"{job}:{sum(row.job == job for row in rows)}" for job in jobs)
            log.debug("Step of %d rows: %s", len(rows), counts)
        self._room.calm()
        self._meter.settle(keep=1)
        self._line.stepped(rows)
        for job in jobs:
            self._tell(self._line.tasks[job])

    def _tell(self, task: Task) -> None:
        """Progress, and a preview when one is due."""
        now = self._clock()
        aloud = now - task.spoke_at >= PROGRESS_SECONDS
        if task.wants_sketch(now, PREVIEW_SECONDS):
            task.sketched_at, aloud = now, False
            self._sketch(task)
        if aloud:
            task.spoke_at = now
        self._reporter.step(task.id, task.step, self._meter.job_ms(task.id), aloud=aloud)

    def _sketch(self, task: Task) -> None:
        """A preview is a courtesy: where it cannot be made, the job goes on without."""
        try:
            held = self._model(task.id)
            drafts, way = held.drafts(task), self._way(held)
            with way.entered(), self._meter.measure(aside=way is not IN_TURN) as measured:
                measured.house("preview")
                sketch = held.sketch(task, drafts)
                copy = None if sketch is None else self._lane.to_host(sketch)
            if copy is not None:
                self._previewer.put(task.id, task.attempt, copy, task.size)
        except Exception as error:
            log.warning("A preview could not be made (%s).", " ".join(str(error).split())[:200])
            self._recovery.shed(error)

    # --- emit ------------------------------------------------------------------------------------------------------

    def _way(self, held: Held) -> Lane:  # of pictures and previews: beside the steps, where memory allows that
        return self._lane if held.loaded.plan.aside else IN_TURN

    def _decode(self, row: Row | Solo) -> None:
        """Orders one finished row's pixels: beside the steps of others where the device can."""
        task, held = self._line.tasks[row.job], self._model(row.job)
        way = self._way(held)
        try:
            decodes = self._pulse.doing(Phase.DECODING, (row.job,))
            with decodes, way.entered(), self._meter.measure(aside=way is not IN_TURN) as measured:
                measured.job(row.job)
                held.adapt_decoder(task.adaptation)
                self._decoding.append(decoding.begin(row, held, self._lane, self._device))
        except Exception as error:
            measured.house("oom" if is_out_of_memory(error) else "failed")
            self._fail_on(self._recovery.decoding(row, error), error)

    def _emit(self, *, wait: bool) -> bool:
        """Hands on the pictures that are there; after its last one a job is done. False when there were none."""
        found = False
        while self._decoding and (wait or self._decoding[0].done()):
            ready, found = self._decoding.popleft(), True
            task = self._line.tasks.get(ready.row.job)
            if task is not None and ready.row in task.rows:
                self._hand_on(task, ready)
        return found

    def _hand_on(self, task: Task, ready: Decoding) -> None:
        row = ready.row
        try:
            pixels = ready.pixels()
        except Exception as error:
            self._fail_on(task, error)
            return
        if isinstance(row, Row):
            self._delivery.decoded(task, task.rows.index(row), row.index, pixels[0])
        else:
            for place, index in enumerate(task.order.indices):
                self._delivery.decoded(task, place, index, pixels[place])
        task.undecoded -= 1
        if not task.undecoded:
            self._delivery.end(task, self._remove(task))

    def _adopt(self, *, idle: bool) -> bool:
        """Tries compiled code that waits for it, unless a job that has not begun would wait too; False without any."""
        boosts = () if self._line.is_awaited() else self._shelf.boosts()
        boost = next((boost for boost in boosts if boost.may_adopt(idle=idle)), None)
        if boost is None:
            return False
        with self._pulse.doing(Phase.COMPILING), self._meter.measure() as measured:
            measured.house("compile")
            boost.adopt(idle=idle)
        return True

    # --- ends ------------------------------------------------------------------------------------------------------

    def _forgive(self, job: str) -> None:
        """It begins anew; said at once, for without a later word it would be charged by what was said last."""
        self._meter.forgive(job, "again")
        self._reporter.step(job, 0, 0, aloud=True)

    def _fail_on(self, task: Task | None, error: Exception) -> None:
        """An exception harms no more than the one job that is past help, if any is."""
        if task is None:
            return
        kind, sentence = failure_messages.told(error, task.size)
        if kind is FailureKind.OUT_OF_MEMORY:
            self._room.clear()
        elif kind is FailureKind.ERROR:
            log.error("A job failed.", exc_info=error, extra={"job": task.id})
        self._fail(task, kind, sentence)

    def _fail(self, task: Task, kind: FailureKind, sentence: str) -> None:
        gpu_ms = self._remove(task)
        event = Failed(job=task.id, attempt=task.attempt, kind=kind, sentence=sentence, gpu_ms=gpu_ms)
        self._reporter.tell(event, last=True)

    def _remove(self, task: Task) -> int:
        """Takes the job out of everything and closes its account: its GPU time in milliseconds."""
        self._line.remove(task)
        return self._meter.close(task.id)

    def _account(self) -> None:
        """Tells what the house pays."""
        self._meter.settle(keep=1 if self._line.rows else 0)
        for cause, gpu_ms in self._meter.take_house().items():
            self._say(OverheadTime(cause=cause, gpu_ms=gpu_ms))
