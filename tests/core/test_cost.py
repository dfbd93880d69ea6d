"""Prices: never below what such jobs cost, never above the quote, in months of the calendar."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cost import (
    CELLS,
    MULTIPLIER,
    SAMPLES,
    Calibration,
    Rate,
    cell_of,
    default_rate,
    estimate_ms,
    grids_left,
    period_of,
    price_ms,
)
from core.job import Lane, Request

RATE = Rate(per_megapixel_step_ms=1000.0, per_megapixel_ms=2000.0, per_job_ms=10.0)
GRID = Request(prompt="a cat", width=1000, height=500, seed=1, steps=20, guidance=4.0, sampler="euler", model="m")


def at(*date):
    return datetime(*date, tzinfo=UTC).timestamp()


def test_an_estimate_counts_steps_pictures_and_encoding():
    assert estimate_ms(GRID, RATE) == 2 * 20 * 1000 + 2 * 2000 + 10


def test_fewer_steps_to_run_cost_less():
    half = replace(GRID, stop=50)
    near = replace(GRID, strength=0.5)
    assert estimate_ms(half, RATE) == estimate_ms(near, RATE) == 2 * 10 * 1000 + 2 * 2000 + 10


def test_even_a_tiny_request_costs_something():
    assert estimate_ms(GRID, Rate(per_megapixel_step_ms=0, per_megapixel_ms=0, per_job_ms=0)) == 1


def test_each_lane_has_its_price():
    assert [price_ms(1001, MULTIPLIER[lane]) for lane in (Lane.TURBO, Lane.FAST, Lane.RELAX)] == [2002, 1001, 0]
    assert set(MULTIPLIER) == set(Lane)
    assert price_ms(3, 0.5) == 2  # rounded up


def test_a_balance_is_worth_so_many_grids():
    assert grids_left(100, 30) == 3
    assert grids_left(10, 30) == 0
    assert grids_left(10, 0) is None


def test_a_cpu_is_dearer_than_a_gpu_before_anything_was_measured():
    for card in ("cuda:0", "NVIDIA GeForce RTX 4090"):  # workers say their card's name
        assert estimate_ms(GRID, default_rate("cpu")) > estimate_ms(GRID, default_rate(card))


def test_the_quote_covers_nine_of_ten_jobs_like_it():
    calibration = Calibration(base=RATE)
    base = estimate_ms(GRID, RATE)
    for percent in range(10, 201, 10):  # from a tenth of the first rate to twice that
        calibration = calibration.with_sample(GRID, base * percent // 100)
    assert estimate_ms(GRID, calibration.rate_for(GRID)) == pytest.approx(1.8 * base, rel=0.01)


def test_a_kind_of_job_that_was_never_measured_is_quoted_like_the_nearest_that_was():
    calibration = Calibration(base=RATE).with_sample(GRID, estimate_ms(GRID, RATE) * 3)
    short = replace(GRID, steps=1)
    calibration = calibration.with_sample(short, estimate_ms(short, RATE) * 20)
    for unknown in (replace(GRID, width=2000), replace(GRID, steps=100), replace(GRID, width=500, height=1000)):
        assert cell_of(unknown) not in calibration.ratios
        assert estimate_ms(unknown, calibration.rate_for(unknown)) == pytest.approx(
            3 * estimate_ms(unknown, RATE), rel=0.01
        )


def test_the_first_jobs_of_a_start_price_others_only_until_there_is_a_better_one():
    cold = Calibration(base=RATE)
    for times in (7, 5, 6):
        cold = cold.with_sample(GRID, estimate_ms(GRID, RATE) * times, cold=True)
    assert estimate_ms(GRID, cold.rate_for(GRID)) == pytest.approx(5 * estimate_ms(GRID, RATE), rel=0.01)
    warm = cold.with_sample(GRID, estimate_ms(GRID, RATE) // 2)
    assert estimate_ms(GRID, warm.rate_for(GRID)) == pytest.approx(estimate_ms(GRID, RATE) / 2, rel=0.01)
    again = Calibration.from_dict(cold.to_dict())
    assert again.rate_for(GRID) == cold.rate_for(GRID)


def test_kinds_of_job_are_quoted_apart_once_both_were_measured():
    wide = replace(GRID, width=2000)
    calibration = Calibration(base=RATE).with_sample(GRID, estimate_ms(GRID, RATE) * 3)
    calibration = calibration.with_sample(wide, estimate_ms(wide, RATE))
    assert estimate_ms(wide, calibration.rate_for(wide)) == pytest.approx(estimate_ms(wide, RATE), rel=0.01)


def test_without_a_sample_the_first_rate_stands():
    assert Calibration(base=RATE).rate_for(GRID) == RATE
    assert Calibration(base=RATE).with_sample(GRID, 0) == Calibration(base=RATE)


def test_a_calibration_stays_small_and_forgets_the_oldest():
    calibration = Calibration(base=RATE)
    for n in range(3 * SAMPLES):
        calibration = calibration.with_sample(GRID, 1000 + n)
    assert len(calibration.ratios[cell_of(GRID)]) == SAMPLES
    for n in range(2 * CELLS):
        calibration = calibration.with_sample(replace(GRID, width=64 + n), 1000)
    assert len(calibration.ratios) == CELLS
    assert cell_of(GRID) not in calibration.ratios


def test_a_calibration_can_be_kept_as_json():
    calibration = Calibration(base=RATE).with_sample(GRID, 12_345).with_sample(replace(GRID, width=64), 99)
    again = Calibration.from_dict(calibration.to_dict())
    assert again.to_dict() == calibration.to_dict()
    assert estimate_ms(GRID, again.rate_for(GRID)) == pytest.approx(12_345, rel=0.001)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"base": [1, 2], "ratios": {}},
        {"base": [1, 2, 3]},
        {"base": "abc", "ratios": {}},
        {"base": [1, 2, 3], "ratios": {"wide": [1]}},
        {"base": [1, 2, 3], "ratios": {"0x1/1": [1]}},
    ],
)
def test_a_calibration_that_cannot_be_read_says_so(broken):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Calibration.from_dict(broken)


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        (at(2026, 6, 15, 12), at(2026, 6, 1), at(2026, 7, 1)),
        (at(2026, 6, 1), at(2026, 6, 1), at(2026, 7, 1)),
        (at(2026, 7, 1) - 0.001, at(2026, 6, 1), at(2026, 7, 1)),
        (at(2026, 12, 31, 23, 59), at(2026, 12, 1), at(2027, 1, 1)),
        (at(2028, 2, 29), at(2028, 2, 1), at(2028, 3, 1)),
    ],
)
def test_a_period_is_a_calendar_month_in_utc(now, start, end):
    assert period_of(now) == (start, end)


@given(st.floats(min_value=0, max_value=4e9))
@settings(deadline=None)
def test_every_moment_is_in_its_period_and_periods_meet(now):
    start, end = period_of(now)
    assert start <= now < end
    assert period_of(end)[0] == end
