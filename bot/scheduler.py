"""The only one who decides: which job goes to which worker, who is told to stop, what a lost worker means.

Knows storage's statements and the door's workers; knows nothing of Discord. The row decides: this memory holds only
what a restart may forget.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from bot.conductor import Conductor
from bot.flights import LEASE_SECONDS, Flight, Lost
from bot.house import HouseBook
from bot.hub import Hub, Status, WorkerState
from bot.links import Link, models_in
from bot.losses import judge
from bot.outlook import Estimate, outlook
from bot.pictures import Pictures
from bot.rates import Rates
from bot.steady import PASSING, until_stored
from bot.workers import Door
from core import events
from core.cost import Plan
from core.fairness import Room
from core.job import Job, State
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.settings import Settings

log = logging.getLogger(__name__)

#: Pictures that a worker gets at least, so that a second job can join the first.
MIN_ROWS = 8
#: A worker that was told to drop a job and says nothing for this long: the job ends without its word.
CANCEL_SECONDS = 30.0
#: Jobs that run when the queue is paused may still end for this long.
PAUSE_GRACE_SECONDS = 30.0
#: No event tells of more GPU time than this: a year.
MAX_GPU_MS = 366 * 86_400_000
TICK_SECONDS, RENEW_SECONDS, HOUSEKEEPING_SECONDS = 0.25, 10.0, 60.0
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


class Scheduler:
    """Hears the door (`joined`, `heard`, `lost`, `weather`); is asked by admission and by commands."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._jobs = tools.jobs
        self._flights: dict[str, Flight] = {}
        self._unwanted: set[str] = set()  # cancelled between claim and take-off
        self._disconnects: Counter[str] = Counter()
        self._house = HouseBook(tools.ledger)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._paused_at: float | None = None  # monotonic
        self._draining = False
        self._seen: tuple[float, dict[str, Estimate]] = (-_DEAD, {})
        self._conductor = Conductor(
            jobs=tools.jobs,
            ledger=tools.ledger,
            pictures=tools.pictures,
            rates=tools.rates,
            hub=tools.hub,
            alive=lambda flight: tools.door.links.get(flight.link.id) is flight.link,
            monotonic=tools.monotonic,
        )
        tools.door.listener = self

    # --- life ------------------------------------------------------------------------------------------------------

    async def begin(self) -> list[Job]:
        """Before anything else: takes back what an earlier start left running. Returns those jobs."""
        if await self._tools.settings.state("worker_paused", False):
            self._paused_at = self._tools.monotonic()
        await self._tools.rates.begin()
        await self._tools.pictures.sweep()
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
        while self._flights and (left := until - self._tools.monotonic()) > 0:
            for flight in list(self._flights.values()):
                if self._ends_in(flight) > left:
                    self._recall(flight, "The bot stops.")
            self._idle.clear()
            try:
                async with asyncio.timeout(min(left, TICK_SECONDS)):
                    await self._idle.wait()
            except TimeoutError:
                continue
        for flight in list(self._flights.values()):
            self._recall(flight, "The bot stops.")
        try:
            async with asyncio.timeout(2.0):
                while self._flights:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            log.warning("%d jobs could not be put back; the next start does it.", len(self._flights))
        self._tools.door.stop()
        await self._house.book()
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
        if job := await self._jobs.cancel_waiting(job_id):
            self._tools.hub.changed(job)
            self.kick()
            return job
        job = await self._jobs.get(job_id)
        if job is not None and job.state is State.RUNNING:
            if flight := self._flights.get(job_id):
                self._stop(flight)
            else:
                self._unwanted.add(job_id)
        return job

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
            flights = list(self._flights.values())
            self._seen = (
                now,
                outlook(
                    flights,
                    places,
                    estimates={flight.id: self._tools.rates.estimate_ms(flight.job.request) for flight in flights},
                    pace=self._tools.rates.pace,
                    working=self._tools.door.status is Status.ONLINE and self._paused_at is None,
                ),
            )
        return self._seen[1]

    # --- the door's news -------------------------------------------------------------------------------------------

    def joined(self, link: Link) -> None:
        """A worker is there; orders go out when its model is loaded."""

    def heard(self, link: Link, event: events.Message) -> None:
        """Never waits: what has to be stored goes into the job's own lane."""
        if not 0 <= getattr(event, "gpu_ms", 0) < MAX_GPU_MS:
            self._tools.door.drop(link, "It measures what cannot be.")
            return
        match event:
            case events.Heartbeat():
                self._beat(link, event)
            case events.Progress():
                if (flight := self._flight(link, event)) and flight.ordered:
                    flight.hear_progress(event)
                    if flight.stage is not None and flight.stage.own and flight.cancel_until is None:
                        self._tools.hub.progress(event)
            case events.Started() | events.Picture():
                if (flight := self._flight(link, event)) and flight.ordered:
                    flight.inbox.put_nowait(event)
            case events.Done() | events.Failed() | events.Cancelled():
                if (flight := self._flight(link, event)) and flight.ordered:
                    flight.ordered = False
                    flight.inbox.put_nowait(event)
            case events.HouseTime() if event.cause:
                self._house.add(event.cause, event.gpu_ms)
            case events.Ready() | events.Models():
                self._spawn(self._ready(link, models_in(event)))

    def lost(self, link: Link) -> None:
        """Its jobs wait again, by the rules of bot/losses.py."""
        flights = [flight for flight in self._flights.values() if flight.link is link]
        alone = next((flight.id for flight in flights if len(flights) == 1), "")
        died = link.local or bool(link.why_closed)
        if alone and not died:
            self._disconnects[alone] += 1
        verdict = judge(flights, died=died, meant=self._draining, disconnects=self._disconnects[alone])
        for flight in flights:
            flight.ordered = False
            flight.inbox.put_nowait(verdict[flight.id])
        self.kick()

    def weather(self) -> None:
        """The door's status or the pause changed."""
        self._seen = (-_DEAD, {})
        self._tools.hub.worker(self.worker_state())

    # --- decisions -------------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Claims jobs while a worker has room."""
        for link in list(self._tools.door.links.values()):
            while link.ready and not self._draining and self._paused_at is None and (room := self._room(link)):
                job = await self._jobs.claim(boot=self._tools.boot, worker=link.id, room=room)
                if job is None:
                    break
                self._take_off(job, link)

    def _room(self, link: Link) -> Room | None:
        mine = [flight for flight in self._flights.values() if flight.link is link]
        rows = max(link.rows, MIN_ROWS) - sum(flight.job.request.count for flight in mine)
        if rows <= 0 or any(flight.job.solo for flight in mine):
            return None
        # An empty worker takes any job: one with more pictures than rows is computed in turns.
        return Room(rows=rows if mine else None, alone=not mine, running_per_account=self._tools.plan.running)

    def _take_off(self, job: Job, link: Link) -> None:
        flight = Flight(job=job, link=link, lease_until=self._tools.monotonic() + LEASE_SECONDS)
        self._flights[job.id] = flight
        if job.id in self._unwanted:
            self._stop(flight)
        self._seen = (-_DEAD, {})
        log.info("A job goes to worker %s.", link.id, extra={"job": job.id, "attempt": job.attempt})
        self._tools.hub.changed(job)
        self._spawn(self._fly(flight))

    async def _fly(self, flight: Flight) -> None:
        try:
            await self._conductor.run(flight)
        finally:
            self._flights.pop(flight.id, None)
            self._unwanted.discard(flight.id)
            self._idle.set()
            self.kick()

    def _stop(self, flight: Flight) -> None:
        """A member's wish: the job ends as cancelled, whatever the worker answers."""
        if flight.cancel_until is None:
            flight.cancel_until = self._tools.monotonic() + CANCEL_SECONDS
            flight.recall()

    def _recall(self, flight: Flight, why: str) -> None:
        """Our own wish: the job waits again, unless its last word is already here."""
        flight.grounded = True
        if flight.ordered:
            flight.ordered = False
            flight.recall()
            flight.inbox.put_nowait(Lost(solo=flight.job.solo, why=why))

    def _flight(self, link: Link, event: events.JobEvent) -> Flight | None:
        flight = self._flights.get(event.job)
        if flight is None or flight.link is not link or not flight.concerns(event):
            return None
        flight.renew(self._tools.monotonic())
        return flight

    def _beat(self, link: Link, beat: events.Heartbeat) -> None:
        now = self._tools.monotonic()
        self._tools.rates.hear(link.id, beat, now)
        for job, attempt in beat.jobs:
            flight = self._flights.get(job)
            if flight is not None and flight.link is link and flight.job.attempt == attempt:
                flight.renew(now)

    async def _ready(self, link: Link, models: tuple[events.ModelInfo, ...]) -> None:
        for model in models:
            await until_stored(partial(self._tools.model, model), "remember the model")
            await until_stored(partial(self._tools.rates.use, model.name, link.device), "load what was learned")
        self.kick()

    def _ends_in(self, flight: Flight) -> float:
        left = self._tools.rates.estimate_ms(flight.job.request) * (1.0 - flight.fraction)
        return left * len(self._flights) * self._tools.rates.pace / 1000

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        assert self._tasks is not None, "the scheduler is not running"
        try:
            self._tasks.create_task(work)
        except RuntimeError:
            work.close()  # the bot is stopping: the next start takes it up

    # --- clockwork -------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        before = renewed = self._tools.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._tools.monotonic()
            late, before = now - before - TICK_SECONDS, now
            if late > 1.0:
                # We were asleep, not the workers: what they said meanwhile is not read yet.
                for flight in self._flights.values():
                    flight.lease_until += late
                continue
            self._look_at_leases(now)
            if now - renewed > RENEW_SECONDS and self._flights:
                renewed = now
                await self._renew()
            if self._paused_at is not None and now - self._paused_at > PAUSE_GRACE_SECONDS:
                for flight in list(self._flights.values()):
                    self._recall(flight, "The queue is paused.")

    def _look_at_leases(self, now: float) -> None:
        for flight in list(self._flights.values()):
            if not flight.ordered:
                continue
            if flight.cancel_until is not None and now > flight.cancel_until:
                self._recall(flight, "The worker did not answer.")
            elif now > flight.lease_until:
                flight.ordered = False
                flight.recall()
                # Alive, but without the job: a second time, and alone, that speaks against the job.
                why = "The worker does not have it any more."
                flight.inbox.put_nowait(Lost(strike=flight.job.solo, solo=True, why=why))

    async def _renew(self) -> None:
        heard = [(flight.id, flight.job.attempt, flight.own_ms) for flight in self._flights.values()]
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
