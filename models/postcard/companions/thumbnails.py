"""A growing pool of renders as the vision network sees them: 128 pixels square, some through Postcard's autoencoder.

Knows no network. Drawing is dear, so each picture is drawn once and used several times, each time worn another way.
"""

import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from models.postcard.companions.labels import indices
from models.postcard.latents import encode
from models.postcard.render import places, render
from models.postcard.world import COLOURS, SIZES, THINGS, Scene, training_scene

SIDE, SHIFT = 128, 8
THROUGH_VAE = 0.15
FILTERS = (
    Image.Resampling.BICUBIC, Image.Resampling.BICUBIC, Image.Resampling.BOX, Image.Resampling.LANCZOS,
    Image.Resampling.BILINEAR,
)  # fmt: skip
ABSENT, COLOURLESS = len(THINGS), len(COLOURS)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pictures (count, 3, 128, 128) in 0..1, the word of each group (count, 6), and the thing at each patch.

    `cells` is (count, 8, 8, 2): the kind and the colour of the thing there, or the last of its group.
    """

    pictures: Tensor
    words: Tensor
    cells: Tensor


def thumbnail(picture: Image.Image, how: Image.Resampling = Image.Resampling.BICUBIC) -> Tensor:
    """(3, 128, 128) bytes."""
    small = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), how))
    return torch.from_numpy(small.copy()).permute(2, 0, 1)


@torch.inference_mode()
def decoded(vae: AutoencoderKL, latents: Tensor) -> list[Image.Image]:
    """The pictures of scaled latents."""
    with torch.autocast("cpu", torch.bfloat16):
        out = vae.decode(latents / vae.config.scaling_factor).sample
    pixels = (out.float().clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(p) for p in pixels]


def discs(scene: Scene) -> Tensor:
    """(2, 4): centre and radii of the two things in shares of the picture; radius 0 where there is none."""
    width, height = scene.size
    found = torch.zeros(2, 4)
    for i, p in enumerate(places(scene)):
        found[i] = torch.tensor([p.x / width, p.y / height, p.radius / width, p.radius / height])
    return found


class Thumbnails:
    """The pool."""

    def __init__(self, vae: AutoencoderKL, seed: int, limit: int = 24_000) -> None:
        self._vae = vae
        self._rng = random.Random(seed)
        self._noise = torch.Generator().manual_seed(seed)
        self._limit = limit
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def grow(self, count: int) -> None:
        """Draw so many more; a full pool forgets old ones."""
        for _ in range(count):
            rng = self._rng
            size = rng.choices(SIZES, (8, 1, 1, 1, 1, 1, 1, 1, 1))[0]
            scene = training_scene(rng, size, rng.choices((0, 1, 2), (5, 52, 43))[0])
            entry = (thumbnail(self._picture(scene), rng.choice(FILTERS)), torch.tensor(indices(scene)), discs(scene))
            if len(self) < self._limit:
                self._kept.append(entry)
            else:
                self._kept[rng.randrange(len(self))] = entry

    def _picture(self, scene: Scene) -> Image.Image:
        if self._rng.random() >= THROUGH_VAE:
            return render(scene)
        latents = encode(self._vae, [scene])
        noise = torch.randn(latents.shape, generator=self._noise)
        return decoded(self._vae, latents + noise * self._rng.uniform(0, 0.25))[0]

    def lesson(self, count: int) -> Lesson:
        """So many pictures of the pool, shifted, mirrored, blurred, noisy and tinted."""
        picked = self._rng.choices(self._kept, k=count)
        pictures, words, where = (torch.stack(column) for column in zip(*picked, strict=True))
        pictures = pictures.float() / 255
        if self._rng.random() < 0.5:
            pictures, words, where = _mirrored(pictures, words, where)
        shift = torch.randint(-SHIFT, SHIFT + 1, (count, 2), generator=self._noise)
        where[..., :2] -= shift[:, None] / SIDE
        pictures = self._worn(_shifted(pictures, shift))
        return Lesson(pictures, words, _cells(words, where))

    def _worn(self, x: Tensor) -> Tensor:
        """With the blur, noise and tint of generated pictures, as the judge learns."""
        if self._rng.random() < 0.4:
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x = x + torch.randn(x.shape, generator=self._noise) * self._rng.uniform(0, 0.04)
        return (x + torch.randn(len(x), 3, 1, 1, generator=self._noise) * 0.02).clamp(0, 1)


def _mirrored(pictures: Tensor, words: Tensor, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left and right change places, and so do the two things where there are two."""
    two = (words[:, 2] != ABSENT)[:, None]
    swapped = words[:, [2, 3, 0, 1, 4, 5]]
    turned = where.clone()
    turned[..., 0] = 1 - turned[..., 0]
    return (
        pictures.flip(3),
        torch.where(two, swapped, words),
        torch.where(two[..., None], turned.flip(1), turned),
    )


def _shifted(pictures: Tensor, shift: Tensor) -> Tensor:
    wide = F.pad(pictures, (SHIFT,) * 4, mode="replicate")
    return torch.stack(
        [
            p[:, SHIFT + y : SHIFT + y + SIDE, SHIFT + x : SHIFT + x + SIDE]
            for p, (x, y) in zip(wide, shift.tolist(), strict=True)
        ]
    )


def _cells(words: Tensor, where: Tensor, side: int = 8) -> Tensor:
    middles = (torch.arange(side) + 0.5) / side
    cells = torch.stack(
        [torch.full((len(words), side, side), ABSENT), torch.full((len(words), side, side), COLOURLESS)], -1
    )
    for i in range(2):
        x, y, rx, ry = (v[:, None, None] for v in where[:, i].unbind(1))
        over = ((middles - x) / (rx + 1e-6)).square() + ((middles[:, None] - y) / (ry + 1e-6)).square() < 1.0
        cells = torch.where(over[..., None], words[:, None, None, 2 * i : 2 * i + 2], cells)
    return cells
