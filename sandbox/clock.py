"""Time and ids: a clock that looks like the wall's but never runs backwards, and Discord's snowflakes made from it."""

import time
from datetime import UTC, datetime

AHEAD_SECONDS = 1.0
DISCORD_EPOCH_MS = 1_420_070_400_000


class Clock:
    """Wall time at the start plus monotonic time since then, so that limits survive a system clock that is set back.
    When the wall's clock is ahead (the machine slept, or was set forward), this one follows: ids must not look old.
    """

    def __init__(self) -> None:
        self._origin = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970."""
        passed, wall = time.monotonic(), time.time()
        if wall - passed > self._origin + AHEAD_SECONDS:
            self._origin = wall - passed
        return self._origin + passed

    def now_ms(self) -> int:
        return int(self.now() * 1000)


class Snowflakes:
    """Ids that rise strictly and hold their time of birth in the upper 42 bits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> str:
        fresh = (self._clock.now_ms() - DISCORD_EPOCH_MS) << 22
        self._last = max(fresh, self._last + 1)
        return str(self._last)

    def seen(self, known: str) -> None:
        """Never hand out an id at or below one that an earlier run gave (its clock may have been ahead)."""
        self._last = max(self._last, int(known))


def born_at(snowflake: str) -> float:
    """The second in which an id was made."""
    return ((int(snowflake) >> 22) + DISCORD_EPOCH_MS) / 1000


def iso(seconds: float) -> str:
    """A time the way Discord writes it: 2026-11-23T04:05:06.789000+00:00."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
