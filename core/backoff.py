"""How long to wait before the next try: twice as long after each failure, up to a bound. Pure: randomness comes in."""

_MOST_DOUBLINGS = 60


def backoff_seconds(failures: int, *, first: float, longest: float, jitter: float = 0.0, chance: float = 0.0) -> float:
    """Seconds to wait after so many failures in a row, 1 or more: `first`, doubled after each, `longest` at most.

    `jitter`: the share of it that `chance` (random, 0 … 1) may take off, so that many who failed together do not come
    back together; 1 is full jitter.
    """
    wait = min(longest, first * 2.0 ** min(max(failures, 1) - 1, _MOST_DOUBLINGS))
    return wait * (1 - jitter * chance)
