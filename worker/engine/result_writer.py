"""From decoded pixels to pictures and last words, beside the loop: in one thread, so that each job's come in order.

Knows nothing of models and steps.
"""

import logging

from core.events import Described, Done, Failed, FailureKind, Picture
from worker.edits.prepared_job import Prepared
from worker.engine.image_encoding import Finisher, Work, png
from worker.engine.task import Task
from worker.interfaces import Pixels
from worker.transport.progress_reporter import Reporter

log = logging.getLogger("darkroom.delivery")


class Delivery:
    """Says what is finished. A job that it cannot finish ends as failed instead of done."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._finisher = Finisher()

    def decoded(self, task: Task, place: int, index: int, pixels: Pixels) -> None:
        """The pixels of row `place`: picture `index`, or a part of it."""

        def finish() -> None:
            assert task.prepared is not None
            picture = task.prepared.finish(place, pixels)
            if picture is not None:
                self._picture(task, index, picture)

        self._finisher.put(lambda: self._try(task, finish))

    def prepared(self, task: Task, prepared: Prepared) -> None:
        """What took no step: words, and pictures that were only enlarged."""
        if prepared.words:
            self._reporter.tell(Described(job=task.id, attempt=task.attempt, words=prepared.words))

        def finish() -> None:
            for index, pixels in prepared.pictures:
                self._picture(task, index, pixels)

        self._finisher.put(lambda: self._try(task, finish))

    def end(self, task: Task, gpu_ms: int) -> None:
        """The job's last word, after its pictures."""

        def say() -> None:
            word: Done | Failed = Done(job=task.id, attempt=task.attempt, gpu_ms=gpu_ms)
            if task.broken:
                sentence = "The picture was computed, but could not be finished. The worker's log says why."
                kind = FailureKind.ERROR
                word = Failed(job=task.id, attempt=task.attempt, kind=kind, sentence=sentence, gpu_ms=gpu_ms)
            self._reporter.tell(word, last=True)

        self._finisher.put(say)

    def _picture(self, task: Task, index: int, pixels: Pixels) -> None:
        self._reporter.tell(Picture(job=task.id, attempt=task.attempt, index=index, png=png(pixels)))

    def _try(self, task: Task, finish: Work) -> None:
        try:
            finish()
        except Exception:
            log.exception("A picture could not be finished.", extra={"job": task.id})
            task.broken = True
