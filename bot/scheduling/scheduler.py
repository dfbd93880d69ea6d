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

from bot.event_bus import EventBus, Status, WorkerState
from bot.image_store import ImageStore
from bot.scheduling.attempt import LEASE_SECONDS, Attempt
from bot.scheduling.cost_estimator import CostEstimator
from bot.scheduling.job_runner import JobRunner
from bot.scheduling.lane_control import LaneControl
from bot.scheduling.overhead_usage import OverheadUsage
from bot.scheduling.queue_estimate import Estimate, RemainingWork, estimates
from bot.scheduling.running_jobs import RunningJobs
from bot.scheduling.worker_events import WorkerEventHandler
from bot.storage_retry import PASSING, until_stored
from bot.workers.connection import WorkerConnection
from bot.workers.server import WorkerServer
from core import events
from core.cost import AccountPlan
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
    images: ImageStore
    bus: EventBus
    worker_server: WorkerServer
    costs: CostEstimator
    plan: AccountPlan
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
        self._running_jobs = RunningJobs(tools.monotonic)
        self._unwanted: set[str] = set()  # cancelled between claim and take-off
        self._overhead = OverheadUsage(tools.ledger)
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._paused_at: float | None = None  # monotonic
        self._draining = False
        self._seen: tuple[float, dict[str, Estimate]] = (-_DEAD, {})
        self._lanes = LaneControl(
            self._running_jobs,
            share=tools.relax_share,
            running=tools.plan.running,
            kick=self.kick,
            monotonic=tools.monotonic,
        )
        self._job_runner = JobRunner(
            jobs=tools.jobs,
            ledger=tools.ledger,
            images=tools.images,
            costs=tools.costs,
            bus=tools.bus,
            alive=lambda attempt: tools.worker_server.connections.get(attempt.connection.id) is attempt.connection,
            coming=lambda attempt: self._lanes.steer(attempt.connection, attempt),
            monotonic=tools.monotonic,
        )
        tools.worker_server.listener = WorkerEventHandler(
            running_jobs=self._running_jobs,
            lanes=self._lanes,
            house=self._overhead,
            costs=tools.costs,
            bus=tools.bus,
            worker_server=tools.worker_server,
            ready=lambda connection, models: self._spawn(self._ready(connection, models)),
            kick=self.kick,
            status_changed=self.status_changed,
            draining=lambda: self._draining,
            monotonic=tools.monotonic,
        )

    # --- life ------------------------------------------------------------------------------------------------------

    async def begin(self) -> list[Job]:
        """Before anything else: takes back what an earlier start left running. Returns those jobs."""
        if await self._tools.settings.state("worker_paused", False):
            self._paused_at = self._tools.monotonic()
        await self._tools.costs.begin()
        await self._tools.images.sweep()
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
            tasks.create_task(self._housekeeping())
            self.kick()
            while True:
                await self._wake.wait()
                self._wake.clear()
                await until_stored(self._fill, "claim a job")

    async def drain(self, seconds: float) -> None:
        """Takes nothing new. Jobs that can end in time do; the others go back into the queue, uncounted."""
        self._draining = True
        until = self._tools.monotonic() + seconds
        while self._running_jobs and (left := until - self._tools.monotonic()) > 0:
            for attempt in self._running_jobs.all():
                if self._ends_in(attempt) > left:
                    self._running_jobs.recall(attempt, "The bot stops.")
            await self._wait_for_end(min(left, TICK_SECONDS))
        for attempt in self._running_jobs.all():
            self._running_jobs.recall(attempt, "The bot stops.")
        until = self._tools.monotonic() + 2.0
        while self._running_jobs and (left := until - self._tools.monotonic()) > 0:
            await self._wait_for_end(left)
        if self._running_jobs:
            log.warning("%d jobs could not be put back; the next start does it.", len(self._running_jobs))
        self._tools.worker_server.stop()
        await self._overhead.book()
        await self._keep_credit()
        try:
            await self._tools.costs.keep()
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
                self._tools.bus.changed(job)
                self.kick()
                return job
            if job := await self._jobs.request_cancel(job_id):
                self._tools.bus.changed(job)
                if attempt := self._running_jobs.get(job_id):
                    self._running_jobs.stop(attempt)
                else:
                    self._unwanted.add(job_id)
                return job
        return await self._jobs.get(job_id)

    async def pause(self) -> None:
        """No job starts any more, also after a restart. Running ones may end for a while, then they wait again."""
        await self._tools.settings.put_state("worker_paused", True)
        if self._paused_at is None:
            self._paused_at = self._tools.monotonic()
        self.status_changed()

    async def resume(self) -> None:
        """Jobs start again."""
        await self._tools.settings.put_state("worker_paused", False)
        self._paused_at = None
        self.status_changed()
        self.kick()

    def worker_state(self) -> WorkerState:
        """How the GPU's side stands."""
        worker_server, paused = self._tools.worker_server, self._paused_at is not None
        return WorkerState(
            status=worker_server.status,
            paused=paused,
            since=worker_server.since,
            sentence=worker_server.sentence,
            stopping=self._draining,
        )

    async def estimate(self, job: Job) -> Estimate:
        """Where the job stands and about when it ends."""
        if job.is_final:
            return Estimate(place=0)
        if job.id not in self._seen[1]:
            self._seen = (-_DEAD, {})
        return (await self.estimates()).get(job.id, Estimate(place=0))

    async def estimates(self) -> dict[str, Estimate]:
        """Of all waiting and running jobs; at most half a second old."""
        now = self._tools.monotonic()
        if now - self._seen[0] > _OUTLOOK_SECONDS:
            places = await self._jobs.places()
            attempts = self._running_jobs.all()
            self._seen = (
                now,
                estimates(
                    [self._remaining(attempt, now) for attempt in attempts],
                    places,
                    share=self._tools.relax_share,
                    pace=self._tools.costs.pace,
                    working=self._tools.worker_server.status is Status.ONLINE and self._paused_at is None,
                ),
            )
        return self._seen[1]

    def status_changed(self) -> None:
        """The door's status or the pause changed."""
        self._seen = (-_DEAD, {})
        self._tools.bus.worker(self.worker_state())

    # --- decisions -------------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Claims jobs while a worker has room."""
        await self._look_at_queue()
        for connection in list(self._tools.worker_server.connections.values()):
            in_vain: list[Lane] = []
            while self._may_claim(connection) and (capacity := self._lanes.capacity(connection, in_vain)):
                claim = await self._jobs.claim(boot=self._tools.boot, worker=connection.id, capacity=capacity)
                if claim is not None:
                    self._start_attempt(claim, connection)
                    await self._look_at_queue()
                elif capacity.lane is not None:
                    in_vain.append(capacity.lane)
            if connection.ready:
                self._lanes.settled.add(connection.id)
                self._lanes.steer(connection)

    def _may_claim(self, connection: WorkerConnection) -> bool:
        there = (
            self._tools.worker_server.connections.get(connection.id) is connection
        )  # it may be gone since the last claim for it
        return there and connection.ready and not self._draining and self._paused_at is None

    async def _look_at_queue(self) -> None:
        self._lanes.queued = await self._jobs.waiting_lanes(self._tools.plan.running)

    def _start_attempt(self, claim: Claim, connection: WorkerConnection) -> None:
        job = claim.job
        attempt = Attempt(job=job, connection=connection, lease_until=self._tools.monotonic() + LEASE_SECONDS)
        self._running_jobs.add(attempt)
        for displaced in claim.displaced:
            if (other := self._running_jobs.get(displaced)) is not None:
                other.displaced = True
        if job.id in self._unwanted:
            self._running_jobs.stop(attempt)
        self._seen = (-_DEAD, {})
        log.info("A job goes to worker %s.", connection.id, extra={"job": job.id, "attempt": job.attempt})
        self._tools.bus.changed(job)
        self._spawn(self._run_attempt(attempt))

    async def _run_attempt(self, attempt: Attempt) -> None:
        try:
            await self._job_runner.run(attempt)
        finally:
            self._running_jobs.remove(attempt)
            self._unwanted.discard(attempt.id)
            self.kick()

    async def _ready(self, connection: WorkerConnection, models: tuple[events.ModelInfo, ...]) -> None:
        for model in models:
            await until_stored(partial(self._tools.model, model), "remember the model")
            await until_stored(partial(self._tools.costs.use, model.name, connection.device), "load what was learned")
        self.kick()

    def _remaining(self, attempt: Attempt, now: float) -> RemainingWork:
        left = self._tools.costs.estimate_ms(attempt.job.request) * (1.0 - attempt.fraction)
        paused = attempt.paused and now - attempt.paused_at >= PAUSE_SHOWN_SECONDS
        return RemainingWork(job=attempt.id, lane=attempt.job.lane, left_ms=left, paused=paused)

    def _ends_in(self, attempt: Attempt) -> float:
        now = self._tools.monotonic()
        lefts = {other.id: self._remaining(other, now).left_ms for other in self._running_jobs.all()}
        together = sum(lefts.values()) if attempt.paused else lefts[attempt.id] * len(lefts)
        return together * self._tools.costs.pace / 1000

    async def _wait_for_end(self, seconds: float) -> None:
        """Until a flight ends, or the time is over."""
        self._running_jobs.ended.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._running_jobs.ended.wait()
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
                for attempt in self._running_jobs.all():
                    attempt.lease_until += late
                continue
            self._running_jobs.look_at_leases(now)
            self._tell_of_pauses(now)
            if now - looked > LOOK_SECONDS:
                looked = now
                await self._look()
            if now - renewed > RENEW_SECONDS and self._running_jobs:
                renewed = now
                await self._renew()
            if self._paused_at is not None and now - self._paused_at > PAUSE_GRACE_SECONDS:
                for attempt in self._running_jobs.all():
                    self._running_jobs.recall(attempt, "The queue is paused.")

    async def _look(self) -> None:
        await self._keep_credit()
        if self._running_jobs and self._lanes.queued:
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
        for attempt in self._running_jobs.all():
            if attempt.paused and not attempt.pause_told and now - attempt.paused_at >= PAUSE_SHOWN_SECONDS:
                attempt.pause_told = True
                self._seen = (-_DEAD, {})
                self._tools.bus.changed(attempt.job)

    async def _renew(self) -> None:
        heard = [(attempt.id, attempt.job.attempt, attempt.own_ms) for attempt in self._running_jobs.all()]
        try:
            await self._jobs.renew(heard)
        except PASSING as error:
            log.error("Could not note that the jobs are alive (%s).", error)
        await self._overhead.book()

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            await self._overhead.book()
            try:
                await self._tools.images.prune()
            except PASSING as error:
                log.error("Housekeeping failed (%s); it is tried again in a minute.", error)
