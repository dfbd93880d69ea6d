"""The style of ink as low-rank changes of the frozen UNet's layers, in the format that pipelines read.

Knows no pictures but through the pool of printed scenes.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.postcard.companions.fitting import Course, fit, resume
from models.postcard.companions.frozen_model import frozen_model, loss_of, told
from models.postcard.companions.ink import printed
from models.postcard.render import render
from models.postcard.team import Team
from models.postcard.world import SIZES, Scene, training_scene

RANK = 4
# The convolutions too: half of this small UNet is above its attention, and colour is decided there as well.
TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2",
    "conv_shortcut", "samplers.0.conv", "conv_out",
)  # fmt: skip
BATCH, START, GROW, SILENCE = 16, 700, 1, 0.1
FILE = "ink.safetensors"


Layer = nn.Linear | nn.Conv2d


def targets(unet: UNet2DConditionModel) -> Iterator[tuple[str, Layer]]:
    """The layers that the style may change, by name."""
    for name, module in unet.named_modules():
        if isinstance(module, Layer) and name.endswith(TARGETS):
            yield name, module


class Style(nn.Module):
    """Two thin matrices for each layer; at first they change nothing."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.names = [name for name, _ in targets(unet)]
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        for _, layer in targets(unet):
            out, *into = layer.weight.shape
            self.down.append(torch.randn(RANK, *into) / torch.Size(into).numel() ** 0.5)
            self.up.append(torch.zeros(out, RANK, *[1] * (layer.weight.ndim - 2)))

    def hang(self, unet: UNet2DConditionModel) -> None:
        """From now on the UNet paints in this style."""
        for i, (_, layer) in enumerate(targets(unet)):
            layer.register_forward_hook(self._adding(i))

    def _adding(self, i: int) -> Callable[[Layer, tuple[Tensor, ...], Tensor], Tensor]:
        def add(layer: Layer, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if isinstance(layer, nn.Linear):
                return output + F.linear(F.linear(given[0], self.down[i]), self.up[i])
            low = F.conv2d(given[0], self.down[i], stride=layer.stride, padding=layer.padding)
            return output + F.conv2d(low, self.up[i])

        return add

    def tensors(self) -> dict[str, Tensor]:
        """By the names that pipelines look for."""
        found = {}
        for name, down, up in zip(self.names, self.down, self.up, strict=True):
            found[f"unet.{name}.lora_A.weight"] = down.detach().contiguous()
            found[f"unet.{name}.lora_B.weight"] = up.detach().contiguous()
        return found

    @torch.no_grad()
    def read(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for name, down, up in zip(self.names, self.down, self.up, strict=True):
            down.copy_(tensors[f"unet.{name}.lora_A.weight"])
            up.copy_(tensors[f"unet.{name}.lora_B.weight"])


def merge(unet: UNet2DConditionModel, file: Path, weight: float) -> None:
    """Add a style file to the UNet's own weights; the opposite weight takes it out again."""
    tensors, layers = load_file(file), dict(unet.named_modules())
    for key in [k for k in tensors if k.endswith(".lora_A.weight")]:
        own = layers[key.removeprefix("unet.").removesuffix(".lora_A.weight")].weight
        change = tensors[key.replace("lora_A", "lora_B")].flatten(1) @ tensors[key].flatten(1)
        with torch.no_grad():
            own += weight * change.view_as(own)


class Prints:
    """A growing pool of printed scenes as latents, in batches of one size."""

    def __init__(self, vae: AutoencoderKL, rng: random.Random, limit: int = 6000) -> None:
        self._vae = vae
        self._rng = rng
        self._limit = limit
        self._kept: dict[tuple[int, int], list[tuple[Tensor, Scene]]] = {}

    def grow(self, count: int) -> None:
        """So many more scenes of one size."""
        size = self._rng.choices(SIZES, (24, 1, 1, 1, 1, 1, 1, 1, 1))[0]
        scenes = [training_scene(self._rng, size) for _ in range(count)]
        pictures = np.stack([np.asarray(printed(render(s))) for s in scenes])
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            latents = self._vae.encode(x).latent_dist.mode().float() * self._vae.config.scaling_factor
        kept = self._kept.setdefault(size, [])
        kept += [(latent.clone(), scene) for latent, scene in zip(latents, scenes, strict=True)]
        del kept[: -self._limit]

    def batch(self, count: int, size: tuple[int, int]) -> tuple[Tensor, list[Scene]]:
        """Latents and their scenes; the members of a team name the same size, or would wait for each other."""
        picked = self._rng.choices(self._kept.get(size) or self._kept[SIZES[0]], k=count)
        return torch.stack([p[0] for p in picked]), [p[1] for p in picked]


def train_lora(team: Team, folder: Path, minutes: float, lr: float, *, start: int = START, batch: int = BATCH) -> None:
    """Train for so many minutes."""
    model = frozen_model()
    style = Style(model.unet)
    style.hang(model.unet)
    course = Course(path=folder / "lora.safetensors", minutes=minutes, lr=lr, decay=0.0, warm_up=20)
    average, step = resume(course, style)
    rng = random.Random(900 + step + 7919 * team.rank)
    torch.manual_seed(900 + step + team.rank)
    pool = Prints(model.vae, rng)
    while start > 0:
        pool.grow(min(8, start))
        start -= 8 * team.size

    def lesson() -> Tensor:
        pool.grow(GROW)
        size = rng.choices(SIZES, (24, 1, 1, 1, 1, 1, 1, 1, 1))[0]
        latents, scenes = pool.batch(batch // team.size, size)
        return loss_of(model, latents, scenes, model.read(told(scenes, rng, SILENCE)))

    fit(team, course, style, average, step, lesson)


def ship_lora(folder: Path, out: Path) -> None:
    """Write the style file from the checkpoint."""
    style = Style(frozen_model().unet)
    average, _ = resume(Course(path=folder / "lora.safetensors", minutes=0, lr=0), style)
    out.mkdir(parents=True, exist_ok=True)
    save_file(average.model.tensors(), out / FILE, metadata={"format": "pt"})
