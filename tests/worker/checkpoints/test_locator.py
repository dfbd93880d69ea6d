"""Folders of a wrong kind are said with what would be right, and what a folder says of itself counts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_flux, make_sd3, make_sdxl
from worker.checkpoints import load
from worker.device import choose_device
from worker.errors import CannotLoad
from worker.families.sd import guidance_embedding
from worker.interfaces import Guidance

CPU = choose_device("cpu", "float32", 0)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_refiner_is_refused(tmp_path: Path) -> None:
    folder = make_sdxl(tmp_path / "refiner")
    change(folder / "model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline", requires_aesthetics_score=True)
    with pytest.raises(CannotLoad, match="Use the base model"):
        load(str(folder), CPU)


def test_a_model_that_fills_masks_alone_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "inpainting")
    change(folder / "unet" / "config.json", in_channels=9)
    with pytest.raises(CannotLoad, match="only fills masks"):
        load(str(folder), CPU)


def test_an_index_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    for content in ("not json", "[]", '{"_class_name": null}'):
        (tmp_path / "model_index.json").write_text(content)
        with pytest.raises(CannotLoad, match="cannot be read"):
            load(str(tmp_path), CPU)


@pytest.mark.parametrize("maker", [make_sdxl, make_sd3, lambda folder: make_flux(folder, guided=False)])
def test_pickled_parts_of_any_family_are_never_loaded(tmp_path: Path, maker: Any) -> None:
    folder = maker(tmp_path / "model")
    (weights,) = (folder / "text_encoder").glob("*.safetensors")
    torch.save({}, weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(CannotLoad):
        load(str(folder), CPU)


def test_a_unet_that_was_taught_its_guidance_takes_it_as_a_number(tmp_path: Path) -> None:
    from diffusers import LatentConsistencyModelPipeline, UNet2DConditionModel

    folder = make(tmp_path / "lcm")
    config = UNet2DConditionModel.load_config(folder / "unet")
    UNet2DConditionModel.from_config({**config, "time_cond_proj_dim": 10}).save_pretrained(folder / "unet")
    change(
        folder / "model_index.json",
        _class_name="LatentConsistencyModelPipeline",
        scheduler=["diffusers", "LCMScheduler"],
    )
    loaded = load(str(folder), CPU)
    family = loaded.family
    assert family.guidance is Guidance.EMBEDDED
    assert (loaded.info.steps, loaded.info.sampler, loaded.info.guidance) == (4, "lcm", 7.5)
    text = {name: value[None] for name, value in family.encode_prompt("a boat").items()}
    latents, times = torch.ones(1, 4, 8, 8), torch.full((1,), 500.0)
    weak, strong = (family.denoise(latents, times, text, torch.tensor([scale])) for scale in (1.0, 8.0))
    assert not torch.allclose(weak, strong, atol=1e-4)
    pipeline = LatentConsistencyModelPipeline.from_pretrained(folder)
    theirs = pipeline.get_guidance_scale_embedding(torch.tensor([0.0, 6.5]), embedding_dim=9)
    assert torch.allclose(guidance_embedding(torch.tensor([1.0, 7.5]), 9), theirs, atol=1e-4)
