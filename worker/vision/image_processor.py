"""How a picture becomes what a vision network reads: resized, cropped and normalised as its preprocessor's config says.

Reads `preprocessor_config.json` itself, so that no image library beyond Pillow is needed. Knows no network.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worker.interfaces import Pixels

#: Those of all CLIP networks, where a config says nothing.
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_SIDE = 224
#: What a network is tried out with.
GREY: Pixels = np.full((64, 64, 3), 128, dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProcessor:
    """`edge`: the shorter side after resizing, ratio kept; None: straight to `size`. `size`: (width, height)."""

    size: tuple[int, int]
    edge: int | None
    resample: Image.Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def open(cls, folder: Path) -> "ImageProcessor":
        """As the folder's preprocessor config says; where it says nothing, CLIP's way at the network's own size."""
        path = folder / "preprocessor_config.json"
        if path.is_file():
            return cls.of(json.loads(path.read_text("utf-8")))
        network = json.loads((folder / "config.json").read_text("utf-8"))
        return cls.of({"size": int(network.get("vision_config", network).get("image_size", _SIDE))})

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "ImageProcessor":
        """From a preprocessor's config."""
        wanted = config.get("size") or _SIDE
        wanted = {"shortest_edge": wanted} if isinstance(wanted, int) else wanted
        edge = wanted.get("shortest_edge") if config.get("do_resize", True) else None
        crop = config.get("crop_size") or edge
        crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
        whole = crop if edge is not None and config.get("do_center_crop", True) else None
        final = whole or ({"height": edge, "width": edge} if edge is not None else wanted)
        return cls(
            size=(int(final["width"]), int(final["height"])),
            edge=int(edge) if whole is not None and edge is not None else None,
            resample=Image.Resampling(config.get("resample", Image.Resampling.BICUBIC)),
            mean=tuple(config.get("image_mean") or _MEAN),
            std=tuple(config.get("image_std") or _STD),
        )

    def process(self, pixels: Pixels) -> Tensor:
        """float32 [1, 3, height, width] on the CPU."""
        image = Image.fromarray(pixels)
        image = self._middle(image, self.edge) if self.edge is not None else image.resize(self.size, self.resample)
        values = torch.from_numpy(np.array(image, dtype=np.float32) / 255)
        return ((values - torch.tensor(self.mean)) / torch.tensor(self.std)).permute(2, 0, 1)[None]

    def _middle(self, image: Image.Image, edge: int) -> Image.Image:
        """What is seen of it, after its shorter side became `edge`. The rest is never made: a line would be endless."""
        factor = edge / min(image.size)
        full = round(image.width * factor), round(image.height * factor)
        left, top = ((whole - seen) // 2 for whole, seen in zip(full, self.size, strict=True))
        area = max(0, left), max(0, top), min(full[0], left + self.size[0]), min(full[1], top + self.size[1])
        across, down = image.width / full[0], image.height / full[1]
        box = area[0] * across, area[1] * down, area[2] * across, area[3] * down
        part = image.resize((area[2] - area[0], area[3] - area[1]), self.resample, box=box)
        # Where more is seen than there is, the rest is black.
        left, top = min(0, left), min(0, top)
        return part.crop((left, top, left + self.size[0], top + self.size[1]))
