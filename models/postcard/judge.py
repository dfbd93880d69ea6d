"""Says what a picture of one thing shows: a small classifier trained on renders, and a plain measure of colour.

The classifier's weights are made on demand and kept with training's other checkpoints; they are not shipped.
"""

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.postcard.render import render
from models.postcard.world import COLOURS, GROUNDS, SIZES, SKIES, THINGS, Scene, draw_scene

ASPECTS = ("thing", "colour", "ground", "sky")
CLASSES: tuple[tuple[str, ...], ...] = (THINGS, tuple(COLOURS), GROUNDS, SKIES)
REACH = 60.0  # how far, in RGB, a pixel may be from a colour to count as it


def colour_of_thing(picture: Image.Image) -> str:
    """The name of the colour that most pixels around the middle are near to; needs no training."""
    width, height = picture.size
    middle = picture.convert("RGB").crop(
        (round(width * 0.36), round(height * 0.4), round(width * 0.64), round(height * 0.66))
    )
    pixels = np.asarray(middle, dtype=np.float32).reshape(-1, 1, 3)
    palette = np.array(list(COLOURS.values()), dtype=np.float32)[None]
    distance = np.linalg.norm(pixels - palette, axis=2)
    near = distance.argmin(1)[distance.min(1) < REACH]
    return list(COLOURS)[int(np.bincount(near, minlength=len(COLOURS)).argmax())]


class Judge(nn.Module):
    """Four convolutions, then the mean and the maximum over the picture, then one answer for each aspect."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.GELU()]
            layers += [nn.Conv2d(after, after, 3, 1, 1, groups=after), nn.Conv2d(after, after, 1), nn.GELU()]
        self.look = nn.Sequential(*layers)
        self.answers = nn.ModuleList(nn.Linear(256, len(names)) for names in CLASSES)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(count, 3, 128, 128) in -1..1 to one tensor of scores per aspect."""
        seen = self.look(x)
        flat = torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)
        return [answer(flat) for answer in self.answers]


def tensor_of(pictures: list[Image.Image]) -> Tensor:
    """Pictures of any size as the judge sees them."""
    small = [np.asarray(p.convert("RGB").resize((128, 128), Image.Resampling.BOX)) for p in pictures]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1


def truth(scene: Scene) -> tuple[str, str, str, str]:
    """What the four answers should be."""
    return scene.things[0].kind, scene.things[0].colour, scene.ground, scene.sky


@torch.inference_mode()
def judged(judge: Judge, pictures: list[Image.Image]) -> list[tuple[str, ...]]:
    """What the judge sees in each picture."""
    answers = [a.argmax(1).tolist() for a in judge(tensor_of(pictures))]
    return [tuple(names[i] for names, i in zip(CLASSES, row, strict=True)) for row in zip(*answers, strict=True)]


def _worn(x: Tensor, rng: random.Random) -> Tensor:
    """A batch with the blur, noise and tint of generated pictures, so that the judge does not mind them."""
    if rng.random() < 0.5:
        x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = x + torch.randn_like(x) * rng.uniform(0, 0.08) + torch.randn(len(x), 3, 1, 1) * 0.04
    return x.flip(3) if rng.random() < 0.5 else x


def train_judge(path: Path, *, renders: int = 5000, steps: int = 800, seed: int = 31) -> Judge:
    """Draws its lessons (any combination), learns, and keeps the weights."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    weights = [6.0] + [1.0] * (len(SIZES) - 1)
    scenes = [draw_scene(rng, rng.choices(SIZES, weights)[0], 1) for _ in range(renders)]
    pictures = torch.cat([(tensor_of([render(s)]) * 127).round().to(torch.int8) for s in scenes])
    wanted = torch.tensor([[n.index(t) for n, t in zip(CLASSES, truth(s), strict=True)] for s in scenes])
    judge = Judge()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=1e-2)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        picked = torch.randint(0, renders, (64,))
        x = _worn(pictures[picked].float() / 127, rng)
        with torch.autocast("cpu", torch.bfloat16):
            answers = judge(x)
        loss = torch.stack([F.cross_entropy(a.float(), wanted[picked, i]) for i, a in enumerate(answers)]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(judge.state_dict(), path)
    return judge.eval()


def open_judge(path: Path) -> Judge:
    """The judge that `train_judge` kept."""
    judge = Judge()
    judge.load_state_dict(load_file(path))
    return judge.eval()
