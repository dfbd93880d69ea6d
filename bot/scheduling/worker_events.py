"""Hands each event of a worker to whom it concerns, and says what becomes of a lost worker's jobs. Never waits.

What has to be stored goes into the job's own inbox (job_runner.py); who runs is the matter of lane_control.py.

A worker that dies with several jobs proves nothing about any of them, so each of those runs alone the next time: a
poisonous job then harms only itself. An attempt counts only where the worker died while computing that job alone. A job
that rested in the worker's memory computed nothing, so it is never among them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bot.event_bus import EventBus
from bot.scheduling.attempt import Attempt, Lost
from bot.scheduling.cost_estimator import CostEstimator
from bot.scheduling.lane_control import LaneControl
from bot.scheduling.overhead_usage import OverheadUsage
from bot.scheduling.running_jobs import RunningJobs
from bot.workers import WorkerConnection, WorkerServer, models_in
from core import events

#: No event tells of more GPU time than this: a year.
MAX_GPU_MS = 366 * 86_400_000

#: A far worker's lost connection is no death. But one that is lost this often with the same job alone is.
DISCONNECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEventHandler:
    """The worker server's listener.

    `ready` is told of loaded models, `kick` that jobs may be claimable, `status_changed` of the server's status;
    `draining` says whether a loss is meant.
    """

    running_jobs: RunningJobs
    lane_control: LaneControl
    overhead: OverheadUsage
    costs: CostEstimator
    bus: EventBus
    worker_server: WorkerServer
    ready: Callable[[WorkerConnection, tuple[events.ModelInfo, ...]], None]
    kick: Callable[[], None]
    status_changed: Callable[[], None]
    draining: Callable[[], bool]
    monotonic: Callable[[], float]
    _disconnects: Counter[str] = field(default_factory=Counter)

    def received(self, connection: WorkerConnection, event: events.Message) -> None:
        """One word of a worker."""
        if not 0 <= getattr(event, "gpu_ms", 0) < MAX_GPU_MS:
            self.worker_server.drop(connection, "It reports measurements that are impossible.")
            return
        match event:
            case events.Heartbeat():
                self._beat(connection, event)
            case events.OverheadTime() if event.cause:
                self.overhead.add(event.cause, event.gpu_ms)
            case events.Ready() | events.Models():
                self.ready(connection, models_in(event))
            case events.Progress() | events.Started() | events.Picture():
                self._under_way(connection, event)
            case events.Done() | events.Failed() | events.Cancelled():
                self._last_word(connection, event)

    def lost(self, connection: WorkerConnection) -> None:
        """Its jobs wait again, by the rules above."""
        attempts = self.running_jobs.of(connection)
        maybe = computing(attempts)
        alone = maybe[0].id if len(maybe) == 1 else ""
        died = connection.local or bool(connection.why_closed)
        if alone and not died:
            self._disconnects[alone] += 1
        verdict = outcomes_after_loss(attempts, died=died, meant=self.draining(), disconnects=self._disconnects[alone])
        for attempt in attempts:
            attempt.ordered, attempt.paused, attempt.over = False, False, True
            attempt.inbox.put_nowait(verdict[attempt.id])
        self.lane_control.forget(connection)
        self.kick()

    def _under_way(
        self, connection: WorkerConnection, event: events.Progress | events.Started | events.Picture
    ) -> None:
        attempt = self.running_jobs.find(connection, event)
        if attempt is None or not attempt.ordered:
            return
        if not isinstance(event, events.Progress):
            attempt.inbox.put_nowait(event)
            return
        attempt.progress = event
        self._spent(attempt, event.gpu_ms)
        if attempt.stage is not None and attempt.stage.own and attempt.cancel_until is None:
            self.bus.progress(event)

    def _last_word(self, connection: WorkerConnection, event: events.Done | events.Failed | events.Cancelled) -> None:
        attempt = self.running_jobs.find(connection, event)
        if attempt is not None and attempt.ordered:
            attempt.ordered = attempt.paused = False
            own = attempt.stage is not None and attempt.stage.own
            attempt.over = own or not isinstance(event, events.Done)
            attempt.inbox.put_nowait(event)
            self.lane_control.settled.discard(connection.id)
            # The last word counts, also when it is less: a worker forgives what was lost through no fault of the
            # member. None is what one says that had let go of the job: what was told stands.
            self._spent(attempt, event.gpu_ms or attempt.stage_ms)

    def _spent(self, attempt: Attempt, gpu_ms: int) -> None:
        self.lane_control.measured(attempt, gpu_ms)
        self.lane_control.steer(attempt.connection)

    def _beat(self, connection: WorkerConnection, beat: events.Heartbeat) -> None:
        now = self.monotonic()
        self.costs.observe(connection.id, beat, now)
        for job, number in beat.jobs:
            attempt = self.running_jobs.get(job)
            if attempt is not None and attempt.connection is connection and attempt.job.attempt == number:
                attempt.renew(now)
                attempt.off_gpu = attempt.paused and (attempt.off_gpu or attempt.id not in beat.computing)


def outcomes_after_loss(
    attempts: Sequence[Attempt], *, died: bool, meant: bool, disconnects: int = 0
) -> dict[str, Lost]:
    """What each of the lost worker's jobs gets. `died`: its process ended or hung; `meant`: we told it to go.

    `disconnects`: how often the connection was lost before while the only job here ran alone.
    """
    suspects = computing(attempts)
    if meant:
        return {attempt.id: Lost(solo=attempt.job.solo, why="The worker was stopped.") for attempt in attempts}
    alone = len(suspects) == 1
    strike = alone and (died or disconnects >= DISCONNECTS)
    return {
        attempt.id: Lost(
            strike=strike and attempt in suspects,
            solo=attempt in suspects or attempt.job.solo,
            why="The worker was lost.",
        )
        for attempt in attempts
    }


def computing(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those that the worker may have been computing."""
    return [attempt for attempt in attempts if attempt.ordered and not attempt.off_gpu]
