"""The right pictures: the same every time, hardly changed by company, and those of diffusers' own pipeline."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image

from tests.worker.checkpoint import make
from tests.worker.compared import NOISE_SAMPLERS, furthest, plain_grid
from tests.worker.engine_driver import EngineDriver, pixels, request
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device
from worker.engine.image_encoding import png


@pytest.mark.parametrize(
    ("sampler", "guidance"), [*((sampler, 5.0) for sampler in NOISE_SAMPLERS), ("euler", 1.0), ("unipc", 1.0)]
)
def test_a_grid_is_what_plain_diffusers_makes(
    driver: EngineDriver, folder: Path, sampler: str, guidance: float
) -> None:
    wanted = request(sampler=sampler, guidance=guidance, negative="blue", seed=2**32 - 1)
    expected = plain_grid(folder, StableDiffusionPipeline, wanted, width=64, height=64)
    assert np.std(expected[0]) > 5, "the pictures say nothing"
    assert furthest(driver.render(wanted), expected) <= 2


@pytest.fixture(scope="module")
def velocity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoadedCheckpoint]:
    """A checkpoint that predicts v, and that loaded."""
    folder = make(tmp_path_factory.mktemp("velocity") / "tiny", prediction="v_prediction", seed=3)
    return folder, load(str(folder), choose_device("cpu", "float32", 0))


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_v_prediction_is_what_plain_diffusers_makes(velocity: tuple[Path, LoadedCheckpoint], sampler: str) -> None:
    folder, loaded = velocity
    wanted = request(sampler=sampler)
    expected = plain_grid(folder, StableDiffusionPipeline, wanted, width=64, height=64)
    assert furthest(EngineDriver(loaded).render(wanted), expected) <= 2


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_a_variation_starts_near_its_source_as_plain_diffusers_does(
    driver: EngineDriver, folder: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    wanted = request(sampler=sampler, strength=0.5, steps=8)
    # The pipeline draws from the encoder's distribution; here the mean counts, so that a row's noise is its own.
    monkeypatch.setattr(
        "diffusers.models.autoencoders.vae.DiagonalGaussianDistribution.sample", lambda it, _=None: it.mean
    )
    image = Image.fromarray(pixels(source).astype(np.uint8))
    expected = plain_grid(folder, StableDiffusionImg2ImgPipeline, wanted, image=[image] * wanted.count, strength=0.5)
    assert furthest(driver.render(wanted, source=source), expected) <= 2


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_same_job_gives_the_same_bytes_alone(drivers: Callable[..., EngineDriver], sampler: str) -> None:
    wanted = request(sampler=sampler, count=3, steps=4)
    assert drivers().render(wanted) == drivers().render(wanted)


def test_same_job_gives_the_same_bytes_after_others_and_with_texts_known(driver: EngineDriver) -> None:
    first = driver.render(request(), "a")
    driver.render(request(prompt="something else", seed=3), "b")
    assert driver.render(request(), "c") == first


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_same_job_in_company_is_within_one_of_255(drivers: Callable[..., EngineDriver], sampler: str) -> None:
    wanted = request(sampler=sampler, count=2, steps=7)
    alone = drivers().render(wanted)
    driver = drivers()
    driver.submit("early", request(sampler="euler_a", steps=6, guidance=1.0, seed=99, count=1))
    driver.ticks(3)
    driver.submit("it", wanted)
    driver.submit("late", request(sampler="dpmpp_2m", steps=5, guidance=9.0, prompt="another", seed=5))
    driver.finish("early", "it", "late")
    assert furthest(driver.pictures("it"), alone) <= 1


def test_each_picture_has_its_own_seed_and_one_index_alone_is_the_same_picture(
    drivers: Callable[..., EngineDriver],
) -> None:
    grid = drivers().render(request(count=4))
    assert len(set(grid)) == 4
    third = drivers().render(request(count=4), indices=(2,))
    assert furthest(third, [grid[2]]) <= 1


def test_prompt_and_negative_prompt_change_the_picture(driver: EngineDriver) -> None:
    one = driver.render(request(), "a")
    assert driver.render(request(prompt="a blue 🚤"), "b") != one
    assert driver.render(request(negative="sea"), "c") != one


def test_stop_ends_early_with_the_estimate_as_the_picture(driver: EngineDriver) -> None:
    whole = driver.render(request(steps=10), "a")
    early = driver.render(request(steps=10, stop=50), "b")
    late = driver.render(request(steps=10, stop=90), "c")
    assert driver.of("b")[-1].gpu_ms >= 0
    assert max(event.steps for event in driver.of("b") if hasattr(event, "steps")) == 5
    apart = [np.abs(pixels(some[0]) - pixels(whole[0])).mean() for some in (early, late)]
    assert apart[1] < apart[0]


def test_other_sizes_than_the_native_one_work(driver: EngineDriver) -> None:
    wide = driver.render(request(width=96, height=40))
    assert pixels(wide[0]).shape == (40, 96, 3)
