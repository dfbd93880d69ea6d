"""Rows share a forward and nothing else; what a mask keeps stays as it is, whatever the sampler."""

from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from core.catalogue import SAMPLERS
from tests.worker.checkpoint import SCHEDULER
from tests.worker.toy_family import FLOWS, RowSpec, ToyFamily, row_of, toy_output
from worker.engine.batch import Batch, Row
from worker.interfaces import Guidance
from worker.samplers import INPUT, NOISE, TIME, X0_OUT, X0_X

FLOW = {"prediction_type": "flow_prediction", **FLOWS[0]}
ALL = [(name, FLOW if name == "flow_euler" else SCHEDULER) for name in SAMPLERS]
KEEP = torch.linspace(-1, 1, 64).view(4, 4, 4)
#: The left half stays, one latent of the right half is grey.
MASK = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0.5, 1], [0, 0, 1, 1]]])


def run(row: Row) -> Row:
    while not row.is_done:
        Batch.of([row]).advance(ToyFamily())
    return row


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """But for rounding, which may hang on how many rows were computed at once."""
    return torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def named(value: Any) -> str:
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("sampler", "config"), ALL, ids=named)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_what_is_kept_lies_at_each_steps_level_with_the_rows_own_noise_and_ends_exactly(
    sampler: str, config: dict[str, Any], strength: float
) -> None:
    spec = RowSpec(sampler=sampler, steps=10, guidance=4.0, strength=strength)
    row = row_of(spec, config, keep=KEEP, mask=MASK)
    noise = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(spec.seed))
    left = slice(0, 2)
    while not row.is_done:
        here = row.schedule.table[row.done]
        # The noise that the model would have to see for its x0 to be what is kept.
        out = (KEEP - here[X0_X] * row.latents) / here[X0_OUT]
        alpha, sigma = level(here, config)
        expected = KEEP * alpha + noise * sigma
        if not row.schedule.table[:, NOISE].any():
            assert (row.latents - expected)[:, :, left].abs().max() <= 2e-6 * float(expected.abs().max())
        assert out.isfinite().all()
        Batch.of([row]).advance(ToyFamily())
        assert torch.equal(row.x0[:, :, left], KEEP[:, :, left])
        assert torch.equal(row.unguided_x0[:, :, left], KEEP[:, :, left]), "previews show it too"
    assert torch.equal(row.latents[:, :, left], KEEP[:, :, left])
    assert (row.x0 - KEEP)[:, :, 3].abs().max() > 0.1, "the rest is made anew"


def level(here: Any, config: dict[str, Any]) -> tuple[float, float]:
    """(alpha, sigma) of the latents before a step, by its numbers."""
    if "shift" in config:
        return 1 + here[X0_OUT], -here[X0_OUT]
    alpha = 1 / here[X0_X]
    return alpha, -here[X0_OUT] * alpha


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "unipc"])
def test_grey_stays_until_its_share_of_the_steps_is_left(sampler: str) -> None:
    row = row_of(RowSpec(sampler=sampler, steps=10), SCHEDULER, keep=KEEP, mask=MASK)
    stays = []
    while not row.is_done:
        Batch.of([row]).advance(ToyFamily())
        stays.append(torch.equal(row.x0[:, 2, 2], KEEP[:, 2, 2]))
    assert stays == [True] * 5 + [False] * 5


def test_a_mask_that_keeps_nothing_changes_nothing() -> None:
    for sampler in ("euler_a", "unipc"):
        plain = run(row_of(RowSpec(sampler=sampler, steps=8), SCHEDULER))
        masked = run(row_of(RowSpec(sampler=sampler, steps=8), SCHEDULER, keep=KEEP, mask=torch.ones(1, 4, 4)))
        assert same(plain.latents, masked.latents)


def test_a_row_with_a_mask_does_not_touch_its_neighbours() -> None:
    alone = run(row_of(RowSpec(sampler="dpmpp_2m", steps=8), SCHEDULER))
    plain = row_of(RowSpec(sampler="dpmpp_2m", steps=8), SCHEDULER)
    masked = row_of(RowSpec(sampler="unipc", steps=8), SCHEDULER, keep=KEEP, mask=MASK)
    for _ in range(8):
        Batch.of([plain, masked]).advance(ToyFamily())
    assert same(plain.latents, alone.latents)
    assert torch.equal(masked.x0[:, :, 0], KEEP[:, :, 0])


def test_a_batch_keeps_only_as_many_older_ideas_as_a_row_looks_back_at() -> None:
    euler, dpm, unipc = (row_of(RowSpec(sampler=name, steps=5), SCHEDULER) for name in ("euler", "dpmpp_2m", "unipc"))
    for rows, deep in (([euler], 0), ([euler, dpm], 1), ([euler, unipc], 2), ([dpm], 1)):
        Batch.of(rows)
        assert [len(row.past_x0) for row in rows] == [deep] * len(rows)


def test_a_batch_of_the_same_rows_is_kept_and_another_one_is_stacked_anew() -> None:
    rows = [row_of(RowSpec(sampler="euler", steps=5, guidance=2.0), SCHEDULER) for _ in range(3)]
    whole = Batch.of(rows)
    assert Batch.of(rows) is whole
    part = Batch.of(rows[:2])
    assert part is not whole
    assert Batch.of(rows) is not whole, "two of its rows live elsewhere now"


def test_a_failed_step_moves_nothing() -> None:
    class Broken(ToyFamily):
        def denoise(self, *_: Any) -> Any:
            raise RuntimeError("broken")

    row, other = (row_of(RowSpec(sampler="unipc", steps=5), SCHEDULER, keep=KEEP, mask=MASK) for _ in range(2))
    for step in range(5):
        if step == 2:
            with pytest.raises(RuntimeError):
                Batch.of([row]).advance(Broken())
        Batch.of([row]).advance(ToyFamily())
        Batch.of([other]).advance(ToyFamily())
    assert torch.equal(row.latents, other.latents)


def test_a_family_that_takes_its_scale_as_a_number_is_asked_once() -> None:
    seen: list[list[float]] = []

    class Distilled(ToyFamily):
        guidance = Guidance.EMBEDDED

        def denoise(self, latents: Any, timesteps: Any, conditions: Any, scales: Any) -> Any:
            seen.append(scales.tolist())
            return super().denoise(latents, timesteps, conditions, scales)

    row = row_of(RowSpec(sampler="euler", steps=3, guidance=3.5), SCHEDULER, family=Distilled())
    Batch.of([row]).advance(Distilled())
    assert seen == [[3.5]] and row.forwards == 1


def test_guidance_is_drawn_back_to_the_spread_of_what_it_guides_where_the_model_asks_for_it() -> None:
    config = {**SCHEDULER, "guidance_rescale": 0.7}
    guided = row_of(RowSpec(sampler="euler", steps=6, guidance=7.5), config)
    plain, alone = (row_of(RowSpec(sampler="euler", steps=6, guidance=1.0), config) for _ in range(2))
    here = guided.schedule.table[0]
    seen, time = guided.latents[None] * here[INPUT], here[TIME]
    out, without = toy_output(seen, time, 0.1), toy_output(seen, time, -0.1)
    right = rescale_noise_cfg(without + 7.5 * (out - without), out, 0.7)
    Batch.of([guided, plain]).advance(ToyFamily())
    Batch.of([alone]).advance(ToyFamily())
    expected = (right * here[X0_OUT] + seen / here[INPUT] * here[X0_X])[0]
    assert (guided.x0 - expected).abs().max() <= 1e-5 * float(expected.abs().max())
    assert same(plain.x0, alone.x0), "without guidance there is nothing to draw back"
