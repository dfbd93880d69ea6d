"""A process that was suspended says so of itself, once."""

from core.suspend_detection import SuspendDetector


def test_ticks_in_time_and_a_little_late_are_no_suspension() -> None:
    detector = SuspendDetector(100.0, tick_seconds=0.5)
    assert [detector.suspended_seconds(now) for now in (100.5, 101.0, 102.4)] == [0.0, 0.0, 0.0]


def test_a_tick_that_comes_much_later_says_by_how_much() -> None:
    detector = SuspendDetector(100.0, tick_seconds=0.5)
    assert detector.suspended_seconds(160.5) == 60.0


def test_a_suspension_counts_once() -> None:
    detector = SuspendDetector(100.0, tick_seconds=0.5)
    detector.suspended_seconds(160.5)
    assert detector.suspended_seconds(161.0) == 0.0
