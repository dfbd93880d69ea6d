"""Previews: what the latents look like, without the decoder, for next to nothing.

A linear map from each latent and its eight neighbours to 2×2 pixels, fitted once at load by least squares through the
model's own autoencoder on smooth synthetic fields. The JPEG is made elsewhere (`pictures.py`). Knows nothing of jobs.
"""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from worker.families.base import Family, Pixels

ZOOM = 2  # pixels per latent and side
MAX_SIDE = 512  # pixels of a preview's longer side, all its pictures together
_FIELDS = 6
_LATENTS = 12  # side of a field, in latents
_RIDGE = 1e-4


class Sketcher:
    """Latents to rough pictures."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight, bias

    @classmethod
    def fit(cls, family: Family, seed: int = 0) -> "Sketcher":
        """Fits the map: costs `_FIELDS` small encodes and decodes."""
        random = np.random.default_rng(seed)
        features, targets = [], []
        for field in synthetic_fields(random, _FIELDS, _LATENTS * family.factor):
            latents = family.encode_picture(field)
            seen = functional.avg_pool2d(family.decode(latents)[None], family.factor // ZOOM)
            features.append(_neighbours(latents[None])[0].T)
            targets.append(functional.pixel_unshuffle(seen, ZOOM)[0].flatten(1).T)
        inputs, outputs = torch.cat(features).double().cpu(), torch.cat(targets).double().cpu()
        inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=torch.double)], dim=1)
        # A little ridge: random fields leave some directions of the latents nearly unseen.
        gram = inputs.T @ inputs
        gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.double)
        solution = torch.linalg.solve(gram, inputs.T @ outputs).float()
        weight = solution[:-1].T.reshape(3 * ZOOM**2, family.channels, 3, 3)
        return cls(weight.contiguous().to(family.device), solution[-1].to(family.device))

    def sketch(self, latents: Tensor) -> Tensor:
        """[n, channels, h, w] to uint8 [n, 2h, 2w, 3], still on the device."""
        padded = functional.pad(latents, (1, 1, 1, 1), mode="replicate")
        rgb = functional.pixel_shuffle(functional.conv2d(padded, self._weight, self._bias), ZOOM)
        return rgb.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1)


def _neighbours(latents: Tensor) -> Tensor:
    padded = functional.pad(latents, (1, 1, 1, 1), mode="replicate")
    return functional.unfold(padded, 3)


def synthetic_fields(random: np.random.Generator, count: int, side: int) -> list[Pixels]:
    """Pictures of smooth colours with a few hard edges: every third is flat areas only."""
    fields = []
    for number in range(count):
        cells = (2, 4, 6)[number % 3]
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        smooth = coarse.resize((side, side), Image.Resampling.NEAREST if cells == 6 else Image.Resampling.BICUBIC)
        fields.append(np.asarray(smooth))
    return fields


def tile(pictures: Pixels, full: tuple[int, int]) -> Image.Image:
    """Pictures [n, h, w, 3] as one image, as near square a grid as holds them, fitted into MAX_SIDE.

    `full` is the size in pixels of one finished picture: a preview is never larger than the result.
    """
    count = len(pictures)
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    factor = min(1.0, MAX_SIDE / (full[0] * across), MAX_SIDE / (full[1] * down))
    width, height = max(1, round(full[0] * factor)), max(1, round(full[1] * factor))
    sheet = Image.new("RGB", (width * across, height * down))
    for place, picture in enumerate(pictures):
        image = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(image, (place % across * width, place // across * height))
    return sheet
