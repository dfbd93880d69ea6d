"""From decoded pixels to pictures and last words, beside the loop: in one thread, so that each job's come in order.

Knows nothing of models and steps.
"""

import logging

from core.events import Described, Done, Failed, FailureKind, Picture
from core.result_size import result_size
from worker.edits import Prepared
from worker.engine.image_encoding import SerialExecutor, Work, png
from worker.engine.task import Task
from worker.interfaces import Pixels
from worker.transport import ProgressReporter

log = logging.getLogger("darkroom.results")

UNFINISHED = "The picture was computed, but could not be finished. The worker's log says why."


class WrongSize(Exception):
    """What was computed is not as large as what was asked for; the text is the sentence its reader sees."""


class ResultWriter:
    """Says what is finished. A job that it cannot finish ends as failed instead of done."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter
        self._executor = SerialExecutor()

    def write_decoded(self, task: Task, place: int, index: int, pixels: Pixels) -> None:
        """The pixels of row `place`: picture `index`, or a part of it."""

        def finish() -> None:
            assert task.prepared is not None
            picture = task.prepared.finish(place, pixels)
            if picture is not None:
                self._write_picture(task, index, picture)

        self._executor.put(lambda: self._try(task, finish))

    def write_prepared(self, task: Task, prepared: Prepared) -> None:
        """What took no step: words, and pictures that were only enlarged."""
        if prepared.words:
            self._reporter.report(Described(job=task.id, attempt=task.attempt, words=prepared.words))

        def finish() -> None:
            for index, pixels in prepared.pictures:
                self._write_picture(task, index, pixels)

        self._executor.put(lambda: self._try(task, finish))

    def write_end(self, task: Task, gpu_ms: int) -> None:
        """The job's last word, after its pictures."""

        def report_end() -> None:
            word: Done | Failed = Done(job=task.id, attempt=task.attempt, gpu_ms=gpu_ms)
            if sentence := task.result_failed:
                kind = FailureKind.ERROR
                word = Failed(job=task.id, attempt=task.attempt, kind=kind, sentence=sentence, gpu_ms=gpu_ms)
            self._reporter.report(word, last=True)

        self._executor.put(report_end)

    def _write_picture(self, task: Task, index: int, pixels: Pixels) -> None:
        """Raises WrongSize: the bot would drop a worker that sent another size than it ordered."""
        data = png(pixels)
        height, width = pixels.shape[:2]
        wanted = result_size(task.order)
        if (width, height) != wanted:
            asked = f"{wanted[0]}×{wanted[1]}"
            raise WrongSize(f"The model drew {width}×{height} pixels instead of {asked}. Choose another size or model.")
        event = Picture(job=task.id, attempt=task.attempt, index=index, width=width, height=height, png=data)
        self._reporter.report(event)

    def _try(self, task: Task, finish: Work) -> None:
        try:
            finish()
        except WrongSize as error:
            log.error("%s", error, extra={"job": task.id})
            task.result_failed = str(error)
        except Exception:
            log.exception("A picture could not be finished.", extra={"job": task.id})
            task.result_failed = UNFINISHED
