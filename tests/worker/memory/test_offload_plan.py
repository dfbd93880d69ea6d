"""The memory plan: what fits is found, more memory is never worse, and no picture is lost to a full memory."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from tests.worker.memory.model_sizes import FLUX, MEMORY, SD15, SDXL, SIZES
from worker.checkpoints import load
from worker.device import choose_device
from worker.errors import CannotLoad
from worker.families.latent_preview import synthetic_fields
from worker.memory import OffloadPlan, enable_tiling
from worker.memory.offload_plan import ModelSizes, OffloadPolicy, plan_offload, reserve_mb
from worker.memory.size_estimate import estimate_sizes, weights_mb


def planned(sizes: ModelSizes, memory: int, fp8: bool = False) -> OffloadPlan | None:
    """None where nothing fits."""
    try:
        return plan_offload(sizes, memory, fp8=fp8)
    except CannotLoad:
        return None


@given(sizes=SIZES, memory=MEMORY, fp8=st.booleans())
def test_a_plans_peak_never_exceeds_what_is_there(sizes: ModelSizes, memory: int, fp8: bool) -> None:
    found = planned(sizes, memory, fp8)
    if found is not None:
        assert reserve_mb(memory) < found.peak_mb <= memory and found.rows >= 1


@given(sizes=SIZES, memory=MEMORY, more=st.integers(0, 60_000), fp8=st.booleans())
def test_more_memory_never_gives_a_worse_plan(sizes: ModelSizes, memory: int, more: int, fp8: bool) -> None:
    less, better = planned(sizes, memory, fp8), planned(sizes, memory + more, fp8)
    if less is not None:
        assert better is not None and better.rank >= less.rank


@given(sizes=SIZES, memory=MEMORY)
def test_what_fits_with_full_weights_fits_with_fp8_too(sizes: ModelSizes, memory: int) -> None:
    assert planned(sizes, memory) is None or planned(sizes, memory, fp8=True) is not None


@pytest.mark.parametrize(
    ("sizes", "gb", "policy", "tiled", "rows"),
    [
        (SD15, 8, OffloadPolicy.RESIDENT, False, 8),
        (SD15, 24, OffloadPolicy.RESIDENT, False, 16),
        (SDXL, 24, OffloadPolicy.RESIDENT, False, 8),
        (SDXL, 12, OffloadPolicy.RESIDENT, False, 4),
        (SDXL, 8, OffloadPolicy.TEXT_ON_HOST, True, 2),
        (SDXL, 6, OffloadPolicy.STREAMED, False, 2),
        (FLUX, 141, OffloadPolicy.RESIDENT, False, 16),
        (FLUX, 48, OffloadPolicy.RESIDENT, False, 8),
        (FLUX, 24, OffloadPolicy.STREAMED, False, 8),
        (FLUX, 12, OffloadPolicy.STREAMED, False, 8),
        (FLUX, 8, OffloadPolicy.STREAMED, False, 8),
    ],
)
def test_known_models_lie_sensibly_on_usual_cards(
    sizes: ModelSizes, gb: int, policy: OffloadPolicy, tiled: bool, rows: int
) -> None:
    found = plan_offload(sizes, gb * 1024)
    assert (found.policy, found.tiled) == (policy, tiled) and found.rows >= rows


def test_fp8_keeps_flux_on_a_card_of_24_gb() -> None:
    assert plan_offload(FLUX, 24 * 1024, fp8=True).policy is OffloadPolicy.RESIDENT


def test_what_memory_is_left_buys_speed() -> None:
    assert (
        plan_offload(SDXL, 141 * 1024).cuda_graphs
        and plan_offload(SDXL, 141 * 1024).overlaps_decode
        and plan_offload(SDXL, 141 * 1024).joined
    )
    small = plan_offload(SDXL, 12 * 1024)
    assert not (small.cuda_graphs or small.joined or small.overlaps_decode)


def test_what_streams_or_is_cast_is_not_compiled() -> None:
    assert plan_offload(SDXL, 12 * 1024).compiles
    assert not plan_offload(FLUX, 12 * 1024).compiles
    assert not plan_offload(SDXL, 24 * 1024, fp8=True).compiles


def test_the_owner_may_want_fewer_rows() -> None:
    assert plan_offload(SD15, 24 * 1024, rows=3).rows == 3


def test_what_fits_in_no_way_is_refused_with_numbers_and_a_cure() -> None:
    with pytest.raises(
        CannotLoad, match=r"flux needs at least \d+ MB .* 2048 MB are available: try DARKROOM_WEIGHTS=fp8"
    ):
        plan_offload(FLUX, 2048, name="flux")
    with pytest.raises(CannotLoad, match="available: try a smaller model"):
        plan_offload(FLUX, 2048, fp8=True, name="flux")


def test_a_plan_says_itself_in_one_line() -> None:
    sentence = plan_offload(SDXL, 8 * 1024).sentence()
    assert sentence.startswith("text on host: ") and "tiles" in sentence and "of 8192 MB" in sentence
    assert "\n" not in sentence


# --- applied ---------------------------------------------------------------------------------------------------------


def test_sizes_are_counted_and_estimated_from_the_networks(folder: Path) -> None:
    family = load(str(folder), choose_device("cpu", "float32", 0)).family
    sizes = estimate_sizes(family.parts, native=family.native, factor=family.factor, classifier_free=True)
    assert sizes.denoiser == weights_mb(family.parts["unet"]) >= 1
    assert sizes.row >= 1 and sizes.decode >= sizes.decode_tiled >= 1 and sizes.block <= sizes.denoiser


def test_the_load_says_its_plan(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    loaded = load(str(folder), choose_device("cpu", "float32", 0, cap_mb=2048))
    assert loaded.plan.policy is OffloadPolicy.RESIDENT and loaded.plan.memory_mb == 2048
    assert loaded.plan.sentence() in caplog.text


def test_a_cap_too_small_for_anything_is_refused() -> None:
    with pytest.raises(ConfigError, match="DARKROOM_GPU_MB is 100"):
        choose_device("cpu", "float32", 0, cap_mb=100)


def test_fp8_weights_take_half_the_room_and_draw_nearly_the_same(folder: Path) -> None:
    device = choose_device("cpu", "bfloat16", 0)
    full, small = load(str(folder), device), load(str(folder), device, weights="fp8")
    assert small.plan.fp8
    stored = {weight.dtype for weight in small.family.parts["unet"].parameters()}
    assert torch.float8_e4m3fn in stored
    latents, times = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.full((2,), 500.0)
    text = {name: torch.stack([value] * 2) for name, value in full.family.encode_prompt("a boat").items()}
    with torch.inference_mode():
        one, other = (each.family.denoise(latents, times, text, torch.ones(2)) for each in (full, small))
    assert float((one - other).norm() / one.norm()) < 0.2
    assert small.family.decode(latents[0]).isfinite().all()


def test_a_picture_in_tiles_is_the_picture() -> None:
    family = load("postcard", choose_device("cpu", "float32", 0)).family
    (field,) = synthetic_fields(np.random.default_rng(1), 1, 256)
    with torch.inference_mode():
        latents = family.encode_picture(field)
        whole = family.decode(latents)
        assert enable_tiling(family.parts["vae"], 128) and not enable_tiling(family.parts["vae"], 128)
        parts = family.decode(latents)
    assert parts.shape == whole.shape
    assert float((parts - whole).abs().mean()) * 255 < 12  # pictures of two prompts are 50 and more apart


def test_a_plan_is_a_value() -> None:
    first = plan_offload(SD15, 8192)
    assert replace(first, rows=1).rows == 1 and first == plan_offload(SD15, 8192)
