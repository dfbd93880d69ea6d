"""What is said about jobs, in the right order: progress never runs backwards, and nothing follows a job's last word.

Several threads report (the loop, the writers of previews and results). Knows nothing of what is computed.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from core.events import Event, JobEvent, Progress


@dataclass(slots=True)
class _State:
    attempt: int
    steps: int
    step: int = 0
    gpu_ms: int = 0


class ProgressReporter:
    """Says events through `send`, which must not block."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._open: dict[str, _State] = {}

    def open(self, job: str, attempt: int, steps: int) -> None:
        """From now on there may be words about this job."""
        with self._lock:
            self._open[job] = _State(attempt, steps)

    def update(self, job: str, step: int, gpu_ms: int, *, send_now: bool) -> None:
        """Notes where a job is; says it when `send_now`."""
        with self._lock:
            state = self._open.get(job)
            if state is not None:
                state.step, state.gpu_ms = step, gpu_ms
                if send_now:
                    self._send(self._progress(job, state, b""))

    def preview(self, job: str, attempt: int, jpeg: bytes) -> None:
        """Says a preview with the progress of this moment, unless the job is over."""
        with self._lock:
            state = self._open.get(job)
            if state is not None and state.attempt == attempt:
                self._send(self._progress(job, state, jpeg))

    def report(self, event: JobEvent, *, last: bool = False) -> bool:
        """Says an event of an open job's present attempt; False when that is over."""
        with self._lock:
            state = self._open.get(event.job)
            if state is None or state.attempt != event.attempt:
                return False
            if last:
                del self._open[event.job]
            self._send(event)
            return True

    def forget(self, job: str) -> None:
        """Nothing more about this job's present attempt."""
        with self._lock:
            self._open.pop(job, None)

    def forget_all(self) -> None:
        """Nobody listens any more."""
        with self._lock:
            self._open.clear()

    def is_open(self, job: str) -> bool:
        """True while a last word about this job is still to come."""
        with self._lock:
            return job in self._open

    def open_jobs(self) -> tuple[tuple[str, int], ...]:
        """(job, attempt) of all that are open."""
        with self._lock:
            return tuple((job, state.attempt) for job, state in self._open.items())

    def _progress(self, job: str, state: _State, jpeg: bytes) -> Progress:
        return Progress(
            job=job, attempt=state.attempt, step=state.step, steps=state.steps, gpu_ms=state.gpu_ms, preview=jpeg
        )
