"""The only one who decides: which job goes to which worker, who pauses, who is told to stop.

Knows storage's statements and the connected workers; knows nothing of Discord. The row decides: the memory here holds
only what a restart may forget. What workers say comes by worker_events.py, what they are told goes by lane_control.py;
the rules are core's.
"""

import asyncio
import logging
from functools import partial

from bot.event_bus import Status, WorkerState
from bot.resources import Resources
from bot.scheduling.attempt import LEASE_SECONDS, Attempt
from bot.scheduling.cost_estimator import CostEstimator
from bot.scheduling.housekeeping import Housekeeping
from bot.scheduling.job_runner import JobRunner
from bot.scheduling.lane_control import LaneControl
from bot.scheduling.overhead_usage import OverheadUsage
from bot.scheduling.queue_estimate import Estimate, RemainingWork, estimates
from bot.scheduling.running_jobs import RunningJobs
from bot.scheduling.worker_events import WorkerEventHandler
from bot.storage_retry import PASSING, until_stored
from bot.workers import WorkerConnection, WorkerServer
from core import events
from core.job import Job, Lane
from core.suspend_detection import SuspendDetector
from storage.jobs import Claim

log = logging.getLogger(__name__)

#: Jobs that run when the queue is paused may still end for this long.
PAUSE_GRACE_SECONDS = 30.0
#: A job that is paused for this long says so; a slice of relax's share is shorter.
PAUSE_SHOWN_SECONDS = 3.0
TICK_SECONDS, RENEW_SECONDS = 0.25, 10.0
#: How often relax's credit is kept, and a job that waits may displace one of its lane.
LOOK_SECONDS = 1.0
_ESTIMATE_SECONDS = 0.5
_DEAD = 1e12


class Scheduler:
    """Is asked by admission and by commands, and told of workers' events. `boot` names this start of the bot."""

    def __init__(self, resources: Resources, costs: CostEstimator, worker_server: WorkerServer, *, boot: str) -> None:
        self._resources = resources
        self._costs = costs
        self._worker_server = worker_server
        self._boot = boot
        self._jobs = resources.jobs
        self._running_jobs = RunningJobs(resources.monotonic)
        self._unwanted: set[str] = set()  # cancelled between its claim and the start of its attempt
        self._overhead = OverheadUsage(resources.ledger)
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._paused_at: float | None = None  # monotonic
        self._draining = False
        self._seen: tuple[float, dict[str, Estimate]] = (-_DEAD, {})
        self._lane_control = LaneControl(
            self._running_jobs,
            share=resources.config.relax_share,
            running=resources.plan.running,
            kick=self.kick,
            monotonic=resources.monotonic,
        )
        self._job_runner = JobRunner(
            resources,
            costs,
            alive=lambda attempt: worker_server.connections.get(attempt.connection.id) is attempt.connection,
            coming=lambda attempt: self._lane_control.steer(attempt.connection, attempt),
        )
        worker_server.listener = WorkerEventHandler(
            running_jobs=self._running_jobs,
            lane_control=self._lane_control,
            overhead=self._overhead,
            costs=costs,
            bus=resources.bus,
            worker_server=worker_server,
            ready=self._ready,
            spawn=self._spawn,
            kick=self.kick,
            status_changed=self.status_changed,
            draining=lambda: self._draining,
            monotonic=resources.monotonic,
        )

    # --- life ------------------------------------------------------------------------------------------------------

    async def begin(self) -> list[Job]:
        """Before anything else: takes back what an earlier start left running. Returns those jobs."""
        if await self._resources.settings.state("worker_paused", False):
            self._paused_at = self._resources.monotonic()
        await self._costs.begin()
        self._lane_control.credit_ms = self._lane_control.kept_ms = await self._jobs.credit()
        returned = await self._jobs.new_boot(self._boot)
        if returned:
            log.info("%d jobs that an earlier start left running are waiting again.", len(returned))
        return returned

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._tick())
            tasks.create_task(Housekeeping(self._resources, self._overhead.book).run())
            self.kick()
            while True:
                await self._wake.wait()
                self._wake.clear()
                await until_stored(self._fill, "claim a job")

    async def drain(self, seconds: float) -> None:
        """Takes nothing new. Jobs that can end in time do; the others go back into the queue, uncounted."""
        self._draining = True
        until = self._resources.monotonic() + seconds
        while self._running_jobs and (left := until - self._resources.monotonic()) > 0:
            for attempt in self._running_jobs.all():
                if self._ends_in(attempt) > left:
                    self._running_jobs.recall(attempt, "The bot is stopping.")
            await self._wait_for_end(min(left, TICK_SECONDS))
        for attempt in self._running_jobs.all():
            self._running_jobs.recall(attempt, "The bot is stopping.")
        until = self._resources.monotonic() + 2.0
        while self._running_jobs and (left := until - self._resources.monotonic()) > 0:
            await self._wait_for_end(left)
        if self._running_jobs:
            log.warning("%d jobs could not be put back; the next start does it.", len(self._running_jobs))
        self._worker_server.stop()
        await self._overhead.book()
        await self._keep_credit()
        try:
            await self._costs.keep()
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
                self._resources.bus.changed(job)
                self.kick()
                return job
            if job := await self._jobs.request_cancel(job_id):
                self._resources.bus.changed(job)
                if attempt := self._running_jobs.get(job_id):
                    self._running_jobs.stop(attempt)
                else:
                    self._unwanted.add(job_id)
                return job
        return await self._jobs.get(job_id)

    async def take_back(self, job_id: str, sentence: str) -> None:
        """A job that was admitted in vain: it fails with this sentence, free of charge, also where it runs already."""
        if job := await self._jobs.fail(job_id, None, sentence):
            self._resources.bus.changed(job)
            self.kick()
            return
        if attempt := self._running_jobs.get(job_id):
            attempt.taken_back = sentence
        await self.cancel(job_id)

    async def pause(self) -> None:
        """No job starts any more, also after a restart. Running ones may end for a while, then they wait again."""
        await self._resources.settings.put_state("worker_paused", True)
        if self._paused_at is None:
            self._paused_at = self._resources.monotonic()
        self.status_changed()

    async def resume(self) -> None:
        """Jobs start again."""
        await self._resources.settings.put_state("worker_paused", False)
        self._paused_at = None
        self.status_changed()
        self.kick()

    def worker_state(self) -> WorkerState:
        """How the GPU's side stands."""
        worker_server, paused = self._worker_server, self._paused_at is not None
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
        now = self._resources.monotonic()
        if now - self._seen[0] > _ESTIMATE_SECONDS:
            places = await self._jobs.places()
            attempts = self._running_jobs.all()
            self._seen = (
                now,
                estimates(
                    [self._remaining(attempt, now) for attempt in attempts],
                    places,
                    share=self._resources.config.relax_share,
                    pace=self._costs.pace,
                    working=self._worker_server.status is Status.ONLINE and self._paused_at is None,
                ),
            )
        return self._seen[1]

    def status_changed(self) -> None:
        """The worker server's status or the pause changed."""
        self._seen = (-_DEAD, {})
        self._resources.bus.worker(self.worker_state())

    # --- decisions -------------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Claims jobs while a worker has room."""
        await self._look_at_queue()
        for connection in list(self._worker_server.connections.values()):
            in_vain: list[Lane] = []
            while self._may_claim(connection) and (capacity := self._lane_control.capacity(connection, in_vain)):
                claim = await self._jobs.claim(boot=self._boot, worker=connection.id, capacity=capacity)
                if claim is not None:
                    self._start_attempt(claim, connection)
                    await self._look_at_queue()
                elif capacity.lane is not None:
                    in_vain.append(capacity.lane)
            if connection.ready:
                self._lane_control.settled.add(connection.id)
                self._lane_control.steer(connection)

    def _may_claim(self, connection: WorkerConnection) -> bool:
        there = (
            self._worker_server.connections.get(connection.id) is connection
        )  # it may be gone since the last claim for it
        return there and connection.ready and not self._draining and self._paused_at is None

    async def _look_at_queue(self) -> None:
        self._lane_control.queued = await self._jobs.waiting_lanes(self._resources.plan.running)

    def _start_attempt(self, claim: Claim, connection: WorkerConnection) -> None:
        job = claim.job
        attempt = Attempt(job=job, connection=connection, lease_until=self._resources.monotonic() + LEASE_SECONDS)
        self._running_jobs.add(attempt)
        for displaced in claim.displaced:
            if (other := self._running_jobs.get(displaced)) is not None:
                other.displaced = True
        if job.id in self._unwanted:
            self._running_jobs.stop(attempt)
        self._seen = (-_DEAD, {})
        log.info("A job goes to worker %s.", connection.id, extra={"job": job.id, "attempt": job.attempt})
        self._resources.bus.changed(job)
        self._spawn(self._run_attempt(attempt))

    async def _run_attempt(self, attempt: Attempt) -> None:
        try:
            await self._job_runner.run(attempt)
        finally:
            self._running_jobs.remove(attempt)
            self._unwanted.discard(attempt.id)
            self.kick()

    async def _ready(self, connection: WorkerConnection, models: tuple[events.ModelInfo, ...]) -> None:
        await until_stored(partial(self._resources.model_registry.told, *models), "remember the models")
        for model in models:
            await until_stored(partial(self._costs.use, model.name, connection.device), "load what was learned")
        self.kick()

    def _remaining(self, attempt: Attempt, now: float) -> RemainingWork:
        left = self._costs.estimate_ms(attempt.job.request) * (1.0 - attempt.fraction)
        paused = attempt.paused and now - attempt.paused_at >= PAUSE_SHOWN_SECONDS
        return RemainingWork(job=attempt.id, lane=attempt.job.lane, left_ms=left, paused=paused)

    def _ends_in(self, attempt: Attempt) -> float:
        now = self._resources.monotonic()
        lefts = {other.id: self._remaining(other, now).left_ms for other in self._running_jobs.all()}
        together = sum(lefts.values()) if attempt.paused else lefts[attempt.id] * len(lefts)
        return together * self._costs.pace / 1000

    async def _wait_for_end(self, seconds: float) -> None:
        """Until an attempt ends, or the time is over."""
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
        renewed = looked = self._resources.monotonic()
        suspension = SuspendDetector(looked, TICK_SECONDS)
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._resources.monotonic()
            if late := suspension.suspended_seconds(now):
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
        if self._running_jobs and self._lane_control.queued:
            self._wake.set()

    async def _keep_credit(self) -> None:
        credit = self._lane_control.credit_ms
        if credit != self._lane_control.kept_ms:
            try:
                await self._jobs.keep_credit(credit)
                self._lane_control.kept_ms = credit
            except PASSING as error:
                log.error("Relax's credit could not be saved (%s); trying again.", error)

    def _tell_of_pauses(self, now: float) -> None:
        """A pause that lasts is shown; going on shows by itself."""
        for attempt in self._running_jobs.all():
            if attempt.paused and not attempt.pause_told and now - attempt.paused_at >= PAUSE_SHOWN_SECONDS:
                attempt.pause_told = True
                self._seen = (-_DEAD, {})
                self._resources.bus.changed(attempt.job)

    async def _renew(self) -> None:
        alive = [(attempt.id, attempt.job.attempt, attempt.own_ms) for attempt in self._running_jobs.all()]
        try:
            await self._jobs.renew(alive)
        except PASSING as error:
            log.error("Could not note that the jobs are alive (%s).", error)
        await self._overhead.book()
