"""Scores the shipped model on captions whose combinations it never saw: `python -m models.postcard.evaluate`.

A small classifier judges thing, colour, ground and sky; its own accuracy on real renders stands beside. Prints a
table, then one line of JSON. Knows nothing of training.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from models.postcard.captions import caption
from models.postcard.export import open_pipeline
from models.postcard.judge import ASPECTS, Judge, colour_of_thing, judged, open_judge, train_judge, truth
from models.postcard.render import render
from models.postcard.world import Scene, held_out_scene

HERE = Path(__file__).parent
JUDGE = Path(".training/judge.safetensors")


def questions(count: int, seed: int = 2024) -> list[tuple[Scene, str]]:
    """Held-out scenes and a wording of each that names all four parts."""
    rng = random.Random(seed)
    scenes = [held_out_scene(rng) for _ in range(count)]
    return [(scene, caption(scene, rng, drop=0.0, noise=0.0)) for scene in scenes]


def paint(
    pipeline: StableDiffusionPipeline, captions: list[str], *, steps: int, guidance: float, rows: int = 8
) -> list[Image.Image]:
    """One picture for each caption, each from its own seed, several at once."""
    pictures: list[Image.Image] = []
    for start in range(0, len(captions), rows):
        some = captions[start : start + rows]
        seeds = [torch.Generator().manual_seed(start + i) for i in range(len(some))]
        out = pipeline(some, num_inference_steps=steps, guidance_scale=guidance, generator=seeds)
        pictures += out.images
    return pictures


def score(judge: Judge, pictures: list[Image.Image], scenes: list[Scene]) -> dict[str, float]:
    """The share of right answers for each aspect, for all four at once, and by the plain colour measure."""
    seen = judged(judge, pictures)
    right = [[a == b for a, b in zip(found, truth(s), strict=True)] for found, s in zip(seen, scenes, strict=True)]
    shares = {name: sum(r[i] for r in right) / len(right) for i, name in enumerate(ASPECTS)}
    shares["all"] = sum(all(r) for r in right) / len(right)
    plain = [colour_of_thing(p) == s.things[0].colour for p, s in zip(pictures, scenes, strict=True)]
    return shares | {"plain_colour": sum(plain) / len(plain)}


def main() -> None:
    """Read the command line, paint, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--model", type=Path, default=HERE)
    parser.add_argument("--judge", type=Path, default=JUDGE)
    parser.add_argument("--train-classifier", action="store_true", help="train it anew even if it is there")
    parser.add_argument("--show-mistakes", action="store_true")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    fresh = args.train_classifier or not args.judge.exists()
    judge = train_judge(args.judge) if fresh else open_judge(args.judge)
    scenes, captions = map(list, zip(*questions(args.count), strict=True))
    begin = time.monotonic()
    pictures = paint(open_pipeline(args.model), captions, steps=args.steps, guidance=args.guidance)
    seconds = time.monotonic() - begin
    model, real = score(judge, pictures, scenes), score(judge, [render(s) for s in scenes], scenes)
    print(f"{'':14}{'model':>8}{'renders':>9}")
    for name, share in model.items():
        print(f"{name:14}{share:8.1%}{real[name]:9.1%}")
    if args.show_mistakes:
        for words, scene, found in zip(captions, scenes, judged(judge, pictures), strict=True):
            if found != truth(scene):
                print(f"{words!r} looks like {found}")
    result = {"captions": args.count, "steps": args.steps, "guidance": args.guidance, "seconds": round(seconds, 1)}
    print(json.dumps(result | {"model": model, "renders": real}))


if __name__ == "__main__":
    main()
