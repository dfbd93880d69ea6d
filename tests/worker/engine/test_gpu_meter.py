"""Every nanosecond of device time is booked once, to a job or to overhead."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.engine import GpuMeter
from worker.engine.gpu_meter import WallSpan, split

#: A busy machine is not a failure.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

KEYS = st.sampled_from(["a", "b", "c", "d"])


@CALM
@given(total=st.integers(0, 10**12), weights=st.dictionaries(KEYS, st.integers(1, 10**6), min_size=1))
def test_a_split_adds_up_and_each_share_is_within_one_of_the_exact_one(total: int, weights: dict[str, int]) -> None:
    parts = split(total, weights)
    assert sum(parts.values()) == total
    whole = sum(weights.values())
    assert all(abs(parts[key] - total * weight / whole) <= 1 for key, weight in weights.items())


class Clock:
    """Nanoseconds that only a test moves."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


ACTIONS = st.one_of(
    st.tuples(st.just("work"), st.dictionaries(KEYS, st.integers(1, 9), max_size=4), st.integers(0, 10**8)),
    st.tuples(st.just("close"), KEYS, st.just(0)),
    st.tuples(st.just("overhead"), st.sampled_from(["load", "preview", "oom"]), st.integers(0, 10**8)),
    st.tuples(st.just("take"), st.just(""), st.just(0)),
    st.tuples(st.just("forgive"), KEYS, st.just(0)),
)


@CALM
@given(st.lists(ACTIONS, max_size=40))
def test_jobs_and_overhead_together_are_all_that_was_busy(actions: list[tuple[str, object, int]]) -> None:
    clock = Clock()
    meter = GpuMeter(lambda: WallSpan(clock))
    said = 0
    for what, whose, ns in actions:
        if what == "close":
            said += meter.close(str(whose))
        elif what == "forgive":
            meter.write_off(str(whose), "oom")
            assert meter.job_ms(str(whose)) == 0
        elif what == "take":
            said += sum(meter.take_overhead().values())
        else:
            with meter.measure() as measured:
                clock.now += ns
                measured.jobs(whose) if isinstance(whose, dict) else measured.overhead(str(whose))
            meter.settle()
        busy, booked = meter.audit()
        assert busy == booked
    said += sum(meter.close(key) for key in "abcd") + sum(meter.take_overhead().values())
    assert said == meter.busy_ms, "once all jobs are closed, the milliseconds add up too"


class LateSpan:
    """A span whose end the device has not reached yet, as on a GPU."""

    def __init__(self) -> None:
        self.reached = False

    def end(self) -> None:
        """Its end is reached later."""

    def ns(self, wait: bool) -> int | None:
        """Waiting gets there."""
        self.reached = self.reached or wait
        return 3_000_000 if self.reached else None


def test_a_device_may_run_behind_by_the_spans_that_are_kept() -> None:
    spans = [LateSpan() for _ in range(3)]
    begin = iter(spans)
    meter = GpuMeter(lambda: next(begin))
    for _ in range(3):
        with meter.measure() as measured:
            measured.job("a")
        meter.settle(keep=1)
    assert [span.reached for span in spans] == [True, True, False]
    assert meter.job_ms("a") == 6
    assert meter.close("a") == 9, "the last number waits for all"


def test_a_block_that_raises_is_overhead() -> None:
    clock = Clock()
    meter = GpuMeter(lambda: WallSpan(clock))
    with pytest.raises(ValueError), meter.measure():
        clock.now += 5_000_000
        raise ValueError
    meter.settle()
    assert sum(meter.take_overhead().values()) == 5


class SlowSpan:
    """A stretch of device time that ends when the test says so, as one in a stream of its own does."""

    def __init__(self) -> None:
        self.length: int | None = None

    def end(self) -> None:
        """Its end is known later."""

    def ns(self, wait: bool) -> int | None:
        """A test that waits for it is told at once."""
        return 7_000_000 if wait and self.length is None else self.length


def test_no_step_waits_for_what_is_computed_aside_but_the_jobs_last_word_does() -> None:
    spans = [SlowSpan(), SlowSpan(), SlowSpan()]
    line = iter(spans)
    meter = GpuMeter(lambda: next(line))
    with meter.measure(overlapped=True) as decode:
        decode.job("a")
    spans[1].length = spans[2].length = 1_000_000
    for _ in range(2):
        with meter.measure() as step:
            step.job("b")
    meter.settle(keep=1)
    assert meter.job_ms("a") == 0 and meter.job_ms("b") == 2
    assert meter.close("a") == 7
    busy, booked = meter.audit()
    assert busy == booked == 9_000_000


def test_padding_is_booked_to_overhead_by_its_rows() -> None:
    clock = Clock()
    meter = GpuMeter(lambda: WallSpan(clock))
    with meter.measure() as measured:
        measured.jobs({"a": 2, "b": 1}, padding=1)
        clock.now += 8_000_000
    meter.settle()
    assert (meter.job_ms("a"), meter.job_ms("b")) == (4, 2)
    assert meter.take_overhead() == {"padding": 2}
