"""The jobs that run now, in memory: by name, by worker, and how each is told to end. Decides nothing."""

import asyncio
from collections.abc import Callable

from bot.scheduling.attempt import Flight, Lost
from bot.workers.connection import Link
from core import events

#: A worker that was told to drop a job and says nothing for this long: the job ends without its word.
CANCEL_SECONDS = 30.0


class Fleet:
    """All flights, in the order in which their jobs were claimed. `landed` is set whenever one has ended."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._flights: dict[str, Flight] = {}
        self._monotonic = monotonic
        self.landed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._flights)

    def all(self) -> list[Flight]:
        """As they are at this moment."""
        return list(self._flights.values())

    def of(self, link: Link) -> list[Flight]:
        """Those of one worker."""
        return [flight for flight in self._flights.values() if flight.link is link]

    def get(self, job: str) -> Flight | None:
        """By its job."""
        return self._flights.get(job)

    def find(self, link: Link, event: events.JobEvent) -> Flight | None:
        """The flight that an event of a worker is about; None for what an earlier attempt left behind. Renews it."""
        flight = self._flights.get(event.job)
        if flight is None or flight.link is not link or not flight.concerns(event):
            return None
        flight.renew(self._monotonic())
        return flight

    def add(self, flight: Flight) -> None:
        """It takes off."""
        self._flights[flight.id] = flight

    def remove(self, flight: Flight) -> None:
        """It has ended."""
        self._flights.pop(flight.id, None)
        self.landed.set()

    def stop(self, flight: Flight) -> None:
        """A member's wish: the job ends as cancelled, whatever the worker answers."""
        if flight.cancel_until is None:
            flight.cancel_until = self._monotonic() + CANCEL_SECONDS
            flight.recall()

    def recall(self, flight: Flight, why: str) -> None:
        """Our own wish: the job waits again, unless its last word is already here."""
        flight.grounded = True
        if flight.ordered:
            flight.ordered, flight.over = False, True
            flight.recall()
            flight.inbox.put_nowait(Lost(solo=flight.job.solo, why=why))

    def look_at_leases(self, now: float) -> None:
        """Ends what its worker does not answer for, or does not have any more. A paused job is named like any other."""
        for flight in self.all():
            if not flight.ordered:
                continue
            if flight.cancel_until is not None and now > flight.cancel_until:
                self.recall(flight, "The worker did not answer.")
            elif now > flight.lease_until:
                flight.ordered, flight.over = False, True
                flight.recall()
                # Alive, but without the job: a second time, and alone, that speaks against the job.
                why = "The worker does not have it any more."
                flight.inbox.put_nowait(Lost(strike=flight.job.solo, solo=True, why=why))
