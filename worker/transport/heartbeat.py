"""Heartbeats: what the loop is doing and for how long nothing has come of it, said from a thread of its own.

A loop that hangs cannot say so; this thread can. Knows nothing of models or of the wire.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from core.events import HEARTBEAT_SECONDS, Heartbeat, Phase


class HeartbeatThread:
    """Written by the loop, read by the heartbeat thread. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._phase = Phase.IDLE
        self._since = clock()
        self._computing: tuple[str, ...] = ()
        self._jobs: Callable[[], tuple[tuple[str, int], ...]] = tuple
        self._busy_ms: Callable[[], int] = int

    @contextmanager
    def in_phase(self, phase: Phase, computing: tuple[str, ...] = ()) -> Iterator[None]:
        """The block is this phase; its end is progress."""
        self._set(phase, computing)
        try:
            yield
        finally:
            self._set(Phase.IDLE, ())

    def progress(self, phase: Phase) -> None:
        """Something was finished: the clock starts again, if this is what the loop is doing."""
        with self._lock:
            if self._phase is phase:
                self._since = self._clock()

    def watch(self, jobs: Callable[[], tuple[tuple[str, int], ...]], busy_ms: Callable[[], int]) -> None:
        """From now on asks these for the jobs in the worker's hands and its device time so far, at each beat."""
        with self._lock:
            self._jobs, self._busy_ms = jobs, busy_ms

    def beat(self) -> Heartbeat:
        """The heartbeat of this moment."""
        with self._lock:
            phase, seconds, computing = self._phase, self._clock() - self._since, self._computing
            jobs, busy_ms = self._jobs, self._busy_ms
        return Heartbeat(
            phase=phase, phase_seconds=round(seconds, 3), jobs=jobs(), computing=computing, busy_ms=busy_ms()
        )

    def start(self, send: Callable[[Heartbeat], None], every: float = HEARTBEAT_SECONDS) -> None:
        """Beats for ever in a daemon thread."""

        def run() -> None:
            tick = threading.Event()
            while not tick.wait(every):
                send(self.beat())

        threading.Thread(target=run, name="heartbeat", daemon=True).start()

    def _set(self, phase: Phase, computing: tuple[str, ...]) -> None:
        with self._lock:
            self._phase, self._computing, self._since = phase, computing, self._clock()
