"""The loop over rows: prepare, step, emit. Does what it is told and decides no policy.

A row is one picture. Rows of several jobs take their steps in one forward when they may (`prepare_job.py` says when);
others take turns, whatever their model; jobs are prepared, and pictures decoded, one short piece at a time between the
steps, so that nobody's step waits for more than one of each. Knows nothing of sockets, models' insides, or who may run
what.
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
from worker.cuda_streams import SAME_STREAM, SideStream, side_stream
from worker.device import Device, is_out_of_memory, use_device
from worker.engine import decoding, failure_messages, prepare_job
from worker.engine.batch import Row
from worker.engine.batch_limit import BatchLimit
from worker.engine.decoding import PendingDecode
from worker.engine.gpu_meter import GpuMeter
from worker.engine.image_encoding import PreviewWriter
from worker.engine.loaded_model import LoadedModel
from worker.engine.model_cache import LoadResult, ModelCache
from worker.engine.pipeline_row import PipelineRow, advance, shares
from worker.engine.recovery import Recovery
from worker.engine.result_writer import ResultWriter
from worker.engine.run_queue import RunQueue
from worker.engine.task import Task
from worker.transport import ConnectionLost, HeartbeatThread, Inbox, InboxItem, LoadEnded, ProgressReporter, Stop
from worker.vision import CompanionKind

log = logging.getLogger("darkroom.engine")

PREVIEW_SECONDS = 1.0
PROGRESS_SECONDS = 0.1


class Engine:
    """All models of one device. All but `inbox` belongs to the thread that runs `run`.

    `idle_event` is set while there is nothing to do.
    """

    def __init__(
        self, cache: ModelCache, device: Device, meter: GpuMeter, heartbeat: HeartbeatThread,
        send: Callable[[Event], None], inbox: Inbox, clock: Callable[[], float] = monotonic,
        idle_event: threading.Event | None = None,
    ) -> None:  # fmt: skip
        self.inbox = inbox
        self._cache, self._device, self._meter, self._heartbeat = cache, device, meter, heartbeat
        self._send, self._clock = send, clock
        self._reporter = ProgressReporter(send)
        self._results = ResultWriter(self._reporter)
        self._preview_writer = PreviewWriter(self._reporter.preview)
        self._queue, self._batch_limit = RunQueue(cache, self._write_off), BatchLimit(device)
        self._recovery = Recovery(self._queue, cache, self._batch_limit, device, lambda: send(cache.models()))
        self._side_stream = side_stream(device.torch_device)
        self._decoding: deque[PendingDecode] = deque()
        self._idle, self._idle_event = True, idle_event or threading.Event()
        # A GPU steps on while a model is read from the disk. On a CPU the load would take the cores that the steps
        # need, and members would pay for it: there the rows wait, and the time is overhead.
        self._steps_beside_loads = device.torch_device.type == "cuda"
        cache.on_load_ended = lambda: inbox.put(LoadEnded())
        heartbeat.watch(
            lambda: tuple(dict.fromkeys((*self._reporter.open_jobs(), *inbox.jobs()))), lambda: meter.busy_ms
        )

    def run(self) -> None:
        """Until it is told to stop."""
        use_device(self._device)
        self._send(self._cache.models())
        while self.tick():
            pass

    @torch.inference_mode()
    def tick(self) -> bool:
        """One turn: orders, a piece of one job's preparation, one step, one decode. False when told to stop."""
        if not self._take_orders():
            return False
        if self._cache.evict_stale(self._queue.busy_models()):
            self._send(self._cache.models())
        task = self._queue.next_waiting()
        self._idle = (self._cache.loading is not None and not self._steps_beside_loads) or not self._work(task)
        self._report_overhead()
        return True

    def _work(self, task: Task | None) -> bool:
        """False when there was nothing to do."""
        if task:
            self._prepare(task)
        if rows := self._queue.next_batch(self._batch_limit.rows):
            self._step(rows)
        if row := self._queue.next_finished():
            self._decode(row)
        busy = bool(task or rows or row)
        decoded = self._emit_decoded(wait=not busy)
        return self._adopt_compiled(idle=not busy and not decoded) or busy or decoded

    # --- orders ----------------------------------------------------------------------------------------------------

    def _take_orders(self) -> bool:
        """Takes all orders that have come; waits for one when the last turn found nothing to do."""
        while True:
            order = self._wait() if self._idle else self.inbox.get(block=False)
            if order is None:
                return True
            self._idle = False
            if isinstance(order, Stop):
                return False
            self._handle(order)

    def _wait(self) -> InboxItem | None:
        """For the next order; while a model loads, that is overhead."""
        if self._cache.loading is None:
            self._idle_event.set()
            order = self.inbox.get(block=True)
            self._idle_event.clear()
            return order
        with self._heartbeat.in_phase(Phase.LOADING), self._meter.measure() as measured:
            measured.overhead("load")
            return self.inbox.get(block=True)

    def _handle(self, order: InboxItem) -> None:
        if isinstance(order, ConnectionLost):
            self._reporter.forget_all()
            for task in list(self._queue.tasks.values()):
                self._remove(task)
        elif isinstance(order, Cancel):
            self._cancel(order)
        elif isinstance(order, Pause | Resume):
            self._pause(order)
        elif isinstance(order, Catalogue):
            self._cache.set_catalogue(order)
        elif isinstance(order, LoadEnded):
            self._finish_load()
        elif isinstance(order, Submit):
            self._submit(order)
            self.inbox.taken(order)

    def _submit(self, order: Submit) -> None:
        known = self._queue.tasks.get(order.job)
        if known is not None:
            if known.attempt >= order.attempt:
                return
            self._reporter.forget(order.job)
            self._remove(known)
        task = Task(order=order)
        self._queue.add(task)
        self._reporter.open(order.job, order.attempt, order.request.steps_to_run())

    def _pause(self, order: Pause | Resume) -> None:
        """Its rows keep their places and their step; an order about another attempt, or none, came too late."""
        task = self._queue.tasks.get(order.job)
        if task is not None and task.attempt == order.attempt:
            task.paused = isinstance(order, Pause)

    def _cancel(self, order: Cancel) -> None:
        task = self._queue.tasks.get(order.job)
        if task is None and not self._reporter.is_open(order.job):
            # Never heard of, or its last word was said before this one.
            self._send(Cancelled(job=order.job, attempt=order.attempt, gpu_ms=0))
        elif task is not None and task.attempt == order.attempt:
            gpu_ms = self._remove(task)
            self._reporter.report(Cancelled(job=task.id, attempt=order.attempt, gpu_ms=gpu_ms), last=True)

    # --- models ----------------------------------------------------------------------------------------------------

    def _finish_load(self) -> None:
        """A load has ended: the model is there, or the jobs that waited for it fail, and no others."""
        result = self._cache.finish_load(self._queue.busy_models())
        if result is None:
            return
        self._send(self._cache.models())
        if result.sentence and result.companion is not None:
            self._go_without(result, result.companion)
        elif result.sentence:
            log.error("%s cannot be used: %s", result.name, result.sentence)
            said = failure_messages.not_here if result.not_here else failure_messages.not_loaded
            for task in self._queue.tasks_for(result.name):
                self._fail(task, FailureKind.INVALID, said(result.name))

    def _go_without(self, result: LoadResult, kind: CompanionKind) -> None:
        """What lies beside a model is of no use: the jobs that cannot be without it fail, at no cost."""
        until = "until its file is replaced or the worker restarts"
        log.error("%s is used without its %s %s: %s", result.name, kind, until, result.sentence)
        said = failure_messages.companion_lacks_memory if result.lacked_memory else failure_messages.companion_broken
        for task in self._queue.tasks_without(result.name, kind):
            self._meter.write_off(task.id, "failed")
            self._fail(task, FailureKind.INVALID, said(kind, result.file, result.name))

    def _model(self, job: str) -> LoadedModel:
        model = self._cache.get(self._queue.tasks[job].model)
        assert model is not None  # a model that rows are at work with does not go
        return model

    # --- prepare -----------------------------------------------------------------------------------------------------

    def _prepare(self, task: Task) -> None:
        """One piece of what comes before a job's first step: an encode, a tile. After the last its rows are here."""
        model = self._model(task.id)
        self._queue.waiting.remove(task)
        try:
            with self._heartbeat.in_phase(Phase.ENCODING, (task.id,)), self._meter.measure() as measured:
                measured.job(task.id)
                more = prepare_job.prepare_piece(task, model, self._batch_limit.rows)
        except Exception as error:
            self._fail_on(self._recovery.after_failed_prepare(task, model, error), error)
            return
        if more:
            self._queue.waiting.append(task)
            self._report_cost(task)
            return
        self._queue.add_rows(task)
        if task.rows:
            self._reporter.open(task.id, task.attempt, task.steps)
        if task.made_with != model.made_with:
            task.made_with = model.made_with
            self._reporter.report(Started(job=task.id, attempt=task.attempt, made_with=model.made_with))
        if task.prepared is not None and not task.rows:
            self._results.write_prepared(task, task.prepared)
            self._results.write_end(task, self._remove(task))

    def _report_cost(self, task: Task) -> None:
        """Before the first step too: what the lanes have used hangs on it, and an upscale is all preparation."""
        self._meter.settle(keep=1)
        if (now := self._clock()) - task.reported_at >= PROGRESS_SECONDS:
            task.reported_at = now
            self._reporter.update(task.id, 0, self._meter.job_ms(task.id), send_now=True)

    # --- step ------------------------------------------------------------------------------------------------------

    def _step(self, rows: list[Row | PipelineRow]) -> None:
        jobs = tuple(dict.fromkeys(row.job for row in rows))
        model = self._model(rows[0].job)
        try:
            with self._heartbeat.in_phase(Phase.STEPPING, jobs), self._meter.measure() as measured:
                model.adapt(self._queue.tasks[rows[0].job].adaptation)
                advance(rows, model.family)
                measured.jobs(shares(rows), model.padding)
        except Exception as error:
            measured.overhead("oom" if is_out_of_memory(error) else "failed")
            self._fail_on(self._recovery.after_failed_step(rows, model, error), error)
            return
        if log.isEnabledFor(logging.DEBUG):
            counts = " ".join(f"{job}:{sum(row.job == job for row in rows)}" for job in jobs)
            log.debug("Step of %d rows: %s", len(rows), counts)
        self._batch_limit.record_success()
        self._meter.settle(keep=1)
        self._queue.record_step(rows)
        for job in jobs:
            self._report_progress(self._queue.tasks[job])

    def _report_progress(self, task: Task) -> None:
        """Progress, and a preview when one is due."""
        now = self._clock()
        send_now = now - task.reported_at >= PROGRESS_SECONDS
        if task.wants_preview(now, PREVIEW_SECONDS):
            task.previewed_at, send_now = now, False
            self._preview(task)
        if send_now:
            task.reported_at = now
        self._reporter.update(task.id, task.step, self._meter.job_ms(task.id), send_now=send_now)

    def _preview(self, task: Task) -> None:
        """A preview is a courtesy: where it cannot be made, the job goes on without."""
        try:
            model = self._model(task.id)
            latents, stream = model.preview_latents(task), self._stream_for(model)
            with stream.entered(), self._meter.measure(overlapped=stream is not SAME_STREAM) as measured:
                measured.overhead("preview")
                preview = model.preview(task, latents)
                copy = None if preview is None else self._side_stream.to_host(preview)
            if copy is not None:
                self._preview_writer.put(task.id, task.attempt, copy, task.size)
        except Exception as error:
            log.warning("A preview could not be made (%s).", " ".join(str(error).split())[:200])
            self._recovery.free_memory(error)

    # --- emit ------------------------------------------------------------------------------------------------------

    def _stream_for(self, model: LoadedModel) -> SideStream:
        """For pictures and previews: beside the steps, where memory allows that."""
        return self._side_stream if model.plan.overlaps_decode else SAME_STREAM

    def _decode(self, row: Row | PipelineRow) -> None:
        """Orders one finished row's pixels: beside the steps of others where the device can."""
        task, model = self._queue.tasks[row.job], self._model(row.job)
        stream = self._stream_for(model)
        try:
            decodes = self._heartbeat.in_phase(Phase.DECODING, (row.job,))
            with decodes, stream.entered(), self._meter.measure(overlapped=stream is not SAME_STREAM) as measured:
                measured.job(row.job)
                model.adapt_decoder(task.adaptation)
                self._decoding.append(decoding.start_decode(row, model, self._side_stream, self._device))
        except Exception as error:
            measured.overhead("oom" if is_out_of_memory(error) else "failed")
            self._fail_on(self._recovery.after_failed_decode(row, error), error)

    def _emit_decoded(self, *, wait: bool) -> bool:
        """Hands on the pictures that are there; after its last one a job is done. False when there were none."""
        found = False
        while self._decoding and (wait or self._decoding[0].done()):
            ready, found = self._decoding.popleft(), True
            task = self._queue.tasks.get(ready.row.job)
            if task is not None and ready.row in task.rows:
                self._write_result(task, ready)
        return found

    def _write_result(self, task: Task, ready: PendingDecode) -> None:
        row = ready.row
        try:
            pixels = ready.pixels()
        except Exception as error:
            self._fail_on(task, error)
            return
        if isinstance(row, Row):
            self._results.write_decoded(task, task.rows.index(row), row.index, pixels[0])
        else:
            for place, index in enumerate(task.order.indices):
                self._results.write_decoded(task, place, index, pixels[place])
        task.undecoded -= 1
        if not task.undecoded:
            self._results.write_end(task, self._remove(task))

    def _adopt_compiled(self, *, idle: bool) -> bool:
        """Tries compiled code that waits for it, unless a job that has not begun would wait too; False without any."""
        compiled_models = () if self._queue.has_waiting() else self._cache.compiled_models()
        compiled_model = next((one for one in compiled_models if one.may_adopt(idle=idle)), None)
        if compiled_model is None:
            return False
        with self._heartbeat.in_phase(Phase.COMPILING), self._meter.measure() as measured:
            measured.overhead("compile")
            compiled_model.adopt(idle=idle)
        return True

    # --- ends ------------------------------------------------------------------------------------------------------

    def _write_off(self, job: str) -> None:
        """It begins anew; said at once, for without a later word it would be charged by what was said last."""
        self._meter.write_off(job, "again")
        self._reporter.update(job, 0, 0, send_now=True)

    def _fail_on(self, task: Task | None, error: Exception) -> None:
        """An exception harms no more than the one job that is past help, if any is."""
        if task is None:
            return
        kind, sentence = failure_messages.describe_failure(error, task.size)
        if kind is FailureKind.OUT_OF_MEMORY:
            self._batch_limit.reset()
        elif kind is FailureKind.ERROR:
            log.error("A job failed.", exc_info=error, extra={"job": task.id})
        self._fail(task, kind, sentence)

    def _fail(self, task: Task, kind: FailureKind, sentence: str) -> None:
        gpu_ms = self._remove(task)
        event = Failed(job=task.id, attempt=task.attempt, kind=kind, sentence=sentence, gpu_ms=gpu_ms)
        self._reporter.report(event, last=True)

    def _remove(self, task: Task) -> int:
        """Takes the job out of everything and closes its account: its GPU time in milliseconds."""
        self._queue.remove(task)
        return self._meter.close(task.id)

    def _report_overhead(self) -> None:
        """Tells what nobody pays."""
        self._meter.settle(keep=1 if self._queue.rows else 0)
        for cause, gpu_ms in self._meter.take_overhead().items():
            self._send(OverheadTime(cause=cause, gpu_ms=gpu_ms))
