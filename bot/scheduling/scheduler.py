"""The only one who decides: which job goes to which worker, who pauses, who is told to stop.

Knows storage's statements and the door's workers; knows nothing of Discord. The row decides: the memory here holds only
what a restart may forget. What workers say comes by worker_events.py, what they are told goes by lane_control.py; the
rules are core's.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from bot.event_bus import Hub, Status, WorkerState
from bot.image_store import Pictures
from bot.scheduling.attempt import LEASE_SECONDS, Flight
from bot.scheduling.cost_estimator import Rates
from bot.scheduling.job_runner import Conductor
from bot.scheduling.lane_control import Lanes
from bot.scheduling.overhead_usage import HouseBook
from bot.scheduling.queue_estimate import Aloft, Estimate, outlook
from bot.scheduling.running_jobs import Fleet
from bot.scheduling.worker_events import Hearing
from bot.storage_retry import PASSING, until_stored
from bot.workers.connection import Link
from bot.workers.server import Door
from core import events
from core.cost import Plan
from core.fairness import RELAX_SHARE
from core.job import Job, Lane
from storage.jobs import Claim, Jobs
from storage.ledger import Ledger
from storage.settings import Settings

log = logging.getLogger(__name__)

#: Jobs that run when the queue is paused may still end for this long.
PAUSE_GRACE_SECONDS = 30.0
#: A job that is paused for this long says so; a slice of relax's share is shorter.
PAUSE_SHOWN_SECONDS = 3.0
TICK_SECONDS, RENEW_SECONDS, HOUSEKEEPING_SECONDS = 0.25, 10.0, 60.0
#: How often relax's credit is kept, and a job that waits may displace one of its lane.
LOOK_SECONDS = 1.0
_OUTLOOK_SECONDS = 0.5
_DEAD = 1e12

__all__ = ["Estimate", "Scheduler", "Tools"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the scheduler works with. `boot` names this start of the bot; `model` hears what a worker has loaded."""

    jobs: Jobs
    ledger: Ledger
    settings: Settings
    pictures: Pictures
    hub: Hub
    door: Door
    rates: Rates
    plan: Plan
    boot: str
    model: Callable[[events.ModelInfo], Awaitable[None]]
    clock: Callable[[], float]
    monotonic: Callable[[], float] = field(default=time.monotonic)
    relax_share: float = RELAX_SHARE


class Scheduler:
    """Is asked by admission and by commands, and told by its hearing."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._jobs = tools.jobs
        self._fleet = Fleet(tools.monotonic)
        self._unwanted: set[str] = set()  # cancelled between claim and take-off
        self._house = HouseBook(tools.ledger)
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._paused_at: float | None = None  # monotonic
        self._draining = False
        self._seen: tuple[float, dict[str, Estimate]] = (-_DEAD, {})
        self._lanes = Lanes(
            self._fleet,
            share=tools.relax_share,
            running=tools.plan.running,
            kick=self.kick,
            monotonic=tools.monotonic,
        )
        self._conductor = Conductor(
            jobs=tools.jobs,
            ledger=tools.ledger,
            pictures=tools.pictures,
            rates=tools.rates,
            hub=tools.hub,
            alive=lambda flight: tools.door.links.get(flight.link.id) is flight.link,
            coming=lambda flight: self._lanes.steer(flight.link, flight),
            monotonic=tools.monotonic,
        )
        tools.door.listener = Hearing(
            fleet=self._fleet,
            lanes=self._lanes,
            house=self._house,
            rates=tools.rates,
            hub=tools.hub,
            door=tools.door,
            ready=lambda link, models: self._spawn(self._ready(link, models)),
            kick=self.kick,
            weather=self.weather,
            draining=lambda: self._draining,
            monotonic=tools.monotonic,
        )

    # --- life ------------------------------------------------------------------------------------------------------

    async def begin(self) -> list[Job]:
        """Before anything else: takes back what an earlier start left running. Returns those jobs."""
        if await self._tools.settings.state("worker_paused", False):
            self._paused_at = self._tools.monotonic()
        await self._tools.rates.begin()
        await self._tools.pictures.sweep()
        self._lanes.credit_ms = self._lanes.kept_ms = await self._jobs.credit()
        returned = await self._jobs.new_boot(self._tools.boot)
        if returned:
            log.info("%d jobs that an earlier start left running wait again.", len(returned))
        return returned

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._tick())
            tasks.create_task(self._keep_house())
            self.kick()
            while True:
                await self._wake.wait()
                self._wake.clear()
                await until_stored(self._fill, "claim a job")

    async def drain(self, seconds: float) -> None:
        """Takes nothing new. Jobs that can end in time do; the others go back into the queue, uncounted."""
        self._draining = True
        until = self._tools.monotonic() + seconds
        while self._fleet and (left := until - self._tools.monotonic()) > 0:
            for flight in self._fleet.all():
                if self._ends_in(flight) > left:
                    self._fleet.recall(flight, "The bot stops.")
            await self._landing(min(left, TICK_SECONDS))
        for flight in self._fleet.all():
            self._fleet.recall(flight, "The bot stops.")
        until = self._tools.monotonic() + 2.0
        while self._fleet and (left := until - self._tools.monotonic()) > 0:
            await self._landing(left)
        if self._fleet:
            log.warning("%d jobs could not be put back; the next start does it.", len(self._fleet))
        self._tools.door.stop()
        await self._house.book()
        await self._keep_credit()
        try:
            await self._tools.rates.keep()
        except PASSING as error:
            log.warning("What was learned from the last jobs is lost (%s).", error)

    # --- asked by others -------------------------------------------------------------------------------------------

    def kick(self) -> None:
        """Something may be claimable now."""
        self._seen = (-_DEAD, {})
        self._wake.set()

    async def cancel(self, job_id: str) -> Job | None:
        """A waiting job is cancelled at once; a running one is told to stop, and its row says so when it has."""
        for _ in range(2):  # it may be claimed, or put back, between the two statements
            if job := await self._jobs.cancel_waiting(job_id):
                self._tools.hub.changed(job)
                self.kick()
                return job
            if job := await self._jobs.unwant(job_id):
                self._tools.hub.changed(job)
                if flight := self._fleet.get(job_id):
                    self._fleet.stop(flight)
                else:
                    self._unwanted.add(job_id)
                return job
        return await self._jobs.get(job_id)

    async def pause(self) -> None:
        """No job starts any more, also after a restart. Running ones may end for a while, then they wait again."""
        await self._tools.settings.put_state("worker_paused", True)
        if self._paused_at is None:
            self._paused_at = self._tools.monotonic()
        self.weather()

    async def resume(self) -> None:
        """Jobs start again."""
        await self._tools.settings.put_state("worker_paused", False)
        self._paused_at = None
        self.weather()
        self.kick()

    def worker_state(self) -> WorkerState:
        """How the GPU's side stands."""
        door, paused = self._tools.door, self._paused_at is not None
        return WorkerState(
            status=door.status, paused=paused, since=door.since, sentence=door.sentence, stopping=self._draining
        )

    async def estimate(self, job: Job) -> Estimate:
        """Where the job stands and about when it ends."""
        if job.is_final:
            return Estimate(place=0)
        if job.id not in self._seen[1]:
            self._seen = (-_DEAD, {})
        return (await self.outlook()).get(job.id, Estimate(place=0))

    async def outlook(self) -> dict[str, Estimate]:
        """Of all waiting and running jobs; at most half a second old."""
        now = self._tools.monotonic()
        if now - self._seen[0] > _OUTLOOK_SECONDS:
            places = await self._jobs.places()
            flights = self._fleet.all()
            self._seen = (
                now,
                outlook(
                    [self._aloft(flight, now) for flight in flights],
                    places,
                    share=self._tools.relax_share,
                    pace=self._tools.rates.pace,
                    working=self._tools.door.status is Status.ONLINE and self._paused_at is None,
                ),
            )
        return self._seen[1]

    def weather(self) -> None:
        """The door's status or the pause changed."""
        self._seen = (-_DEAD, {})
        self._tools.hub.worker(self.worker_state())

    # --- decisions -------------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Claims jobs while a worker has room."""
        await self._look_at_queue()
        for link in list(self._tools.door.links.values()):
            in_vain: list[Lane] = []
            while self._may_claim(link) and (room := self._lanes.room(link, in_vain)):
                claim = await self._jobs.claim(boot=self._tools.boot, worker=link.id, room=room)
                if claim is not None:
                    self._take_off(claim, link)
                    await self._look_at_queue()
                elif room.lane is not None:
                    in_vain.append(room.lane)
            if link.ready:
                self._lanes.settled.add(link.id)
                self._lanes.steer(link)

    def _may_claim(self, link: Link) -> bool:
        there = self._tools.door.links.get(link.id) is link  # it may be gone since the last claim for it
        return there and link.ready and not self._draining and self._paused_at is None

    async def _look_at_queue(self) -> None:
        self._lanes.queued = await self._jobs.waiting_lanes(self._tools.plan.running)

    def _take_off(self, claim: Claim, link: Link) -> None:
        job = claim.job
        flight = Flight(job=job, link=link, lease_until=self._tools.monotonic() + LEASE_SECONDS)
        self._fleet.add(flight)
        for displaced in claim.displaced:
            if (other := self._fleet.get(displaced)) is not None:
                other.displaced = True
        if job.id in self._unwanted:
            self._fleet.stop(flight)
        self._seen = (-_DEAD, {})
        log.info("A job goes to worker %s.", link.id, extra={"job": job.id, "attempt": job.attempt})
        self._tools.hub.changed(job)
        self._spawn(self._fly(flight))

    async def _fly(self, flight: Flight) -> None:
        try:
            await self._conductor.run(flight)
        finally:
            self._fleet.remove(flight)
            self._unwanted.discard(flight.id)
            self.kick()

    async def _ready(self, link: Link, models: tuple[events.ModelInfo, ...]) -> None:
        for model in models:
            await until_stored(partial(self._tools.model, model), "remember the model")
            await until_stored(partial(self._tools.rates.use, model.name, link.device), "load what was learned")
        self.kick()

    def _aloft(self, flight: Flight, now: float) -> Aloft:
        left = self._tools.rates.estimate_ms(flight.job.request) * (1.0 - flight.fraction)
        paused = flight.paused and now - flight.paused_at >= PAUSE_SHOWN_SECONDS
        return Aloft(job=flight.id, lane=flight.job.lane, left_ms=left, paused=paused)

    def _ends_in(self, flight: Flight) -> float:
        now = self._tools.monotonic()
        lefts = {other.id: self._aloft(other, now).left_ms for other in self._fleet.all()}
        together = sum(lefts.values()) if flight.paused else lefts[flight.id] * len(lefts)
        return together * self._tools.rates.pace / 1000

    async def _landing(self, seconds: float) -> None:
        """Until a flight ends, or the time is over."""
        self._fleet.landed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._fleet.landed.wait()
        except TimeoutError:
            return

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        assert self._tasks is not None, "the scheduler is not running"
        try:
            self._tasks.create_task(work)
        except RuntimeError:
            work.close()  # the bot is stopping: the next start takes it up

    # --- clockwork -------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        before = renewed = looked = self._tools.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._tools.monotonic()
            late, before = now - before - TICK_SECONDS, now
            if late > 1.0:
                # We were asleep, not the workers: what they said meanwhile is not read yet.
                for flight in self._fleet.all():
                    flight.lease_until += late
                continue
            self._fleet.look_at_leases(now)
            self._tell_of_pauses(now)
            if now - looked > LOOK_SECONDS:
                looked = now
                await self._look()
            if now - renewed > RENEW_SECONDS and self._fleet:
                renewed = now
                await self._renew()
            if self._paused_at is not None and now - self._paused_at > PAUSE_GRACE_SECONDS:
                for flight in self._fleet.all():
                    self._fleet.recall(flight, "The queue is paused.")

    async def _look(self) -> None:
        await self._keep_credit()
        if self._fleet and self._lanes.queued:
            self._wake.set()

    async def _keep_credit(self) -> None:
        credit = self._lanes.credit_ms
        if credit != self._lanes.kept_ms:
            try:
                await self._jobs.keep_credit(credit)
                self._lanes.kept_ms = credit
            except PASSING as error:
                log.error("Relax's credit could not be kept (%s); it is tried again.", error)

    def _tell_of_pauses(self, now: float) -> None:
        """A pause that lasts is shown; going on shows by itself."""
        for flight in self._fleet.all():
            if flight.paused and not flight.pause_told and now - flight.paused_at >= PAUSE_SHOWN_SECONDS:
                flight.pause_told = True
                self._seen = (-_DEAD, {})
                self._tools.hub.changed(flight.job)

    async def _renew(self) -> None:
        heard = [(flight.id, flight.job.attempt, flight.own_ms) for flight in self._fleet.all()]
        try:
            await self._jobs.renew(heard)
        except PASSING as error:
            log.error("Could not note that the jobs are alive (%s).", error)
        await self._house.book()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            await self._house.book()
            try:
                await self._tools.pictures.prune()
            except PASSING as error:
                log.error("Housekeeping failed (%s); it is tried again in a minute.", error)
