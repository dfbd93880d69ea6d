"""Carries out at the workers what core/preemption.py decides: who enters, who waits in memory, who goes on.

Keeps relax's credit by what is heard of GPU time. Knows no device and no storage; stores nothing itself.
"""

from collections.abc import Callable, Collection

from bot.scheduling.attempt import Flight
from bot.scheduling.running_jobs import Fleet
from bot.workers.connection import Link
from core.fairness import credited
from core.job import Lane
from core.preemption import Room, Running, arrange, holder, room_in, slice_of

#: Pictures that a worker gets at least, so that a second job can join the first.
MIN_ROWS = 8
_METERED = frozenset({Lane.TURBO, Lane.FAST})
_RELAXED = frozenset({Lane.RELAX})


class Lanes:
    """`queued`: the lanes in which jobs wait. `settled`: the workers for which nothing more can be claimed just now.

    `kick` is called when another lane's job could be claimed.
    """

    def __init__(
        self, fleet: Fleet, *, share: float, running: int, kick: Callable[[], None], monotonic: Callable[[], float]
    ) -> None:
        self.queued: frozenset[Lane] = frozenset()
        self.settled: set[str] = set()
        self.credit_ms = 0.0
        self.kept_ms = 0.0  # of the credit, what is written down
        self._fleet = fleet
        self._share = share
        self._running = running
        self._kick = kick
        self._monotonic = monotonic
        self._holding: dict[str, Lane | None] = {}  # by worker: the lane that has it
        self._asked: dict[str, Lane | None] = {}  # … and the one whose jobs were claimed for it last

    def room(self, link: Link, in_vain: Collection[Lane] = ()) -> Room | None:
        """What the worker can take now; None when it can take nothing.

        `in_vain`: lanes that had nothing for it just now. Only an idle worker turns to the next one then.
        """
        crew = self._crew(link)
        lane = self._asked[link.id] = self._turn(link, crew)
        if in_vain:
            lane = None if crew else holder(self.queued.difference(in_vain), self.credit_ms, None)
        if lane is None:
            return None
        return room_in(
            crew, rows=rows_of(link), lane=lane, warm=frozenset(link.loaded), running_per_account=self._running
        )

    def steer(self, link: Link, coming: Flight | None = None) -> None:
        """Pauses and resumes the worker's jobs. `coming`: about to be ordered, so the others make way for it."""
        crew = self._crew(link, coming)
        shift = arrange(
            crew,
            rows=rows_of(link),
            credit_ms=self.credit_ms,
            holding=self._holding.get(link.id),
            warm=link.loaded,
            expected=() if link.id in self.settled else self.queued,
        )
        self._holding[link.id] = shift.lane
        expected = {job.lane for job in crew if job.queueing}
        for flight in self._fleet.of(link):
            if flight.id in shift.runs:
                flight.go_on()
                flight.displaced = flight.displaced and flight.job.lane in expected
            elif flight.ordered or flight is coming:
                flight.hold(self._monotonic())
        turn, before = self._turn(link, crew), self._asked.get(link.id)
        self._asked[link.id] = turn
        if turn is not before:
            self._kick()

    def heard(self, flight: Flight, gpu_ms: int) -> None:
        """The worker says what the flight's stage took so far. Counts for relax's share.

        Less than before is said of one that begins anew; what it computes again counts again.
        """
        spent, flight.stage_ms = max(0, gpu_ms - flight.stage_ms), gpu_ms
        lane = flight.job.lane
        held_back = self._held_back(_METERED if lane is Lane.RELAX else _RELAXED)
        self.credit_ms = credited(self.credit_ms, lane, spent, held_back=held_back, share=self._share)

    def forget(self, link: Link) -> None:
        """The worker is gone."""
        self._holding.pop(link.id, None)
        self._asked.pop(link.id, None)
        self.settled.discard(link.id)

    def _held_back(self, lanes: frozenset[Lane]) -> bool:
        """Whether a job of these lanes waits, in the queue or in a worker's memory."""
        return bool(self.queued & lanes) or any(f.paused and f.job.lane in lanes for f in self._fleet.all())

    def _turn(self, link: Link, crew: list[Running]) -> Lane | None:
        """The lane whose jobs may be claimed for the worker."""
        relaxed = {job.model for job in crew if job.lane is Lane.RELAX}
        lanes = {job.lane for job in crew} | self.queued
        return holder(lanes, self.credit_ms, self._holding.get(link.id), slice_of(relaxed, link.loaded))

    def _crew(self, link: Link, coming: Flight | None = None) -> list[Running]:
        return [running(flight, ordered=flight.ordered or flight is coming) for flight in self._fleet.of(link)]


def running(flight: Flight, *, ordered: bool) -> Running:
    """A flight as far as the policy is concerned."""
    job = flight.job
    return Running(
        job=job.id,
        lane=job.lane,
        account=job.account.key(),
        model=job.request.model,
        rows=job.request.count,
        booked_ms=job.estimate_ms,
        measured_ms=flight.own_ms,
        solo=job.solo,
        displaced=flight.displaced,
        over=flight.over,
        queueing=not ordered,
    )


def rows_of(link: Link) -> int:
    """Pictures that a worker computes at once."""
    return max(link.rows, MIN_ROWS)
