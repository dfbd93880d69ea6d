"""Takes one running job through its stages and writes down what came of it, in order.

One task a job, so that its pictures are stored before it is finished, and so that no job waits for another's disk.
Knows storage and the worker's words; does not choose jobs or workers.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bot.event_bus import Hub
from bot.image_store import Pictures, Written
from bot.messages.grid_image import is_png
from bot.scheduling import render_stages
from bot.scheduling.attempt import Flight, Lost, Outcome
from bot.scheduling.cost_estimator import Rates
from bot.scheduling.render_stages import Stage
from bot.storage_retry import until_stored
from core import events
from core.errors import Gone
from core.job import Job, MadeWith, Source
from storage.jobs import Jobs
from storage.ledger import Ledger

log = logging.getLogger(__name__)

INCOMPLETE = "The worker did not send all pictures. Please try again."
MISTAKE = "Darkroom made a mistake with this job. Please try again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Conductor:
    """`alive` says whether a worker's connection still stands; `monotonic` is for leases.

    `coming` hears that an order is about to go out, so that others make way for it, or it for them.
    """

    jobs: Jobs
    ledger: Ledger
    pictures: Pictures
    rates: Rates
    hub: Hub
    alive: Callable[[Flight], bool]
    coming: Callable[[Flight], None]
    monotonic: Callable[[], float]

    async def run(self, flight: Flight) -> None:
        """From claim to the row's next state. Never raises: a mistake of ours fails this job only."""
        try:
            outcome = await self._compute(flight)
        except Gone as error:
            outcome = _failed(flight, error.sentence)
        except Exception:
            log.exception("A job could not be taken through its stages.", extra={"job": flight.id})
            outcome = _failed(flight, MISTAKE)
        try:
            await self._conclude(flight, outcome)
        except Exception:
            log.exception("The end of a job could not be stored as it was.", extra={"job": flight.id})
            await self._give_up(flight)

    async def _give_up(self, flight: Flight) -> None:
        """The plainest end, so that no row runs for ever."""
        try:
            if job := await self.jobs.fail(flight.id, flight.job.attempt, MISTAKE):
                self.hub.changed(job)
        except Exception:
            log.exception("A job could not be ended; the next start takes it up.", extra={"job": flight.id})

    async def _compute(self, flight: Flight) -> Outcome:
        while True:
            # Planned anew for each stage: a picture may turn out damaged, or be pruned by hand, at any moment.
            planned = await until_stored(partial(self._plan, flight.job), "plan a job", job=flight.id)
            if not planned:
                return events.Done(job=flight.id, attempt=flight.job.attempt, gpu_ms=0)
            stage = planned[0]
            render_stages.check_model(stage, flight.link.offered, flight.link.known)
            start = render_stages.start(stage.of)
            source = await self._source(start) if start else b""
            if source is None:
                continue
            if flight.cancel_until is not None:
                return events.Cancelled(job=flight.id, attempt=flight.job.attempt, gpu_ms=0)
            if flight.grounded or not self.alive(flight):
                return Lost(solo=flight.job.solo, why="No worker takes it now.")
            self.coming(flight)
            flight.order(stage, source, self.monotonic())
            outcome = await self._follow(flight, stage)
            if stage.own:
                return outcome
            flight.house_ms += flight.stage_ms
            if not isinstance(outcome, events.Done):
                return outcome

    async def _plan(self, job: Job) -> list[Stage]:
        return await render_stages.plan(job, get=self.jobs.get, kept=self._kept, root=self.pictures.root)

    async def _kept(self, source: Source) -> bool:
        return await self.pictures.read(source.job, source.index) is not None

    async def _source(self, source: Source) -> bytes | None:
        root = await self.pictures.root(source)
        return await until_stored(partial(self.pictures.use, root.job, root.index), "read a picture")

    async def _follow(self, flight: Flight, stage: Stage) -> Outcome:
        """What the worker says about this stage, until it says the last word."""
        written: dict[int, Written] = {}
        while True:
            event = await flight.inbox.get()
            if isinstance(event, events.Started):
                await self._started(flight, stage, event.made_with)
            elif isinstance(event, events.Picture):
                if event.index in stage.indices and await asyncio.to_thread(is_png, event.png):
                    write = partial(self.pictures.write, stage.of.id, event.index, event.png)
                    written[event.index] = await until_stored(write, "write a picture", job=flight.id)
            elif isinstance(event, events.Done) and written.keys() == set(stage.indices):
                keep = partial(self.pictures.keep, written.values())
                await until_stored(keep, "keep a job's pictures", job=flight.id)
                return event
            else:
                await until_stored(partial(self.pictures.drop, written.values()), "remove half a result")
                return _failed(flight, INCOMPLETE) if isinstance(event, events.Done) else event

    async def _started(self, flight: Flight, stage: Stage, made_with: MadeWith) -> None:
        if not stage.own:
            self._check_weights(flight, stage, made_with)
        else:
            note = partial(self.jobs.started, flight.id, flight.job.attempt, made_with)
            if job := await until_stored(note, "note a start", job=flight.id):
                flight.job = job
                self.hub.changed(job)

    def _check_weights(self, flight: Flight, stage: Stage, made_with: MadeWith) -> None:
        """Raises Gone where the worker would draw an ancestor's picture with other weights: it would be another one."""
        try:
            render_stages.check_redrawn(stage.of.made_with, made_with.digest)
        except Gone:
            flight.ordered = False
            flight.recall()
            raise

    async def _conclude(self, flight: Flight, outcome: Outcome) -> None:
        if flight.house_ms:
            book = partial(self.ledger.house, "restore", flight.house_ms, job=flight.id, attempt=flight.job.attempt)
            await until_stored(book, "book a restored picture", job=flight.id)
        job = await until_stored(partial(self._store, flight, outcome), "store a job's end", job=flight.id)
        if job is None:
            log.info("A job was not ours any more when it ended.", extra={"job": flight.id})
            return
        self.hub.changed(job)
        log.info("A job is %s.", job.state, extra={"job": job.id, "gpu_ms": job.gpu_ms, "attempt": job.attempt})
        if isinstance(outcome, events.Done) and flight.stage is not None and flight.stage.own:
            learn = partial(self.rates.learn, job, outcome.gpu_ms)
            await until_stored(learn, "learn from a job", job=job.id)

    async def _store(self, flight: Flight, outcome: Outcome) -> Job | None:
        """The one guarded statement that this outcome asks for."""
        job, attempt = flight.id, flight.job.attempt
        spent = flight.own_ms
        match outcome:
            case events.Done():
                return await self.jobs.finish(job, attempt, spent)
            case events.Failed():
                log.warning("A job failed: %s", outcome.sentence, extra={"job": job})
                return await self.jobs.fail(job, attempt, outcome.sentence, gpu_ms=spent)
            case _ if flight.cancel_until is not None:
                return await self.jobs.cancelled(job, attempt, spent)
            case Lost():
                log.warning("A job goes back into the queue. %s", outcome.why, extra={"job": job})
                return await self.jobs.requeue(job, attempt, strike=outcome.strike, solo=outcome.solo, lost_ms=spent)
            case events.Cancelled():
                return await self.jobs.requeue(job, attempt, solo=flight.job.solo, lost_ms=spent)


def _failed(flight: Flight, sentence: str) -> events.Failed:
    return events.Failed(
        job=flight.id,
        attempt=flight.job.attempt,
        kind=events.FailureKind.ERROR,
        sentence=sentence,
        gpu_ms=flight.own_ms,
    )
