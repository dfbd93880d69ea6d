"""Takes one running job through its stages and writes down what came of it, in order.

One task a job, so that its pictures are stored before it is finished, and so that no job waits for another's disk.
Knows storage and the worker's words; does not choose jobs or workers.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from bot.image_store import Written
from bot.resources import Resources
from bot.scheduling import render_stages
from bot.scheduling.attempt import Attempt, Lost, Outcome
from bot.scheduling.cost_estimator import CostEstimator
from bot.scheduling.input_pictures import pictures_of
from bot.scheduling.render_stages import Stage
from bot.storage_retry import until_stored
from core import events
from core.errors import Gone, PicturesAway
from core.job import Job, MadeWith, Source

_T = TypeVar("_T")
log = logging.getLogger(__name__)

INCOMPLETE = "The worker did not send all the pictures. Please try again."
#: A disk that is away is waited for so long; then the job that needs a picture of it fails, free of charge.
AWAY_SECONDS = 60.0
MISTAKE = "Darkroom made a mistake with this job. Please try again."


class JobRunner:
    """`alive` says whether a worker's connection still stands.

    `coming` is told that an order is about to go out, so that others make way for it, or it for them.
    """

    def __init__(
        self,
        resources: Resources,
        costs: CostEstimator,
        *,
        alive: Callable[[Attempt], bool],
        coming: Callable[[Attempt], None],
    ) -> None:
        self._jobs = resources.jobs
        self._ledger = resources.ledger
        self._images = resources.images
        self._bus = resources.bus
        self._monotonic = resources.monotonic
        self._costs = costs
        self._alive = alive
        self._coming = coming

    async def run(self, attempt: Attempt) -> None:
        """From claim to the row's next state. Never raises: a mistake of ours fails this job only."""
        try:
            outcome = await self._compute(attempt)
        except (Gone, PicturesAway) as error:
            outcome = _failed(attempt, error.sentence)
        except Exception:
            log.exception("A job could not be taken through its stages.", extra={"job": attempt.id})
            outcome = _failed(attempt, MISTAKE)
        try:
            await self._conclude(attempt, outcome)
        except Exception:
            log.exception("The end of a job could not be stored as it was.", extra={"job": attempt.id})
            await self._give_up(attempt)

    async def _give_up(self, attempt: Attempt) -> None:
        """The plainest end, so that no row runs for ever."""
        try:
            if job := await self._jobs.fail(attempt.id, attempt.job.attempt, MISTAKE):
                self._bus.changed(job)
        except Exception:
            log.exception("A job could not be ended; the next start deals with it.", extra={"job": attempt.id})

    async def _compute(self, attempt: Attempt) -> Outcome:
        while True:
            # Planned anew for each stage: a picture may turn out damaged, or be pruned by hand, at any moment.
            planned = await self._read(partial(self._plan, attempt.job), "plan a job", attempt)
            if not planned:
                return events.Done(job=attempt.id, attempt=attempt.job.attempt, gpu_ms=0)
            stage = planned[0]
            render_stages.check_model(stage, attempt.connection.offered, attempt.connection.known)
            start = render_stages.start(stage.of)
            source = await self._read(partial(self._source, start), "read a picture", attempt) if start else b""
            if source is None:
                continue
            pictures = await pictures_of(stage.of.request)
            if attempt.cancel_until is not None:
                return events.Cancelled(job=attempt.id, attempt=attempt.job.attempt, gpu_ms=0)
            if attempt.stopped or not self._alive(attempt):
                return Lost(solo=attempt.job.solo, why="No worker can take it now.")
            self._coming(attempt)
            attempt.order(stage, source, pictures, self._monotonic())
            outcome = await self._follow(attempt, stage)
            if stage.own:
                return outcome
            attempt.restored_ms += attempt.stage_ms
            if not isinstance(outcome, events.Done):
                return outcome

    async def _plan(self, job: Job) -> list[Stage]:
        return await render_stages.plan(job, get=self._jobs.get, kept=self._kept, root=self._images.root)

    async def _kept(self, source: Source) -> bool:
        return await self._images.read(source.job, source.index) is not None

    async def _source(self, source: Source) -> bytes | None:
        root = await self._images.root(source)
        return await self._images.use(root.job, root.index)

    async def _read(self, work: Callable[[], Awaitable[_T]], what: str, attempt: Attempt) -> _T:
        """As `until_stored`, but raises PicturesAway after a while: whoever waits for the job is to hear of it."""
        until = self._monotonic() + AWAY_SECONDS

        async def work_or_give_up() -> _T | PicturesAway:
            try:
                return await work()
            except PicturesAway as error:
                if self._monotonic() < until:
                    raise
                return error

        read = await until_stored(work_or_give_up, what, job=attempt.id)
        if isinstance(read, PicturesAway):
            raise read
        return read

    async def _follow(self, attempt: Attempt, stage: Stage) -> Outcome:
        """What the worker says about this stage, until it says the last word."""
        written: dict[int, Written] = {}
        while True:
            event = await attempt.take()
            if isinstance(event, events.Started):
                await self._started(attempt, stage, event.made_with)
            elif isinstance(event, events.Picture):
                if event.index in stage.indices:
                    write = partial(self._images.write, stage.of.id, event.index, event.png)
                    written[event.index] = await until_stored(write, "write a picture", job=attempt.id)
            elif isinstance(event, events.Done) and written.keys() == set(stage.indices):
                keep = partial(self._images.keep, written.values())
                await until_stored(keep, "keep a job's pictures", job=attempt.id)
                return event
            else:
                await until_stored(partial(self._images.drop, written.values()), "remove an incomplete result")
                return _failed(attempt, INCOMPLETE) if isinstance(event, events.Done) else event

    async def _started(self, attempt: Attempt, stage: Stage, made_with: MadeWith) -> None:
        if stage.own:
            note = partial(self._jobs.started, attempt.id, attempt.job.attempt, made_with)
        else:
            self._check_weights(attempt, stage, made_with)
            line = render_stages.redrawn_note(stage.of.made_with, made_with)
            if not line:
                return
            note = partial(self._jobs.add_note, attempt.id, attempt.job.attempt, line)
        if job := await until_stored(note, "note a start", job=attempt.id):
            attempt.job = job
            self._bus.changed(job)

    def _check_weights(self, attempt: Attempt, stage: Stage, made_with: MadeWith) -> None:
        """Raises Gone where the worker would draw an ancestor's picture with other weights: it would be another one."""
        try:
            render_stages.check_redrawn(stage.of.made_with, made_with.digest)
        except Gone:
            attempt.ordered = False
            attempt.recall()
            raise

    async def _conclude(self, attempt: Attempt, outcome: Outcome) -> None:
        if attempt.restored_ms:
            book = partial(
                self._ledger.book_overhead, "restore", attempt.restored_ms, job=attempt.id, attempt=attempt.job.attempt
            )
            await until_stored(book, "book a restored picture", job=attempt.id)
        job = await until_stored(partial(self._store, attempt, outcome), "store a job's end", job=attempt.id)
        if job is None:
            log.info("A job was no longer ours when it ended.", extra={"job": attempt.id})
            return
        self._bus.changed(job)
        log.info("A job is %s.", job.state, extra={"job": job.id, "gpu_ms": job.gpu_ms, "attempt": job.attempt})
        if isinstance(outcome, events.Done) and attempt.stage is not None and attempt.stage.own:
            learn = partial(self._costs.learn, job, outcome.gpu_ms)
            await until_stored(learn, "learn from a job", job=job.id)

    async def _store(self, attempt: Attempt, outcome: Outcome) -> Job | None:
        """The one guarded statement that this outcome asks for."""
        job, number = attempt.id, attempt.job.attempt
        spent = attempt.own_ms
        match outcome:
            case events.Done():
                return await self._jobs.finish(job, number, spent)
            case events.Failed():
                log.warning("A job failed: %s", outcome.sentence, extra={"job": job})
                return await self._jobs.fail(job, number, outcome.sentence, gpu_ms=spent)
            case _ if attempt.taken_back:
                return await self._jobs.fail(job, number, attempt.taken_back, gpu_ms=spent)
            case _ if attempt.cancel_until is not None:
                return await self._jobs.cancelled(job, number, spent)
            case Lost():
                log.warning("A job goes back into the queue. %s", outcome.why, extra={"job": job})
                return await self._jobs.requeue(job, number, strike=outcome.strike, solo=outcome.solo, lost_ms=spent)
            case events.Cancelled():
                return await self._jobs.requeue(job, number, solo=attempt.job.solo, lost_ms=spent)


def _failed(attempt: Attempt, sentence: str) -> events.Failed:
    return events.Failed(
        job=attempt.id,
        attempt=attempt.job.attempt,
        kind=events.FailureKind.ERROR,
        sentence=sentence,
        gpu_ms=attempt.own_ms,
    )
