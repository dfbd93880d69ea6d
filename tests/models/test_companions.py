"""The shipped companions, opened as anyone would: they see, enlarge, print and obey references as promised."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file
from transformers import Swin2SRForImageSuperResolution

from models.postcard.companions import ip_adapter, lora
from models.postcard.companions.evaluation import decibels, guided, with_references
from models.postcard.companions.ink import printedness
from models.postcard.companions.labels import count, sentence, truth
from models.postcard.companions.lora import merge
from models.postcard.companions.taking_back import BACK
from models.postcard.companions.upscaler import doubled, pixels, ship_upscaler
from models.postcard.companions.vision_model import VisionModel
from models.postcard.evaluate import paint
from models.postcard.export import open_pipeline
from models.postcard.render import render
from models.postcard.train import HERE
from models.postcard.world import Scene, Thing, draw_scene, held_out_scene

# diffusers' Euler scheduler lets numpy read a tensor in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

PARTS = ("vision", "ip_adapter", "upscaler", "lora")


@pytest.fixture(scope="module")
def vision() -> VisionModel:
    """The vision network."""
    return VisionModel(HERE / "vision")


@pytest.fixture(scope="module")
def guide() -> StableDiffusionPipeline:
    """The model with its image prompt adapter."""
    return with_references(HERE)


def never_trained(amount: int, seed: int) -> list[Scene]:
    """Scenes whose combinations no training ever saw."""
    rng = random.Random(seed)
    return [held_out_scene(rng) for _ in range(amount)]


def test_they_are_safetensors_alone_and_twenty_megabytes_together() -> None:
    files = [file for part in PARTS for file in (HERE / part).rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".safetensors", ".json"}
    assert sum(file.stat().st_size for file in files) <= 20_000_000


def test_what_a_render_shows_is_told(vision: VisionModel) -> None:
    scenes = never_trained(120, 1)
    told, wanted = vision.describe([render(scene) for scene in scenes]), [truth(scene) for scene in scenes]
    for group, least in (("thing", 0.9), ("colour", 0.93), ("ground", 0.95), ("sky", 0.95)):
        assert sum(a[group] == b[group] for a, b in zip(told, wanted, strict=True)) / 120 >= least, group
    assert sum(count(words) == 1 for words in told) / 120 >= 0.95


def test_two_things_are_told_from_left_to_right(vision: VisionModel) -> None:
    things = (Thing("boat", "red"), Thing("star", "yellow"))
    scene = Scene(things=things, ground="sea", sky="sunset", size=(256, 256), seed=4)
    assert sentence(vision.describe([render(scene)])[0]) == "a red boat beside a yellow star on the sea at sunset"
    mirrored = replace(scene, things=things[::-1])
    assert sentence(vision.describe([render(mirrored)])[0]) == "a yellow star beside a red boat on the sea at sunset"


def test_pictures_of_one_scene_embed_nearer_to_each_other_than_to_other_scenes(vision: VisionModel) -> None:
    rng = random.Random(5)
    scenes = [draw_scene(rng, (256, 256), 1) for _ in range(16)]
    one, other = (
        torch.nn.functional.normalize(vision.embed([render(replace(scene, seed=seed)) for scene in scenes]), dim=1)
        for seed in (1, 2)
    )
    nearest = (one @ other.T).argmax(1)
    assert (nearest == torch.arange(16)).float().mean() >= 0.9


@torch.inference_mode()
def test_the_upscaler_is_far_nearer_to_a_postcard_drawn_large_than_plain_enlarging() -> None:
    model = Swin2SRForImageSuperResolution.from_pretrained(HERE / "upscaler").eval()
    ours, plain = 0.0, 0.0
    for scene in never_trained(4, 6):
        large = render(doubled(replace(scene, size=(192, 192))))
        small, target = large.reduce(2), pixels(large).float() / 255
        out = model(pixels(small)[None].float() / 255).reconstruction[0].clamp(0, 1)
        bicubic = pixels(small.resize(large.size, Image.Resampling.BICUBIC)).float() / 255
        ours += float((out - target).square().mean()) / 4
        plain += float((bicubic - target).square().mean()) / 4
    assert decibels(ours) >= decibels(plain) + 3


def test_the_style_prints_by_its_weight_and_keeps_what_is_shown() -> None:
    words = ["a red boat on the sea", "a yellow star over the desert at night", "a green house in the snow"]
    pipeline, before, shares, painted = open_pipeline(HERE), 0.0, [], []
    for weight in (0.0, 0.5, 1.0):
        merge(pipeline.unet, HERE / "lora" / "ink.safetensors", weight - before)
        before = weight
        painted.append(paint(pipeline, words, steps=8, guidance=4.0))
        shares.append(sum(printedness(picture) for picture in painted[-1]) / len(words))
    assert shares[0] < shares[1] < shares[2]
    assert shares[0] < 0.3 and shares[2] > 0.7, shares


def test_a_reference_alone_brings_its_thing_its_colours_and_its_light(
    guide: StableDiffusionPipeline, vision: VisionModel
) -> None:
    wanted = [
        ("boat", "red", "sea", "sunset"),
        ("star", "yellow", "desert", "night"),
        ("house", "green", "snow", "day"),
    ]
    references = [
        render(Scene(things=(Thing(kind, colour),), ground=ground, sky=sky, size=(256, 256), seed=7))
        for kind, colour, ground, sky in wanted
    ]
    pictures = guided(guide, [""] * 3, [[one] for one in references], scale=1.0, steps=12)
    told = vision.describe(pictures)
    right = [[words[group] for group in ("thing", "colour", "ground", "sky")] for words in told]
    hits = sum(a == b for found, one in zip(right, wanted, strict=True) for a, b in zip(found, one, strict=True))
    assert hits >= 8, right


def test_without_a_reference_the_adapter_says_nothing(guide: StableDiffusionPipeline) -> None:
    reference = render(never_trained(1, 8)[0])
    words = ["a red boat on the sea"]
    silent = guided(guide, words, [[reference]], scale=0.0, steps=4)[0]
    plain = paint(open_pipeline(HERE), words, steps=4, guidance=4.0)[0]
    change = (pixels(silent).int() - pixels(plain).int()).abs().max()
    assert int(change) <= 2


@pytest.mark.parametrize("part", ["upscaler", "lora", "ip_adapter"])
def test_training_goes_on_from_what_is_shipped(part: str, tmp_path: Path) -> None:
    BACK[part](HERE, tmp_path / "training")
    ship = {"upscaler": ship_upscaler, "lora": lora.ship_lora, "ip_adapter": ip_adapter.ship_ip_adapter}[part]
    ship(tmp_path / "training", tmp_path / part)
    for file in (HERE / part).glob("*.safetensors"):
        before, after = load_file(file), load_file(tmp_path / part / file.name)
        assert before.keys() == after.keys()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
