"""SDXL draws what diffusers' own pipeline draws: both text encoders, sizes, predictions, few steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from tests.worker.checkpoint_families import make_sdxl
from tests.worker.compared import distance, ours, plain, with_sampler
from tests.worker.engine_driver import EngineDriver, pixels, request
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device

CPU = choose_device("cpu", "float32", 0)
Pair = tuple[LoadedCheckpoint, Any]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    """A tiny SDXL, loaded here and by diffusers, by how it was made."""
    made: dict[str, Pair] = {}

    def get(**how: Any) -> Pair:
        key = repr(how)
        if key not in made:
            folder = make_sdxl(tmp_path_factory.mktemp("sdxl") / "tiny-xl", **how)
            pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
            made[key] = load(str(folder), CPU), pipeline
        return made[key]

    return get


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpmpp_2m"])
@pytest.mark.parametrize("negative", ["", "a yellow star"])
def test_sdxl_draws_what_plain_diffusers_draws(pairs: Callable[..., Pair], sampler: str, negative: str) -> None:
    loaded, pipeline = pairs()
    wanted = request(sampler=sampler, negative=negative)
    assert distance(ours(loaded, wanted), plain(with_sampler(pipeline, loaded, sampler), wanted)) <= 2


@pytest.mark.parametrize(
    "how",
    [
        {"prediction_type": "v_prediction"},
        {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        {"zeros": False},
    ],
    ids=["v-prediction", "zero terminal signal", "an empty negative prompt is read"],
)
def test_fine_tunes_of_other_kinds_are_drawn_as_they_are_meant(pairs: Callable[..., Pair], how: dict[str, Any]) -> None:
    loaded, pipeline = pairs(**how)
    wanted = request()
    rescale = 0.7 if "rescale_betas_zero_snr" in how else 0.0
    expected = plain(with_sampler(pipeline, loaded, "euler"), wanted, guidance_rescale=rescale)
    assert distance(ours(loaded, wanted), expected) <= 2


def test_what_fine_tunes_differ_in_shows(pairs: Callable[..., Pair]) -> None:
    pictures = [ours(pairs(**how)[0], request()) for how in ({}, {"zeros": False}, {"prediction_type": "v_prediction"})]
    assert distance(pictures[0], pictures[1]) > 4
    assert distance(pictures[0], pictures[2]) > 4


def test_few_steps_without_guidance_cost_one_forward_and_are_right(pairs: Callable[..., Pair]) -> None:
    loaded, pipeline = pairs(timestep_spacing="trailing")
    wanted = request(steps=2, guidance=1.0, sampler="euler_a")
    forwards: list[int] = []
    driver = EngineDriver(loaded)
    hook = loaded.family.parts["unet"].register_forward_hook(lambda _m, given, _out: forwards.append(len(given[0])))
    picture = pixels(driver.render(wanted, indices=(0,))[0])
    hook.remove()
    assert forwards == [1, 1]
    assert distance(picture, plain(with_sampler(pipeline, loaded, "euler_a"), wanted)) <= 2


def test_a_wide_picture_is_told_its_own_size(pairs: Callable[..., Pair]) -> None:
    loaded, pipeline = pairs()
    wanted = request(width=96, height=64)
    assert distance(ours(loaded, wanted), plain(with_sampler(pipeline, loaded, "euler"), wanted)) <= 2


def test_sdxl_says_what_it_is(pairs: Callable[..., Pair]) -> None:
    info = pairs()[0].info
    assert (info.family, info.native, info.multiple, info.guidance) == ("sdxl", 64, 64, 6.0)
    assert {"variation", "tile", "weights", "negative"} <= set(info.edits)
    assert "lora" not in info.edits
    assert pairs()[0].memory_mb == 3


def test_names_of_distilled_models_bring_few_steps(tmp_path: Path) -> None:
    info = load(str(make_sdxl(tmp_path / "XL-Lightning")), CPU).info
    assert (info.steps, info.guidance) == (4, 1.0)


def test_the_autoencoder_that_overflows_in_half_precision_stays_whole(tmp_path: Path) -> None:
    family = load(str(make_sdxl(tmp_path / "xl")), choose_device("cpu", "float16", 0)).family
    assert {name: next(part.parameters()).dtype for name, part in family.parts.items()} == {
        "text_encoder": torch.float16, "text_encoder_2": torch.float16, "unet": torch.float16, "vae": torch.float32,
    }  # fmt: skip
    latents = family.encode_picture(torch.zeros(64, 64, 3, dtype=torch.uint8).numpy())
    assert family.decode(latents).isfinite().all()
