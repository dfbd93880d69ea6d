"""The tables are diffusers' schedulers: for every row at its own step, whoever joins or leaves beside it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.catalogue import SAMPLERS
from tests.worker.checkpoint import SCHEDULER
from tests.worker.engine_driver import request
from tests.worker.toy_family import CONFIGS, FLOWS, ZERO_SNR, RowSpec, ToyFamily, draw_in_float32, reference, row_of
from worker.engine.batch import Batch, Row
from worker.samplers import BEFORE, EARLIER, NOISE, X0, Schedules, X, samplers_for

FLOW = {"prediction_type": "flow_prediction", **FLOWS[0]}
EACH = [(config, sampler) for config in CONFIGS for sampler in samplers_for(config)]
ALL = [(name, FLOW if name == "flow_euler" else SCHEDULER) for name in SAMPLERS]


def named(value: Any) -> str:
    return " ".join(str(each) for each in value.values()) if isinstance(value, dict) else str(value)


@pytest.fixture(autouse=True, scope="module")
def float32_noise() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        draw_in_float32(monkeypatch)
        yield


SPECS = st.builds(
    RowSpec,
    sampler=st.sampled_from(list(SAMPLERS)),
    steps=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    guidance=st.sampled_from([0.0, 1.0, 4.5]),
    joins=st.integers(0, 5),
    leaves=st.integers(1, 12),
    strength=st.sampled_from([1.0, 1.0, 0.6]),
)


@st.composite
def mixed_rows(draw: Any) -> tuple[dict[str, Any], list[RowSpec]]:
    """A model's scheduler config, and rows with samplers that it may use."""
    config = draw(st.sampled_from(CONFIGS))
    spec = SPECS.filter(lambda spec: spec.sampler in samplers_for(config))
    if samplers_for(config) == ("flow_euler",):
        spec = SPECS.map(lambda spec: RowSpec(**{**vars(spec), "sampler": "flow_euler"}))
    return config, draw(st.lists(spec, min_size=1, max_size=5))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(mixed=mixed_rows())
def test_rows_that_join_and_leave_at_any_step_are_what_diffusers_computes(
    mixed: tuple[dict[str, Any], list[RowSpec]],
) -> None:
    config, specs = mixed
    expected = [reference(spec, config, 0.1 * (number + 1)) for number, spec in enumerate(specs)]
    every = [row_of(spec, config, 0.1 * (number + 1), str(number)) for number, spec in enumerate(specs)]
    rows: list[Row] = []
    for tick in range(20):
        rows += [row for row, spec in zip(every, specs, strict=True) if spec.joins == tick]
        rows = [row for row in rows if not row.is_done and row.done < specs[int(row.job)].leaves]
        if not rows:
            continue
        Batch.of(rows).advance(ToyFamily())
        for row in rows:
            known = expected[int(row.job)][: row.done + 1]
            # Relative to the largest latents so far: what float32 steps have added up.
            error = furthest(row.latents, known[-1]) / max(float(latents.abs().max()) for latents in known)
            # Guidance multiplies rounding errors as it multiplies differences.
            assert error <= 2e-6 * max(1.0, row.guidance), (specs[int(row.job)], row.done, error)


def furthest(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference."""
    return float((one - other).abs().max())


@pytest.mark.parametrize(("config", "sampler"), EACH, ids=named)
@pytest.mark.parametrize("steps", [1, 2, 4, 20, 50])
def test_every_step_is_within_two_millionths_of_diffusers(config: dict[str, Any], sampler: str, steps: int) -> None:
    spec = RowSpec(sampler=sampler, steps=steps)
    row = row_of(spec, config)
    expected = reference(spec, config)[1:]
    assert len(row.schedule) == len(expected) == steps
    for right in expected:
        Batch.of([row]).advance(ToyFamily())
        assert furthest(row.latents, right) <= 2e-6 * float(right.abs().max())
    assert torch.equal(row.latents, row.x0), "the last step leaves nothing of the noise"


@pytest.mark.parametrize(("config", "sampler"), EACH, ids=named)
def test_all_tables_hold_finite_numbers_and_end_in_the_picture(config: dict[str, Any], sampler: str) -> None:
    for steps in (1, 2, 20, 200):
        table = Schedules(config).schedule(sampler, steps, 1.0, 100, (256, 256)).table
        assert np.isfinite(table).all() and abs(table).max() < 1e5
        assert table[-1, [X, X0, BEFORE, EARLIER, NOISE]].tolist() == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(("sampler", "config"), ALL, ids=named)
@pytest.mark.parametrize(
    ("steps", "strength", "stop", "length"),
    [
        (20, 0.6, 100, 12), (20, 0.6, 50, 2), (20, 1.0, 25, 5), (4, 0.01, 100, 1), (3, 1.0, 1, 1), (10, 0.5, 10, 1),
        (1, 0.55, 100, 1), (1, 0.8, 50, 1), (2, 0.8, 100, 1), (2, 0.99, 50, 1), (3, 0.9, 100, 2),
    ],
)  # fmt: skip
def test_strength_and_stop_cut_the_steps_as_the_request_counts_them(
    sampler: str, config: dict[str, Any], steps: int, strength: float, stop: int, length: int
) -> None:
    schedule = Schedules(config).schedule(sampler, steps, strength, stop)
    assert len(schedule) == length == request(steps=steps, strength=strength, stop=stop).steps_to_run()
    assert (schedule.from_source > 0) == (strength < 1)


@pytest.mark.parametrize(("config", "sampler"), EACH, ids=named)
@pytest.mark.parametrize("strength", [0.3, 0.75])
def test_a_start_near_a_picture_is_what_diffusers_makes_of_it(
    config: dict[str, Any], sampler: str, strength: float
) -> None:
    spec = RowSpec(sampler=sampler, steps=12, strength=strength)
    row = row_of(spec, config)
    for right in reference(spec, config)[1:]:
        Batch.of([row]).advance(ToyFamily())
        assert furthest(row.latents, right) <= 2e-6 * float(right.abs().max())
    assert row.is_done


def test_each_sampler_says_what_it_needs_beside_the_latents() -> None:
    plans = {name: Schedules(config).schedule(name, 8, 1.0, 100) for name, config in ALL}
    assert {name for name, schedule in plans.items() if schedule.table[:, NOISE].any()} == {"euler_a", "lcm"}
    deep = {name: schedule.lookback for name, schedule in plans.items() if schedule.lookback}
    assert deep == {"dpmpp_2m": 1, "dpmpp_2m_karras": 1, "unipc": 2}


def test_what_a_model_predicts_says_which_samplers_it_may_use() -> None:
    plain = tuple(name for name in SAMPLERS if name != "flow_euler")
    assert samplers_for(SCHEDULER) == plain
    assert samplers_for({**SCHEDULER, **ZERO_SNR, "prediction_type": "v_prediction"}) == plain
    assert not {"ddim", "lcm"} & set(samplers_for({**SCHEDULER, **ZERO_SNR, "prediction_type": "epsilon"}))
    for flow in ({"prediction_type": "flow_prediction"}, {"_class_name": "FlowMatchEulerDiscreteScheduler"}):
        assert samplers_for(flow) == ("flow_euler",)
    with pytest.raises(ValueError, match="takes flow_euler"):
        Schedules(FLOW).schedule("euler", 4, 1.0, 100)
    with pytest.raises(ValueError, match="at most 1000"):
        Schedules(SCHEDULER).schedule("euler", 1001, 1.0, 100)


def test_a_karras_spacing_is_the_samplers_own_word() -> None:
    """Also where the model's config has one: two names must be two things."""
    config = {**SCHEDULER, "use_karras_sigmas": True}
    plain, karras = (Schedules(config).schedule(name, 8, 1.0, 100).table for name in ("dpmpp_2m", "dpmpp_2m_karras"))
    assert not np.allclose(plain, karras)
    assert np.array_equal(plain, Schedules(SCHEDULER).schedule("dpmpp_2m", 8, 1.0, 100).table)


def test_a_larger_picture_of_a_flow_model_keeps_its_noise_for_longer() -> None:
    schedules = Schedules({"prediction_type": "flow_prediction", **FLOWS[1]})
    small, large = (schedules.schedule("flow_euler", 8, 1.0, 100, (side, side)).table for side in (256, 1024))
    assert (large[1:, 0] > small[1:, 0]).all()
    fixed = Schedules(FLOW)
    assert fixed.schedule("flow_euler", 8, 1.0, 100, (256, 256)) is fixed.schedule(
        "flow_euler", 8, 1.0, 100, (512, 512)
    )
