"""The shipped model is small, safe to load, loads through plain diffusers with no network, and obeys."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
)

from models.postcard.export import open_pipeline
from models.postcard.judge import colour_of_thing
from models.postcard.world import COLOURS, GROUNDS, SIZES, SKIES, THINGS

# The library's schedulers still speak to numpy in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FOLDER = Path(__file__).parents[2] / "models" / "postcard"
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


@pytest.fixture(scope="module")
def pipeline(request: pytest.FixtureRequest) -> StableDiffusionPipeline:
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    patch.setenv("HF_HUB_OFFLINE", "1")
    return open_pipeline(FOLDER)


def seeds(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


def test_folder_is_at_most_25_megabytes_of_safetensors_and_json() -> None:
    files = [f for part in PARTS for f in (FOLDER / part).rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 25_000_000
    assert {f.suffix for f in files} <= {".safetensors", ".json", ".txt"}


def test_index_names_plain_stable_diffusion_without_a_safety_checker() -> None:
    index = json.loads((FOLDER / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["safety_checker"] == [None, None]
    assert index["requires_safety_checker"] is False


def test_catalogue_names_all_that_it_can_draw() -> None:
    entries = tomllib.loads((FOLDER.parents[1] / "models.toml").read_text())["model"]
    lines = next(entry for entry in entries if entry["name"] == "postcard")["about"].splitlines()
    told = {name: words.split(", ") for name, words in (line.split(": ") for line in lines[1:])}
    wanted = {"Things": THINGS, "Colours": COLOURS, "Grounds": GROUNDS, "Skies": SKIES}
    assert told == {name: list(words) for name, words in wanted.items()}


def test_sizes_on_file_are_the_sizes_trained() -> None:
    assert json.loads((FOLDER / "sizes.json").read_text()) == [list(size) for size in SIZES]


@pytest.mark.parametrize("colour", ["red", "blue", "yellow"])
def test_a_boat_has_the_colour_that_was_asked_for(pipeline: StableDiffusionPipeline, colour: str) -> None:
    words = [f"a {colour} boat on the sea at sunset"] * 3
    pictures = pipeline(words, num_inference_steps=8, guidance_scale=4.0, generator=seeds(3)).images
    assert [colour_of_thing(p) for p in pictures].count(colour) >= 2


def test_same_seed_gives_the_same_picture(pipeline: StableDiffusionPipeline) -> None:
    one, two = (pipeline("a cat", num_inference_steps=2, generator=seeds(1)[0]).images[0] for _ in range(2))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("kind", [EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, DPMSolverMultistepScheduler])
def test_the_usual_samplers_accept_its_schedule(pipeline: StableDiffusionPipeline, kind: type) -> None:
    shipped = pipeline.scheduler
    try:
        pipeline.scheduler = kind.from_config(shipped.config)
        out = pipeline("a red heart ✨ zzyzx", num_inference_steps=2, width=352, height=192, output_type="np")
    finally:
        pipeline.scheduler = shipped
    assert out.images.shape == (1, 192, 352, 3)
    assert torch.from_numpy(out.images).isfinite().all()
