"""The questions that the companions' scores answer, one function each, from a model folder to named numbers.

Everything is loaded the way that the published classes load it. Knows no command line.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, Swin2SRForImageSuperResolution

from models.postcard.captions import caption
from models.postcard.companions.frozen_model import frozen_vae
from models.postcard.companions.ink import printed, printedness
from models.postcard.companions.labels import GROUPS, count, truth
from models.postcard.companions.lora import merge
from models.postcard.companions.thumbnails import decoded
from models.postcard.companions.upscaler import doubled, pixels
from models.postcard.companions.vision_model import VisionModel
from models.postcard.evaluate import paint
from models.postcard.export import open_pipeline
from models.postcard.judge import Judge, judged
from models.postcard.latents import encode
from models.postcard.render import render
from models.postcard.world import COLOURS, GROUNDS, SIZES, SKIES, Scene, Thing, draw_scene, held_out_scene, is_held_out

Scores = dict[str, float]
STEPS, GUIDANCE = 20, 4.0


def pairs_never_trained(rng: random.Random, amount: int) -> list[Scene]:
    """Scenes of two things of which at least one makes a combination that was held out."""
    found: list[Scene] = []
    while len(found) < amount:
        if is_held_out(scene := draw_scene(rng, rng.choices(SIZES, (8, 1, 1, 1, 1, 1, 1, 1, 1))[0], 2)):
            found.append(scene)
    return found


def vision(folder: Path, judge: Judge, amount: int, rng: random.Random) -> Scores:
    """Shares of right words on renders of one thing and of two, and on pictures that went through the autoencoder."""
    vision, vae = VisionModel(folder / "vision"), frozen_vae()
    ones = [held_out_scene(rng, rng.choices(SIZES, (8, 1, 1, 1, 1, 1, 1, 1, 1))[0]) for _ in range(amount * 6)]
    twos = pairs_never_trained(rng, amount * 4)
    scores: Scores = {}
    for name, scenes in (("one", ones), ("two", twos)):
        scores |= _right(name, vision, [render(s) for s in scenes], scenes)
    pictures = [decoded(vae, encode(vae, [s]))[0] for s in ones[: amount * 2]]
    return scores | _right("decoded", vision, pictures, ones[: amount * 2])


def _right(name: str, vision: VisionModel, pictures: Sequence[Image.Image], scenes: Sequence[Scene]) -> Scores:
    told = [words for i in range(0, len(pictures), 64) for words in vision.describe(pictures[i : i + 64])]
    wanted = [truth(scene) for scene in scenes]
    total = len(scenes)
    scores = {
        f"{name}: {group}": sum(a[group] == b[group] for a, b in zip(told, wanted, strict=True)) / total
        for group in GROUPS
        if group in wanted[0] and (name == "two" or not group.startswith("second"))
    }
    return scores | {
        f"{name}: number of things": sum(count(a) == count(b) for a, b in zip(told, wanted, strict=True)) / total
    }


def decibels(error: float) -> float:
    """Peak signal to noise of a mean squared error on the scale 0..1."""
    return -10 * math.log10(error)


@torch.inference_mode()
def upscaler(folder: Path, judge: Judge, amount: int, rng: random.Random) -> Scores:
    """Decibels of ours and of bicubic against renders drawn at twice the size, from clean and from decoded pictures."""
    model = Swin2SRForImageSuperResolution.from_pretrained(folder / "upscaler").eval()
    vae = frozen_vae()
    errors: dict[str, list[float]] = {}
    for _ in range(amount // 2):
        scene = held_out_scene(rng)
        large = render(doubled(scene))
        target, small = pixels(large).float() / 255, large.reduce(2)
        for name, picture in (("clean", small), ("decoded", decoded(vae, encode(vae, [scene]))[0])):
            ours = model(pixels(picture)[None].float() / 255).reconstruction[0].clamp(0, 1)
            plain = pixels(picture.resize(large.size, Image.Resampling.BICUBIC)).float() / 255
            errors.setdefault(f"{name}: ours, dB", []).append(float((ours - target).square().mean()))
            errors.setdefault(f"{name}: bicubic, dB", []).append(float((plain - target).square().mean()))
    return {name: decibels(sum(values) / len(values)) for name, values in errors.items()}


def ink(folder: Path, judge: Judge, amount: int, rng: random.Random) -> Scores:
    """How printed pictures are at three weights, and whether the full weight keeps what the picture showed."""
    scenes = [held_out_scene(rng) for _ in range(amount // 2)]
    words = [caption(s, rng, drop=0.0, noise=0.0) for s in scenes]
    pipeline = open_pipeline(folder)
    scores, painted, before = {}, {}, 0.0
    for weight in (0.0, 0.5, 1.0):
        merge(pipeline.unet, folder / "lora" / "ink.safetensors", weight - before)
        before = weight
        painted[weight] = paint(pipeline, words, steps=STEPS, guidance=GUIDANCE)
        shares = [printedness(p) for p in painted[weight]]
        scores[f"printed share at weight {weight}"] = sum(shares) / len(shares)
    alike = [_alike(printed(a), b) for a, b in zip(painted[0.0], painted[1.0], strict=True)]
    return scores | {"likeness to the print of the plain picture": sum(alike) / len(alike)}


def _alike(one: Image.Image, other: Image.Image) -> float:
    """The correlation of two pictures' brightness, seen from a little further away."""
    a, b = (np.asarray(p.convert("L").reduce(4), dtype=np.float64).ravel() for p in (one, other))
    return float(np.corrcoef(a, b)[0, 1])


def with_references(folder: Path) -> StableDiffusionPipeline:
    """The shipped model with the adapter, loaded as any other."""
    pipeline = open_pipeline(folder)
    pipeline.register_modules(feature_extractor=CLIPImageProcessor.from_pretrained(folder / "vision"))
    pipeline.load_ip_adapter(
        str(folder), subfolder="ip_adapter", weight_name="ip_adapter.safetensors", image_encoder_folder="./vision"
    )
    return pipeline


def guided(
    pipeline: StableDiffusionPipeline,
    words: Sequence[str],
    references: Sequence[Sequence[Image.Image]],
    *,
    scale: float,
    steps: int = STEPS,
) -> list[Image.Image]:
    """One picture for each wording and its references, each from its own seed."""
    pipeline.set_ip_adapter_scale(scale)
    pictures: list[Image.Image] = []
    for i, (line, images) in enumerate(zip(words, references, strict=True)):
        out = pipeline(
            line,
            ip_adapter_image=[list(images)],
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=torch.Generator().manual_seed(i),
        )
        pictures += out.images
    return pictures


def reference(folder: Path, judge: Judge, amount: int, rng: random.Random) -> Scores:
    """With no words at all: how often a picture shows what its reference shows."""
    scenes = [held_out_scene(rng) for _ in range(amount)]
    pictures = guided(with_references(folder), [""] * amount, [[render(s)] for s in scenes], scale=1.0)
    seen = judged(judge, pictures)
    wanted = [(s.things[0].kind, s.things[0].colour, s.ground, s.sky) for s in scenes]
    return {
        name: sum(a[i] == b[i] for a, b in zip(seen, wanted, strict=True)) / amount
        for i, name in enumerate(("thing", "colour", "ground", "sky"))
    }


def bands(picture: Image.Image) -> Tensor:
    """(9,): the mean colours of three bands from top to bottom, 0..1."""
    return torch.nn.functional.adaptive_avg_pool2d(pixels(picture).float()[None] / 255, (3, 1)).flatten()


def style(folder: Path, judge: Judge, amount: int, rng: random.Random) -> Scores:
    """Words name a red boat on the sea, a reference has another thing and light: whose palette, and is it a boat."""
    references = [
        render(replace(held_out_scene(rng), sky=rng.choice(SKIES), ground=rng.choice(GROUNDS))) for _ in range(amount)
    ]
    words = ["a red boat on the sea"] * amount
    pipeline = with_references(folder)
    plain, styled = (guided(pipeline, words, [[r] for r in references], scale=scale) for scale in (0.0, 0.6))
    before, after = (
        [float((bands(p) - bands(r)).norm()) for p, r in zip(pictures, references, strict=True)]
        for pictures in (plain, styled)
    )
    seen = judged(judge, styled)
    return {
        "palette nearer to the reference": sum(a < b for a, b in zip(after, before, strict=True)) / amount,
        "distance left, of the distance without": sum(after) / sum(before),
        "still a boat": sum(thing == "boat" for thing, *_ in seen) / amount,
        "still red": sum(colour == "red" for _, colour, *_ in seen) / amount,
    }


def near(picture: Image.Image, colour: str, reach: float = 60.0) -> float:
    """The share of pixels that are about of a named colour."""
    shades = np.asarray(picture.convert("RGB"), dtype=np.float32)
    distance = np.linalg.norm(shades - np.array(COLOURS[colour], dtype=np.float32), axis=2)
    return float((distance < reach).mean())


def blend(folder: Path, judge: Judge, amount: int, rng: random.Random) -> Scores:
    """Two references, a red boat and a yellow star: how often both colours are to be seen, and both things."""
    things = (Thing("boat", "red"), Thing("star", "yellow"))
    references = [
        [
            render(
                Scene(
                    things=(thing,),
                    ground=rng.choice(GROUNDS),
                    sky=rng.choice(("day", "night", "dawn")),
                    size=SIZES[0],
                    seed=rng.getrandbits(48),
                )
            )
            for thing in things
        ]
        for _ in range(amount // 2)
    ]
    pictures = guided(with_references(folder), [""] * len(references), references, scale=1.0)
    red, yellow = ([near(p, colour) >= 0.02 for p in pictures] for colour in ("red", "yellow"))
    told = [{words["thing"], words["second"]} for words in VisionModel(folder / "vision").describe(pictures)]
    total = len(pictures)
    return {
        "red to be seen": sum(red) / total,
        "yellow to be seen": sum(yellow) / total,
        "both": sum(a and b for a, b in zip(red, yellow, strict=True)) / total,
        "boat and star both told": sum({"boat", "star"} <= words for words in told) / total,
    }
