"""A growing pool of rendered scenes, kept as latents of the frozen autoencoder, handed out in batches of one size.

Knows no diffusion. Encoding is dear, so each scene is drawn and encoded once and used several times, with new words
each time.
"""

import random
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from models.postcard.render import places, render
from models.postcard.world import Scene, training_scene

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """Latents (count, 4, h, w), their scenes, and where in them the things are (count, 1, h, w) as 0 or 1."""

    latents: Tensor
    scenes: list[Scene]
    inside: Tensor


@torch.inference_mode()
def encode(vae: AutoencoderKL, scenes: list[Scene]) -> Tensor:
    """Latents of equally large scenes, scaled for diffusion."""
    pictures = np.stack([np.asarray(render(s)) for s in scenes])
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.autocast("cpu", torch.bfloat16):
        mean = vae.encode(x).latent_dist.mode()
    return mean.float() * vae.config.scaling_factor


def inside(scene: Scene) -> Tensor:
    """(1, h, w): one where a thing stands, else zero."""
    width, height = (side // 8 for side in scene.size)
    mask = torch.zeros(1, height, width)
    for place in places(scene):
        left, top, right, bottom = (max(0, round(v / 8)) for v in place.box)
        mask[:, top:bottom, left:right] = 1
    return mask


class Pool:
    """Scenes by size. `weights` says how often each size is drawn."""

    def __init__(self, vae: AutoencoderKL, rng: random.Random, weights: dict[Size, float], limit: int) -> None:
        self._vae = vae
        self._rng = rng
        self._weights = weights
        self._limit = limit
        self._kept: dict[Size, list[tuple[Tensor, Scene, Tensor]]] = {size: [] for size in weights}

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def grow(self, count: int, size: Size | None = None) -> None:
        """Draw, encode and keep so many more scenes of one size; a full pool forgets old ones."""
        size = size or self._rng.choices(list(self._weights), list(self._weights.values()))[0]
        scenes = [training_scene(self._rng, size) for _ in range(count)]
        kept = self._kept[size]
        for latent, scene in zip(encode(self._vae, scenes), scenes, strict=True):
            entry = (latent.half(), scene, inside(scene))
            if len(self) < self._limit:
                kept.append(entry)
            else:
                kept[self._rng.randrange(len(kept))] = entry

    def fill(self, count: int) -> None:
        """Grow by about so many, each size by its share."""
        total = sum(self._weights.values())
        for size, weight in self._weights.items():
            for _ in range(max(2, round(count * weight / total / 32))):
                self.grow(32, size)

    def batch(self, count: int, rng: random.Random) -> Batch:
        """A batch of one size, which `rng` picks."""
        size = rng.choices(list(self._weights), list(self._weights.values()))[0]
        picked = self._rng.choices(self._kept[size], k=count)
        return Batch(
            torch.stack([p[0] for p in picked]).float(),
            [p[1] for p in picked],
            torch.stack([p[2] for p in picked]),
        )
