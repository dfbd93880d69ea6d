"""Tells a loop that ticks how long its own process was suspended, so that it blames nobody else for that silence.

Pure: knows no clock; whoever ticks says what time it is.
"""

#: A tick may be so late on a busy machine; what is beyond was no tick.
TOLERANCE_SECONDS = 1.0


class SuspendDetector:
    """`now`: when the loop begins; `tick_seconds`: how long it waits between two ticks. A monotonic clock, seconds."""

    def __init__(self, now: float, tick_seconds: float) -> None:
        self._before = now
        self._tick_seconds = tick_seconds

    def suspended_seconds(self, now: float) -> float:
        """For how long nothing ran before this tick (a stopped process, a suspended machine); 0.0 when it is on time.

        What others said meanwhile is not read yet: every deadline of theirs moves by as much.
        """
        late = now - self._before - self._tick_seconds
        self._before = now
        return late if late > TOLERANCE_SECONDS else 0.0
