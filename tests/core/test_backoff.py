"""Waits between tries double up to a bound, and may be spread by chance."""

import pytest

from core.backoff import backoff_seconds


def test_each_failure_doubles_the_wait_up_to_the_longest() -> None:
    waits = [backoff_seconds(failures, first=0.5, longest=5.0) for failures in (1, 2, 3, 4, 5, 6)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_thousands_of_failures_are_no_trouble() -> None:
    assert backoff_seconds(100_000, first=0.1, longest=300.0) == 300.0


@pytest.mark.parametrize(("jitter", "least"), [(0.0, 8.0), (0.2, 6.4), (1.0, 0.0)])
def test_chance_takes_off_as_much_as_the_jitter_allows(jitter: float, least: float) -> None:
    assert backoff_seconds(4, first=1.0, longest=60.0, jitter=jitter, chance=0.0) == 8.0
    assert backoff_seconds(4, first=1.0, longest=60.0, jitter=jitter, chance=1.0) == pytest.approx(least)
