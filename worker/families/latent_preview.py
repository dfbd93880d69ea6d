"""Previews: what the latents look like, without the decoder, for next to nothing.

Each latent becomes 2×2 pixels by a map that is linear in the latent, its eight neighbours and a hundred fixed random
bends of it (colours do not lie straight in latents), fitted once at load by least squares through the model's own
autoencoder on synthetic fields. The JPEG is made elsewhere (`engine/image_encoding.py`). Knows nothing of jobs.
"""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from core.grid_layout import columns
from worker.interfaces import LatentCoder, Pixels

ZOOM = 2  # pixels per latent and side
MAX_SIDE = 512  # pixels of a preview's longer side, all its pictures together
_FIELDS = 16
_LATENTS = 12  # side of a field, in latents
_BENDS = 128
_RIDGE = 1e-4
_ROOM = 1.3  # latents may spread so much wider than those of the fields


class LatentPreview:
    """Latents to rough pictures."""

    def __init__(self, bends: Tensor, offsets: Tensor) -> None:
        self._bends, self._offsets = bends, offsets  # [_BENDS, channels, 1, 1], [_BENDS]
        self._weight, self._bias = torch.zeros(0), torch.zeros(0)
        self._spread = 1.0  # standard deviation of latents of pictures

    @classmethod
    def fit(cls, family: LatentCoder, seed: int = 0) -> "LatentPreview":
        """Fits the map: costs `_FIELDS` small encodes and decodes."""
        random = np.random.default_rng(seed)
        latents = [family.encode_picture(field) for field in _fields(random, family)]
        # Only the decoder's word counts: a preview shall look like the picture that will come.
        seen = [functional.avg_pool2d(family.decode(one)[None], family.factor // ZOOM) for one in latents]
        generator = torch.Generator().manual_seed(seed)
        spread = torch.stack(latents).std().item() or 1.0
        bends = torch.randn(_BENDS, family.channels, 1, 1, generator=generator) / (2 * spread)
        latent_preview = cls(bends.to(family.device), torch.randn(_BENDS, generator=generator).to(family.device))
        latent_preview._spread = spread
        inputs = torch.cat([latent_preview._features(one[None])[0].flatten(1).T for one in latents])
        outputs = torch.cat([functional.pixel_unshuffle(one, ZOOM)[0].flatten(1).T for one in seen])
        solution = _least_squares(inputs.double().cpu(), outputs.double().cpu()).float().to(family.device)
        latent_preview._weight = solution[:-1].T[:, :, None, None].contiguous()
        latent_preview._bias = solution[-1].contiguous()
        return latent_preview

    def preview(self, latents: Tensor) -> Tensor:
        """[n, channels, h, w] to uint8 [n, 2h, 2w, 3], still on the device.

        Early estimates may lie beyond what any picture encodes to; they are drawn in to where pictures are.
        """
        latents = latents * (_ROOM * self._spread / latents.std(dim=(1, 2, 3), keepdim=True)).clamp_(max=1)
        rgb = functional.pixel_shuffle(functional.conv2d(self._features(latents), self._weight, self._bias), ZOOM)
        return rgb.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1)

    def _features(self, latents: Tensor) -> Tensor:
        """[n, 9 · channels + _BENDS, h, w]."""
        padded = functional.pad(latents, (1, 1, 1, 1), mode="replicate")
        around = functional.unfold(padded, 3).view(len(latents), -1, *latents.shape[2:])
        return torch.cat([around, functional.conv2d(latents, self._bends, self._offsets).relu_()], dim=1)


def _least_squares(inputs: Tensor, outputs: Tensor) -> Tensor:
    """[features + 1, outputs], the last row the bias; a little ridge, since fields leave some directions unseen."""
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], dim=1)
    gram = inputs.T @ inputs
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solution: Tensor = torch.linalg.solve(gram, inputs.T @ outputs)
    return solution


def _fields(random: np.random.Generator, family: LatentCoder) -> list[Pixels]:
    return synthetic_fields(random, _FIELDS, _LATENTS * family.factor)


def synthetic_fields(random: np.random.Generator, count: int, side: int) -> list[Pixels]:
    """Pictures of smooth colours, most with a few flat shapes on them: soft and hard changes of all colours."""
    fields = []
    for number in range(count):
        cells = 2 + number % 3
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        field = coarse.resize((side, side), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(field)
        for shape in range(3 if number % 4 else 0):
            left, top = (int(value) for value in random.integers(-side // 4, side, 2))
            width, height = (int(value) for value in random.integers(side // 8, side * 3 // 4, 2))
            red, green, blue = (int(value) for value in random.integers(0, 256, 3))
            paint = draw.ellipse if shape % 2 else draw.rectangle
            paint((left, top, left + width, top + height), fill=(red, green, blue))
        fields.append(np.asarray(field))
    return fields


def preview_sheet(pictures: Pixels, full: tuple[int, int]) -> Image.Image:
    """Pictures [n, h, w, 3] as one image, in the grid that the result will have, fitted into MAX_SIDE.

    `full` is the size in pixels of one finished picture: a preview is never larger than the result.
    """
    count = len(pictures)
    across = columns(count)
    down = -(-count // across)
    factor = min(1.0, MAX_SIDE / (full[0] * across), MAX_SIDE / (full[1] * down))
    width, height = max(1, round(full[0] * factor)), max(1, round(full[1] * factor))
    sheet = Image.new("RGB", (width * across, height * down))
    for place, picture in enumerate(pictures):
        image = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(image, (place % across * width, place // across * height))
    return sheet
