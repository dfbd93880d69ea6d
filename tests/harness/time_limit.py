"""Ends what would never end by itself, at a pipe or in a circle, so that its test fails instead of hanging."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Ends a wait that would last for ever, so that it fails instead."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"it took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
