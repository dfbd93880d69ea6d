"""The upscaler: a small Swin2SR that doubles postcards, taught on renders drawn at twice the size.

It starts out as plain interpolation and learns the rest. Knows nothing of diffusion but that some of its lessons went
through the autoencoder, as generated pictures do.
"""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution, Swin2SRImageProcessor

from models.postcard.companions.fitting import Course, fit, resume
from models.postcard.render import places, render
from models.postcard.team import Team
from models.postcard.world import SIZES, Scene, training_scene

CROP, BATCH, START, GROW = 48, 8, 100, 0.25
THROUGH_VAE, DRAWN_SMALL = 0.3, 0.15


def new_config() -> Swin2SRConfig:
    """About a hundred thousand weights."""
    return Swin2SRConfig(
        image_size=64,
        embed_dim=32,
        depths=(2, 2, 2),
        num_heads=(4, 4, 4),
        window_size=8,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
        upscale=2,
        upsampler="pixelshuffledirect",
    )


def new_upscaler() -> Swin2SRForImageSuperResolution:
    """Random weights, but for a straight way through that interpolates linearly."""
    model = Swin2SRForImageSuperResolution(new_config())
    first, last = model.swin2sr.first_convolution, model.upsample.conv
    with torch.no_grad():
        first.weight[:3] = 0
        first.bias[:3] = 0
        nn.init.normal_(last.weight, std=0.002)
        nn.init.zeros_(last.bias)
        nn.init.normal_(model.swin2sr.conv_after_body.weight, std=0.002)
        nn.init.zeros_(model.swin2sr.conv_after_body.bias)
        for channel in range(3):
            first.weight[channel, channel, 1, 1] = 1
            for i, rows in enumerate(((0.25, 0.75, 0.0), (0.0, 0.75, 0.25))):
                for j, columns in enumerate(((0.25, 0.75, 0.0), (0.0, 0.75, 0.25))):
                    last.weight[channel * 4 + i * 2 + j, channel] = torch.outer(
                        torch.tensor(rows), torch.tensor(columns)
                    )
    return model


def doubled(scene: Scene) -> Scene:
    """The same scene at twice the size."""
    return replace(scene, size=(scene.size[0] * 2, scene.size[1] * 2))


def pixels(picture: Image.Image) -> Tensor:
    """(3, height, width) bytes."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


class Pairs:
    """A slowly renewed pool of small pictures with their doubles, that gives crops near the things."""

    def __init__(self, vae: AutoencoderKL, rng: random.Random, count: int) -> None:
        self._vae = vae
        self._rng = rng
        self._kept = [self._draw() for _ in range(count)]

    def renew(self, count: int) -> None:
        """Replace so many."""
        for _ in range(count):
            self._kept[self._rng.randrange(len(self._kept))] = self._draw()

    def _draw(self) -> tuple[Tensor, Tensor, list[tuple[float, float]]]:
        size = self._rng.choices(SIZES, (8, 1, 1, 1, 1, 1, 1, 1, 1))[0]
        scene = training_scene(self._rng, size)
        large = render(doubled(scene))
        how = self._rng.random()
        small = pixels(render(scene) if how < DRAWN_SMALL else large.reduce(2))
        if how > 1 - THROUGH_VAE:
            small = self._through_vae(small)
        return small, pixels(large), [(p.x, p.y) for p in places(scene)]

    @torch.inference_mode()
    def _through_vae(self, small: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            latents = self._vae.encode(small[None].float() / 127.5 - 1).latent_dist.mode()
            out = self._vae.decode(latents).sample[0]
        return (out.float().clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8).clone()

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """(count, 3, CROP, CROP) and (count, 3, 2 CROP, 2 CROP) in 0..1."""
        crops = [self._crop(*self._rng.choice(self._kept)) for _ in range(count)]
        small, large = (torch.stack(column).float() / 255 for column in zip(*crops, strict=True))
        if self._rng.random() < 0.5:
            small, large = small.flip(3), large.flip(3)
        if self._rng.random() < 0.3:
            small, large = small.transpose(2, 3), large.transpose(2, 3)
        return small.contiguous(), large.contiguous()

    def _crop(self, small: Tensor, large: Tensor, centres: list[tuple[float, float]]) -> tuple[Tensor, Tensor]:
        rng = self._rng
        height, width = small.shape[1:]
        if centres and rng.random() < 0.6:
            x, y = rng.choice(centres)
            x, y = x + rng.gauss(0, 34) - CROP / 2, y + rng.gauss(0, 34) - CROP / 2
        else:
            x, y = rng.random() * (width - CROP), rng.random() * (height - CROP)
        left, top = (round(min(max(v, 0), side - CROP)) for v, side in ((x, width), (y, height)))
        return (
            small[:, top : top + CROP, left : left + CROP],
            large[:, 2 * top : 2 * (top + CROP), 2 * left : 2 * (left + CROP)],
        )


def loss_of(model: nn.Module, small: Tensor, large: Tensor) -> Tensor:
    """Absolute and squared error together."""
    with torch.autocast("cpu", torch.bfloat16):
        out = model(small).reconstruction
    error = out.float() - large
    return error.abs().mean() + 10 * error.square().mean()


def train_upscaler(
    team: Team, folder: Path, vae: AutoencoderKL, minutes: float, lr: float, *, start: int = START, batch: int = BATCH
) -> None:
    """Train for so many minutes."""
    model = new_upscaler()
    course = Course(path=folder / "upscaler.safetensors", minutes=minutes, lr=lr, decay=1e-4)
    average, step = resume(course, model)
    rng = random.Random(700 + step + 7919 * team.rank)
    pairs = Pairs(vae, rng, start // team.size)

    def lesson() -> Tensor:
        pairs.renew(int(rng.random() < GROW))
        return loss_of(model, *pairs.batch(batch // team.size))

    fit(team, course, model, average, step, lesson)


def ship_upscaler(folder: Path, out: Path) -> None:
    """Write the checkpoint's average as transformers reads it."""
    average, _ = resume(Course(path=folder / "upscaler.safetensors", minutes=0, lr=0), new_upscaler())
    average.model.save_pretrained(out)
    Swin2SRImageProcessor().save_pretrained(out)
