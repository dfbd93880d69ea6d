"""Hands each event of a worker to whom it concerns, and says what becomes of a lost worker's jobs. Never waits.

What has to be stored goes into the job's own inbox (job_runner.py); who runs is the matter of lane_control.py.

A worker that dies with several jobs proves nothing about any of them, so each of those runs alone the next time: a
poisonous job then harms only itself. An attempt counts only where the worker died while computing that job alone. A job
that rested in the worker's memory computed nothing, so it is never among them. Where a worker was dropped for one
job's picture, that job is known: the others go on as they were, and it is given up when that happens again.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bot.event_bus import EventBus
from bot.scheduling.attempt import EVENT_BYTES, Attempt, Lost
from bot.scheduling.cost_estimator import CostEstimator
from bot.scheduling.lane_control import LaneControl
from bot.scheduling.overhead_usage import OverheadUsage
from bot.scheduling.running_jobs import RunningJobs
from bot.workers import WorkerConnection, WorkerServer, models_in
from core import events
from core.bounded_dict import BoundedDict

log = logging.getLogger(__name__)

#: A far worker's lost connection is no death. But one that is lost this often with the same job alone is.
DISCONNECTS = 5
#: Pictures of a job that were none, before it is given up.
BAD_PICTURES = 2
#: The worker's machine may have gone on while this one slept.
CLOCKS_APART_MS = 600_000
_REMEMBERED = 1000
SPOILT = (
    "The worker sent a picture that is damaged or of another size, and so did the next try. "
    "Please try another size, and tell the bot's owner."
)


_Told = TypeVar("_Told", bound=events.Progress | events.Done | events.Failed | events.Cancelled)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEventHandler:
    """The worker server's listener.

    `ready` is told of loaded models, in a task that `spawn` begins; `kick` that jobs may be claimable; `status_changed`
    of the server's status. `draining` says whether a loss is meant.
    """

    running_jobs: RunningJobs
    lane_control: LaneControl
    overhead: OverheadUsage
    costs: CostEstimator
    bus: EventBus
    worker_server: WorkerServer
    ready: Callable[[WorkerConnection, tuple[events.ModelInfo, ...]], Awaitable[None]]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    kick: Callable[[], None]
    status_changed: Callable[[], None]
    draining: Callable[[], bool]
    monotonic: Callable[[], float]
    _disconnects: Counter[str] = field(default_factory=Counter)
    _bad_pictures: BoundedDict[str, int] = field(default_factory=lambda: BoundedDict(_REMEMBERED))
    _telling: Counter[str] = field(default_factory=Counter)  # by worker: what it said of models and nobody has kept yet

    def received(self, connection: WorkerConnection, event: events.Message) -> None:
        """One word of a worker."""
        match event:
            case events.Heartbeat():
                self._beat(connection, event)
            case events.OverheadTime() if event.cause:
                self.overhead.add(event.cause, event.gpu_ms)
            case events.Ready() | events.Models():
                self._telling[connection.id] += 1
                self.spawn(self._tell_models(connection, models_in(event)))
            case events.Progress() | events.Started() | events.Picture():
                self._under_way(connection, event)
            case events.Done() | events.Failed() | events.Cancelled():
                self._last_word(connection, event)

    def unstored(self, connection: WorkerConnection) -> int:
        """Bytes that it sent and that are in memory only."""
        waiting = sum(attempt.unstored for attempt in self.running_jobs.of(connection))
        return waiting + self._telling[connection.id] * EVENT_BYTES

    async def _tell_models(self, connection: WorkerConnection, models: tuple[events.ModelInfo, ...]) -> None:
        """Whatever comes of it, the bot goes on."""
        try:
            await self.ready(connection, models)
        except Exception:
            log.exception("What worker %s said of its models could not be kept.", connection.id)
        finally:
            self._telling.subtract([connection.id])
            if not self._telling[connection.id]:
                del self._telling[connection.id]
            connection.stored()

    def lost(self, connection: WorkerConnection) -> None:
        """Its jobs wait again, by the rules above."""
        attempts = self.running_jobs.of(connection)
        if connection.culprit and not self.draining():
            self._take_back(attempts, connection.culprit)
        else:
            self._lose(attempts, connection)
        self.lane_control.forget(connection)
        self.kick()

    def _take_back(self, attempts: Sequence[Attempt], culprit: str) -> None:
        self._bad_pictures[culprit] = self._bad_pictures.get(culprit, 0) + 1
        for attempt in attempts:
            outcome: Lost | events.Failed = Lost(solo=attempt.job.solo, why="The worker was dropped.")
            if attempt.id == culprit and self._bad_pictures[culprit] >= BAD_PICTURES:
                outcome = spoilt(attempt)
            _end(attempt, outcome)

    def _lose(self, attempts: Sequence[Attempt], connection: WorkerConnection) -> None:
        maybe = computing(attempts)
        alone = maybe[0].id if len(maybe) == 1 else ""
        died = connection.local or bool(connection.why_closed)
        if alone and not died:
            self._disconnects[alone] += 1
        verdict = outcomes_after_loss(attempts, died=died, meant=self.draining(), disconnects=self._disconnects[alone])
        for attempt in attempts:
            _end(attempt, verdict[attempt.id])

    def _under_way(
        self, connection: WorkerConnection, event: events.Progress | events.Started | events.Picture
    ) -> None:
        attempt = self.running_jobs.find(connection, event)
        if attempt is None or not attempt.ordered:
            return
        if not isinstance(event, events.Progress):
            attempt.put(event)
            return
        event = self._possible(attempt, event)
        attempt.progress = event
        self._spent(attempt, event.gpu_ms)
        if attempt.stage is not None and attempt.stage.own and attempt.cancel_until is None:
            self.bus.progress(event)

    def _last_word(self, connection: WorkerConnection, event: events.Done | events.Failed | events.Cancelled) -> None:
        attempt = self.running_jobs.find(connection, event)
        if attempt is not None and attempt.ordered:
            event = self._possible(attempt, event)
            attempt.ordered = attempt.paused = False
            own = attempt.stage is not None and attempt.stage.own
            attempt.over = own or not isinstance(event, events.Done)
            attempt.put(event)
            self.lane_control.settled.discard(connection.id)
            # The last word counts, also when it is less: a worker forgives what was lost through no fault of the
            # member. None is what one says that had let go of the job: what was told stands.
            self._spent(attempt, event.gpu_ms or attempt.stage_ms)

    def _possible(self, attempt: Attempt, event: _Told) -> _Told:
        """With no more GPU time than has passed since its order: all later jobs are priced by what this one took."""
        most = round((self.monotonic() - attempt.ordered_at) * 1000) + CLOCKS_APART_MS
        if event.gpu_ms <= most:
            return event
        log.warning("A worker told of %d ms of GPU time, which cannot be.", event.gpu_ms, extra={"job": attempt.id})
        return replace(event, gpu_ms=most)

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


def _end(attempt: Attempt, outcome: Lost | events.Failed) -> None:
    attempt.ordered, attempt.paused, attempt.over = False, False, True
    attempt.put(outcome)


def spoilt(attempt: Attempt) -> events.Failed:
    """The end of a job whose pictures come damaged, or of another size, again and again."""
    return events.Failed(
        job=attempt.id,
        attempt=attempt.job.attempt,
        kind=events.FailureKind.ERROR,
        sentence=SPOILT,
        gpu_ms=attempt.own_ms,
    )


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
