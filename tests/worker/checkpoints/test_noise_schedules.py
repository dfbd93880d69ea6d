"""A folder whose noise lies as no sampler here knows it is drawn by its own pipeline or refused, never by a default."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest

from bot.catalogue import checkpoint_files
from tests.worker.checkpoint import SCHEDULER, make
from tests.worker.checkpoint_families import make_flux, make_sdxl
from tests.worker.compared import distance, ours, plain
from tests.worker.engine_driver import EngineDriver, pixels, request
from worker.checkpoints import load
from worker.device import choose_device
from worker.errors import CannotLoad

CPU = choose_device("cpu", "float32", 0)
EULER, FLOW = "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"


def with_scheduler(folder: Path, kind: str, **config: Any) -> Path:
    """Takes the place of the folder's scheduler: by name in the index, and by its config."""
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", kind]}))
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": kind, **config}))
    return folder


#: Schedulers by the pipeline that draws with them.
WHOLE: list[tuple[str, dict[str, Any]]] = [
    ("EDMDPMSolverMultistepScheduler", {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}),
    ("EDMEulerScheduler", {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}),
    ("EDMEulerScheduler", {"prediction_type": "v_prediction"}),
    ("TCDScheduler", SCHEDULER),
    ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
    (EULER, {**SCHEDULER, "timestep_type": "continuous", "prediction_type": "v_prediction"}),
    (EULER, {**SCHEDULER, "prediction_type": "sample"}),
    ("DDIMScheduler", {**SCHEDULER, "clip_sample": True}),
]


@pytest.mark.parametrize(("kind", "config"), WHOLE, ids=str)
def test_another_noise_schedule_is_drawn_by_the_folders_own_pipeline(
    tmp_path: Path, kind: str, config: dict[str, Any]
) -> None:
    folder = with_scheduler(make_sdxl(tmp_path / "tiny"), kind, **config)
    loaded = load(str(folder), CPU)
    assert loaded.info.family == checkpoint_files.model_at(folder).family == "any"
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(folder)
    wanted = request(steps=5, sampler=loaded.info.sampler)
    assert distance(ours(loaded, wanted), plain(pipeline, wanted)) <= 1


def test_one_that_starts_from_pictures_is_drawn_from_words_all_the_same(tmp_path: Path) -> None:
    folder = with_scheduler(make(tmp_path / "tiny"), "EDMEulerScheduler")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionImg2ImgPipeline"}))
    wanted = request(steps=3, sampler="own")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    assert distance(ours(load(str(folder), CPU), wanted), plain(pipeline, wanted)) <= 1


def test_flux_with_chance_in_its_steps_is_drawn_whole(tmp_path: Path) -> None:
    folder = with_scheduler(make_flux(tmp_path / "tiny", guided=False), FLOW, stochastic_sampling=True)
    loaded = load(str(folder), CPU)
    assert loaded.info.family == checkpoint_files.model_at(folder).family == "any"
    wanted = request(steps=4, count=1, sampler="own", model=loaded.info.name)
    alone = pixels(EngineDriver(loaded).render(wanted)[0])
    driver = EngineDriver(loaded)
    for job in ("a", "b"):  # which take turns, step by step
        driver.submit(job, wanted)
    driver.finish("a", "b")
    assert [distance(pixels(driver.pictures(job)[0]), alone) for job in ("a", "b")] == [0, 0], "a seed is a picture"


def test_what_its_own_pipeline_cannot_draw_is_refused_by_name(tmp_path: Path) -> None:
    folder = with_scheduler(make_sdxl(tmp_path / "tiny"), FLOW, shift=3.0)
    with pytest.raises(CannotLoad, match=f"diffusers' own pipeline takes its {FLOW}"):
        ours(load(str(folder), CPU), request(sampler="own"))


@pytest.mark.parametrize("maker", [make, make_sdxl, lambda folder: make_flux(folder, guided=True)])
def test_a_folder_that_does_not_say_how_its_noise_lies_is_refused_with_a_cure(
    tmp_path: Path, maker: Callable[[Path], Path]
) -> None:
    folder = maker(tmp_path / "tiny")
    config = folder / "scheduler" / "scheduler_config.json"
    for content, said in (("[]", "cannot be read"), (None, "has no scheduler/scheduler_config.json")):
        config.unlink()
        if content is not None:
            config.write_text(content)
        with pytest.raises(CannotLoad, match=said):
            load(str(folder), CPU)
    (folder / "scheduler" / "readme.txt").touch()
    assert "scheduler has no scheduler_config.json. Fetch the model again." in checkpoint_files.problems(folder)[0]


@pytest.mark.parametrize("kind", [EULER, "EDMEulerScheduler"])
def test_beta_sigmas_are_refused_with_a_cure_where_their_library_is_not_there(tmp_path: Path, kind: str) -> None:
    folder = with_scheduler(make(tmp_path / "tiny"), kind, **SCHEDULER, use_beta_sigmas=True)
    with pytest.raises(CannotLoad, match="pip install scipy"):
        load(str(folder), CPU)


def test_what_a_config_leaves_out_is_as_its_own_scheduler_has_it(tmp_path: Path) -> None:
    folder = with_scheduler(make(tmp_path / "tiny"), "LCMScheduler")
    own = diffusers.LCMScheduler().config
    found = load(str(folder), CPU).family.scheduler
    assert [found[name] for name in ("beta_start", "beta_schedule")] == [own.beta_start, own.beta_schedule]


@pytest.mark.parametrize("kind", ["StableDiffusionPipeline", "StableDiffusionXLImg2ImgPipeline"])
def test_another_noise_schedule_makes_no_inpainting_model_or_refiner_one_that_draws(tmp_path: Path, kind: str) -> None:
    folder = with_scheduler(
        (make if kind.startswith("StableDiffusionP") else make_sdxl)(tmp_path / "tiny"), "TCDScheduler"
    )
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps({**index, "_class_name": kind, "requires_aesthetics_score": True})
    )
    unet = json.loads((folder / "unet" / "config.json").read_text())
    channels = 9 if kind == "StableDiffusionPipeline" else 4
    (folder / "unet" / "config.json").write_text(json.dumps({**unet, "in_channels": channels}))
    with pytest.raises(CannotLoad, match=r"only fills masks|is a refiner"):
        load(str(folder), CPU)


def test_the_vae_of_its_entry_counts_for_a_pipeline_that_runs_whole_too(tmp_path: Path) -> None:
    folder = with_scheduler(make(tmp_path / "tiny"), "EDMEulerScheduler")
    other = make(tmp_path / "other", seed=3)
    plain_one, with_other = load(str(folder), CPU), load(str(folder), CPU, vae=str(other))
    wanted = request(steps=3, sampler="own")
    assert distance(ours(plain_one, wanted), ours(with_other, wanted)) > 4
    assert plain_one.info.digest != with_other.info.digest
