"""Hears what the door's workers say, and hands each word to whom it concerns. Never waits; decides nothing itself.

What has to be stored goes into the job's own inbox (job_runner.py); what becomes of a lost worker's jobs is the matter
of worker_loss.py, who runs that of lane_control.py.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.event_bus import Hub
from bot.scheduling.attempt import Flight
from bot.scheduling.cost_estimator import Rates
from bot.scheduling.lane_control import Lanes
from bot.scheduling.overhead_usage import HouseBook
from bot.scheduling.running_jobs import Fleet
from bot.scheduling.worker_loss import judge, suspected
from bot.workers.connection import Link, models_in
from bot.workers.server import Door
from core import events

#: No event tells of more GPU time than this: a year.
MAX_GPU_MS = 366 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """The door's listener.

    `ready` is told of loaded models, `kick` that jobs may be claimable, `weather` of the door's status; `draining`
    says whether a loss is meant.
    """

    fleet: Fleet
    lanes: Lanes
    house: HouseBook
    rates: Rates
    hub: Hub
    door: Door
    ready: Callable[[Link, tuple[events.ModelInfo, ...]], None]
    kick: Callable[[], None]
    weather: Callable[[], None]
    draining: Callable[[], bool]
    monotonic: Callable[[], float]
    _disconnects: Counter[str] = field(default_factory=Counter)

    def joined(self, link: Link) -> None:
        """A worker is there; orders go out when its model is loaded."""

    def heard(self, link: Link, event: events.Message) -> None:
        """One word of a worker."""
        if not 0 <= getattr(event, "gpu_ms", 0) < MAX_GPU_MS:
            self.door.drop(link, "It measures what cannot be.")
            return
        match event:
            case events.Heartbeat():
                self._beat(link, event)
            case events.HouseTime() if event.cause:
                self.house.add(event.cause, event.gpu_ms)
            case events.Ready() | events.Models():
                self.ready(link, models_in(event))
            case events.Progress() | events.Started() | events.Picture():
                self._under_way(link, event)
            case events.Done() | events.Failed() | events.Cancelled():
                self._last_word(link, event)

    def lost(self, link: Link) -> None:
        """Its jobs wait again, by the rules of bot/scheduling/worker_loss.py."""
        flights = self.fleet.of(link)
        maybe = suspected(flights)
        alone = maybe[0].id if len(maybe) == 1 else ""
        died = link.local or bool(link.why_closed)
        if alone and not died:
            self._disconnects[alone] += 1
        verdict = judge(flights, died=died, meant=self.draining(), disconnects=self._disconnects[alone])
        for flight in flights:
            flight.ordered, flight.paused, flight.over = False, False, True
            flight.inbox.put_nowait(verdict[flight.id])
        self.lanes.forget(link)
        self.kick()

    def _under_way(self, link: Link, event: events.Progress | events.Started | events.Picture) -> None:
        flight = self.fleet.find(link, event)
        if flight is None or not flight.ordered:
            return
        if not isinstance(event, events.Progress):
            flight.inbox.put_nowait(event)
            return
        flight.progress = event
        self._spent(flight, event.gpu_ms)
        if flight.stage is not None and flight.stage.own and flight.cancel_until is None:
            self.hub.progress(event)

    def _last_word(self, link: Link, event: events.Done | events.Failed | events.Cancelled) -> None:
        flight = self.fleet.find(link, event)
        if flight is not None and flight.ordered:
            flight.ordered = flight.paused = False
            own = flight.stage is not None and flight.stage.own
            flight.over = own or not isinstance(event, events.Done)
            flight.inbox.put_nowait(event)
            self.lanes.settled.discard(link.id)
            # The last word counts, also when it is less: a worker forgives what was lost through no fault of the
            # member. None is what one says that had let go of the job: what was heard stands.
            self._spent(flight, event.gpu_ms or flight.stage_ms)

    def _spent(self, flight: Flight, gpu_ms: int) -> None:
        self.lanes.heard(flight, gpu_ms)
        self.lanes.steer(flight.link)

    def _beat(self, link: Link, beat: events.Heartbeat) -> None:
        now = self.monotonic()
        self.rates.hear(link.id, beat, now)
        for job, attempt in beat.jobs:
            flight = self.fleet.get(job)
            if flight is not None and flight.link is link and flight.job.attempt == attempt:
                flight.renew(now)
                flight.resting = flight.paused and (flight.resting or flight.id not in beat.computing)
