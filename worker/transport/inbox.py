"""What the loop can be told: the bot's orders and two from within the process, and the box where they wait for it."""

import queue
import threading

from core.events import Cancel, Catalogue, Pause, Resume, Submit


class ConnectionLost:
    """The connection is gone: nobody waits for these jobs any more."""


class LoadEnded:
    """A model that was loading is there, or will not come."""


class Compiled:
    """Compiled code waits to be tried."""


class Stop:
    """The loop is to end."""


InboxItem = Submit | Pause | Resume | Cancel | Catalogue | LoadEnded | Compiled | ConnectionLost | Stop


class Inbox:
    """Orders on their way to the loop, from any thread to one. It can name the jobs that are still in it."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[InboxItem] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._jobs: list[tuple[str, int]] = []
        self.catalogue: Catalogue | None = None  # the newest that has come
        self._knows = threading.Event()

    def put(self, order: InboxItem) -> None:
        """After all that was put before."""
        with self._lock:
            if isinstance(order, Submit):
                self._jobs.append((order.job, order.attempt))
            if isinstance(order, Catalogue):
                self.catalogue = order
                self._knows.set()
            self._queue.put(order)

    def get(self, *, block: bool) -> InboxItem | None:
        """The next order; None when there is none and `block` is false."""
        try:
            order = self._queue.get(block=block)
        except queue.Empty:
            return None
        return order

    def first_catalogue(self) -> Catalogue:
        """Waits until one has come."""
        self._knows.wait()
        assert self.catalogue is not None
        return self.catalogue

    def taken(self, order: Submit) -> None:
        """The loop has taken this order."""
        with self._lock:
            self._jobs.remove((order.job, order.attempt))

    def empty(self) -> bool:
        """True when nothing waits."""
        return self._queue.empty()

    def jobs(self) -> tuple[tuple[str, int], ...]:
        """(job, attempt) of every job that was ordered and is not taken yet."""
        with self._lock:
            return tuple(self._jobs)
