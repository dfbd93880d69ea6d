"""The jobs that run now, in memory: by name, by worker, and how each is told to end. Decides nothing."""

import asyncio
from collections.abc import Callable

from bot.scheduling.attempt import Attempt, Lost
from bot.workers import WorkerConnection
from core import events

#: A worker that was told to drop a job and says nothing for this long: the job ends without its word.
CANCEL_SECONDS = 30.0


class RunningJobs:
    """All attempts, in the order in which their jobs were claimed. `ended` is set whenever one has ended."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._attempts: dict[str, Attempt] = {}
        self._monotonic = monotonic
        self.ended = asyncio.Event()

    def __len__(self) -> int:
        return len(self._attempts)

    def all(self) -> list[Attempt]:
        """As they are at this moment."""
        return list(self._attempts.values())

    def of(self, connection: WorkerConnection) -> list[Attempt]:
        """Those of one worker."""
        return [attempt for attempt in self._attempts.values() if attempt.connection is connection]

    def get(self, job: str) -> Attempt | None:
        """The running attempt of a job; None where it does not run."""
        return self._attempts.get(job)

    def find(self, connection: WorkerConnection, event: events.JobEvent) -> Attempt | None:
        """The attempt that an event of a worker is about; None for what an earlier attempt left behind. Renews it."""
        attempt = self._attempts.get(event.job)
        if attempt is None or attempt.connection is not connection or not attempt.concerns(event):
            return None
        attempt.renew(self._monotonic())
        return attempt

    def add(self, attempt: Attempt) -> None:
        """An attempt has begun."""
        self._attempts[attempt.id] = attempt

    def remove(self, attempt: Attempt) -> None:
        """An attempt has ended; whoever waits for that is told."""
        self._attempts.pop(attempt.id, None)
        self.ended.set()

    def stop(self, attempt: Attempt) -> None:
        """A member asked for it: the job ends as cancelled, whatever the worker answers."""
        if attempt.cancel_until is None:
            attempt.cancel_until = self._monotonic() + CANCEL_SECONDS
            attempt.recall()

    def recall(self, attempt: Attempt, why: str) -> None:
        """We asked for it: the job waits again, unless its last word is already here."""
        attempt.stopped = True
        if attempt.ordered:
            attempt.ordered, attempt.over = False, True
            attempt.recall()
            attempt.inbox.put_nowait(Lost(solo=attempt.job.solo, why=why))

    def look_at_leases(self, now: float) -> None:
        """Ends what its worker does not answer for, or does not have any more. A paused job is named like any other."""
        for attempt in self.all():
            if not attempt.ordered:
                continue
            if attempt.cancel_until is not None and now > attempt.cancel_until:
                self.recall(attempt, "The worker did not answer.")
            elif now > attempt.lease_until:
                attempt.ordered, attempt.over = False, True
                attempt.recall()
                # Alive, but without the job: a second time, and alone, that speaks against the job.
                why = "The worker no longer has it."
                attempt.inbox.put_nowait(Lost(strike=attempt.job.solo, solo=True, why=why))
