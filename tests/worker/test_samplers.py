"""The tables are diffusers' schedulers: for every row at its own step, whoever joins or leaves beside it."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.catalogue import SAMPLERS
from tests.worker.bed import request
from tests.worker.checkpoint import SCHEDULER
from worker.families.base import Guidance
from worker.rows import Batch, Row, new_row
from worker.samplers import PREDICTIONS, Schedules, throwaway

SPACINGS = ({}, {"timestep_spacing": "linspace"}, {"timestep_spacing": "trailing"}, {"use_karras_sigmas": True})


class Toy:
    """A family whose model is a formula: a row's output hangs on its latents, time and text alone."""

    device = torch.device("cpu")
    channels, factor, guidance = 4, 8, Guidance.TWICE

    def denoise(self, latents: Any, timesteps: Any, conditions: Any, scales: Any) -> Any:
        return toy(latents, timesteps[:, None, None, None], conditions["text"][:, :1, :1, None])


def toy(latents: Any, time: Any, text: Any) -> Any:
    return torch.tanh(latents * 1.3 + text) * 0.9 + 0.1 * time / 1000


@dataclass(frozen=True)
class Wish:
    sampler: str
    steps: int
    seed: int
    guidance: float
    joins: int  # at this tick
    leaves: int  # after so many steps


WISHES = st.builds(
    Wish,
    sampler=st.sampled_from(list(SAMPLERS)),
    steps=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    guidance=st.sampled_from([0.0, 1.0, 4.5]),
    joins=st.integers(0, 5),
    leaves=st.integers(1, 12),
)


def reference(wish: Wish, config: dict[str, Any], text: float) -> list[torch.Tensor]:
    """The latents at the start and after each step by diffusers' own scheduler."""
    scheduler = throwaway(wish.sampler, config)
    scheduler.set_timesteps(wish.steps)
    generator = torch.Generator().manual_seed(wish.seed)
    latents = torch.randn(1, 4, 4, 4, generator=generator) * scheduler.init_noise_sigma
    after = [latents[0]]
    for time in scheduler.timesteps:
        seen = scheduler.scale_model_input(latents, time)
        out = toy(seen, time, text)
        if wish.guidance > 1:
            without = toy(seen, time, -text)
            out = without + wish.guidance * (out - without)
        latents = scheduler.step(out, time, latents, generator=generator, return_dict=False)[0]
        after.append(latents[0])
    return after


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    wishes=st.lists(WISHES, min_size=1, max_size=5),
    prediction=st.sampled_from(PREDICTIONS),
    spacing=st.sampled_from(SPACINGS),
)
def test_rows_that_join_and_leave_at_any_step_are_what_diffusers_computes(
    wishes: list[Wish], prediction: str, spacing: dict[str, Any]
) -> None:
    config = {**SCHEDULER, "prediction_type": prediction, **spacing}
    schedules = Schedules(config)
    expected = {}
    joining: dict[int, list[Row]] = {}
    leaves = {}
    for number, wish in enumerate(wishes):
        text = 0.1 * (number + 1)
        row = new_row(
            Toy(), job=str(number), index=0, key="k", plan=schedules.plan(wish.sampler, wish.steps, 1.0, 100),
            guidance=wish.guidance, seed=wish.seed, size=(32, 32), text={"text": torch.full((2, 3), text)},
            negative={"text": torch.full((2, 3), -text)}, source=None,
        )  # fmt: skip
        expected[row.job], leaves[row.job] = reference(wish, config, text), wish.leaves
        joining.setdefault(wish.joins, []).append(row)
    rows: list[Row] = []
    for tick in range(20):
        rows = [row for row in rows + joining.get(tick, []) if not row.is_done and row.done < leaves[row.job]]
        if not rows:
            continue
        Batch.of(rows).advance(Toy())
        for row in rows:
            known = expected[row.job][: row.done + 1]
            # Relative to the largest latents so far: what diffusers' float32 steps have added up.
            error = furthest(row.latents, known[-1]) / max(float(latents.abs().max()) for latents in known)
            # Guidance multiplies rounding errors as it multiplies differences.
            assert error <= 1e-6 * max(1.0, row.guidance), (wishes[int(row.job)], row.done, error)


def furthest(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference."""
    return float((one - other).abs().max())


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_every_step_of_twenty_is_within_one_millionth_of_diffusers(
    sampler: str, prediction: str, spacing: dict[str, Any]
) -> None:
    config = {**SCHEDULER, "prediction_type": prediction, **spacing}
    row = new_row(
        Toy(), job="a", index=0, key="k", plan=Schedules(config).plan(sampler, 20, 1.0, 100), guidance=1.0, seed=1,
        size=(32, 32), text={"text": torch.full((2, 3), 0.1)}, negative={"text": torch.zeros(2, 3)}, source=None,
    )  # fmt: skip
    wish = Wish(sampler=sampler, steps=20, seed=1, guidance=1.0, joins=0, leaves=20)
    for right in reference(wish, config, 0.1)[1:]:
        Batch.of([row]).advance(Toy())
        assert furthest(row.latents, right) <= 1e-6 * float(right.abs().max())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_schedule_that_ends_in_pure_noise_gives_finite_numbers_and_a_picture(sampler: str) -> None:
    config = {
        **SCHEDULER, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"
    }  # fmt: skip
    plan = Schedules(config).plan(sampler, 20, 1.0, 100)
    assert abs(plan.table).max() < 1e5
    assert plan.table[-1][4] == 0, "the last step leaves nothing of the noise"


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("steps", "strength", "stop", "length"),
    [(20, 0.6, 100, 12), (20, 0.6, 50, 2), (20, 1.0, 25, 5), (4, 0.01, 100, 1), (3, 1.0, 1, 1), (10, 0.5, 10, 1)],
)
def test_strength_and_stop_cut_the_steps_as_the_request_counts_them(
    sampler: str, steps: int, strength: float, stop: int, length: int
) -> None:
    plan = Schedules(SCHEDULER).plan(sampler, steps, strength, stop)
    assert len(plan) == length == request(steps=steps, strength=strength, stop=stop).steps_to_run()
    assert (plan.from_source > 0) == (strength < 1)


def test_only_the_ancestral_sampler_draws_noise_of_its_own() -> None:
    draws = {name: Schedules(SCHEDULER).plan(name, 8, 1.0, 100).draws_noise for name in SAMPLERS}
    assert draws == {"euler": False, "euler_a": True, "dpmpp_2m": False}


def test_a_batch_of_the_same_rows_is_kept_and_another_one_is_stacked_anew() -> None:
    schedules = Schedules(SCHEDULER)
    rows = [
        new_row(
            Toy(), job="a", index=index, key="k", plan=schedules.plan("euler", 5, 1.0, 100), guidance=2.0, seed=1,
            size=(32, 32), text={"text": torch.ones(2, 3)}, negative={"text": torch.zeros(2, 3)}, source=None,
        )
        for index in range(3)
    ]  # fmt: skip
    whole = Batch.of(rows)
    assert Batch.of(rows) is whole
    part = Batch.of(rows[:2])
    assert part is not whole
    assert Batch.of(rows) is not whole, "two of its rows live elsewhere now"
