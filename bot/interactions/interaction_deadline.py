"""Tells whether an interaction is worth answering: Discord waits three seconds. Knows no discord.

Our clock may differ from Discord's by minutes and may jump, so time is taken from one that only goes on, and only what
is over the smallest difference of the last minute counts as delay.
"""

import time
from collections import deque
from collections.abc import Callable

#: Delay in seconds after which no answer can arrive in time.
TOO_LATE_SECONDS = 2.8
_WINDOW_SECONDS = 60.0


class InteractionDeadline:
    """`monotonic` is in seconds, from anywhere."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: deque[tuple[float, float]] = deque()

    def too_late(self, created_at: float) -> bool:
        """`created_at`: Discord's time of the interaction, seconds since the epoch."""
        now = self._monotonic()
        apart = now - created_at
        while self._seen and self._seen[0][0] < now - _WINDOW_SECONDS:
            self._seen.popleft()
        while self._seen and self._seen[-1][1] >= apart:  # kept rising, so the first one is the smallest
            self._seen.pop()
        self._seen.append((now, apart))
        return apart - self._seen[0][1] > TOO_LATE_SECONDS
