"""Carries out at the workers what core/preemption.py decides: who enters, who waits in memory, who goes on.

Keeps relax's credit by what workers tell of GPU time. Knows no device and no storage; stores nothing itself.
"""

from collections.abc import Callable, Collection

from bot.scheduling.attempt import Attempt
from bot.scheduling.running_jobs import RunningJobs
from bot.workers import WorkerConnection
from core.fairness import credited
from core.job import Lane
from core.preemption import Capacity, RunningJob, arrange, capacity_of, holder, slice_of

#: Pictures that a worker gets at least, so that a second job can join the first.
MIN_ROWS = 8
_METERED = frozenset({Lane.TURBO, Lane.FAST})
_RELAXED = frozenset({Lane.RELAX})


class LaneControl:
    """`queued`: the lanes in which jobs wait. `settled`: the workers for which nothing more can be claimed just now.

    `kick` is called when another lane's job could be claimed.
    """

    def __init__(
        self,
        running_jobs: RunningJobs,
        *,
        share: float,
        running: int,
        kick: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.queued: frozenset[Lane] = frozenset()
        self.settled: set[str] = set()
        self.credit_ms = 0.0
        self.kept_ms = 0.0  # of the credit, what is written down
        self._running_jobs = running_jobs
        self._share = share
        self._running = running
        self._kick = kick
        self._monotonic = monotonic
        self._holding: dict[str, Lane | None] = {}  # by worker: the lane that has it
        self._asked: dict[str, Lane | None] = {}  # … and the one whose jobs were claimed for it last

    def capacity(self, connection: WorkerConnection, in_vain: Collection[Lane] = ()) -> Capacity | None:
        """What the worker can take now; None when it can take nothing.

        `in_vain`: lanes that had nothing for it just now. Only an idle worker turns to the next one then.
        """
        jobs = self._jobs_on(connection)
        lane = self._asked[connection.id] = self._turn(connection, jobs)
        if in_vain:
            lane = None if jobs else holder(self.queued.difference(in_vain), self.credit_ms, None)
        if lane is None:
            return None
        return capacity_of(
            jobs,
            rows=rows_of(connection),
            lane=lane,
            warm=frozenset(connection.loaded),
            running_per_account=self._running,
        )

    def steer(self, connection: WorkerConnection, coming: Attempt | None = None) -> None:
        """Pauses and resumes the worker's jobs. `coming`: about to be ordered, so the others make way for it."""
        jobs = self._jobs_on(connection, coming)
        shift = arrange(
            jobs,
            rows=rows_of(connection),
            credit_ms=self.credit_ms,
            holding=self._holding.get(connection.id),
            warm=connection.loaded,
            expected=() if connection.id in self.settled else self.queued,
        )
        self._holding[connection.id] = shift.lane
        expected = {job.lane for job in jobs if job.queueing}
        for attempt in self._running_jobs.of(connection):
            if attempt.id in shift.runs:
                attempt.go_on()
                attempt.displaced = attempt.displaced and attempt.job.lane in expected
            elif attempt.ordered or attempt is coming:
                attempt.hold(self._monotonic())
        turn, before = self._turn(connection, jobs), self._asked.get(connection.id)
        self._asked[connection.id] = turn
        if turn is not before:
            self._kick()

    def measured(self, attempt: Attempt, gpu_ms: int) -> None:
        """The worker says what the attempt's stage took so far. Counts for relax's share.

        Less than before is said of one that begins anew; what it computes again counts again.
        """
        spent, attempt.stage_ms = max(0, gpu_ms - attempt.stage_ms), gpu_ms
        lane = attempt.job.lane
        held_back = self._held_back(_METERED if lane is Lane.RELAX else _RELAXED)
        self.credit_ms = credited(self.credit_ms, lane, spent, held_back=held_back, share=self._share)

    def forget(self, connection: WorkerConnection) -> None:
        """The worker is gone."""
        self._holding.pop(connection.id, None)
        self._asked.pop(connection.id, None)
        self.settled.discard(connection.id)

    def _held_back(self, lanes: frozenset[Lane]) -> bool:
        """Whether a job of these lanes waits, in the queue or in a worker's memory."""
        return bool(self.queued & lanes) or any(
            attempt.paused and attempt.job.lane in lanes for attempt in self._running_jobs.all()
        )

    def _turn(self, connection: WorkerConnection, jobs: list[RunningJob]) -> Lane | None:
        """The lane whose jobs may be claimed for the worker."""
        relaxed = {job.model for job in jobs if job.lane is Lane.RELAX}
        lanes = {job.lane for job in jobs} | self.queued
        return holder(lanes, self.credit_ms, self._holding.get(connection.id), slice_of(relaxed, connection.loaded))

    def _jobs_on(self, connection: WorkerConnection, coming: Attempt | None = None) -> list[RunningJob]:
        return [
            running(attempt, ordered=attempt.ordered or attempt is coming)
            for attempt in self._running_jobs.of(connection)
        ]


def running(attempt: Attempt, *, ordered: bool) -> RunningJob:
    """An attempt as far as the policy is concerned."""
    job = attempt.job
    return RunningJob(
        job=job.id,
        lane=job.lane,
        account=job.account.key(),
        model=job.request.model,
        rows=job.request.count,
        booked_ms=job.estimate_ms,
        measured_ms=attempt.own_ms,
        solo=job.solo,
        displaced=attempt.displaced,
        over=attempt.over,
        queueing=not ordered,
    )


def rows_of(connection: WorkerConnection) -> int:
    """Pictures that a worker computes at once."""
    return max(connection.rows, MIN_ROWS)
