"""What models can do: sizes, steps, samplers, defaults. Pure: reads no file, loads no model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Self

from core.events import ModelInfo

#: Samplers by the name that stands in a request, with the name that people see.
SAMPLERS: Mapping[str, str] = {
    "euler": "Euler",
    "euler_a": "Euler ancestral",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "ddim": "DDIM",
    "unipc": "UniPC",
    "lcm": "LCM",
    "flow_euler": "Flow Euler",
}


class Edit(StrEnum):
    """What a model, with what lies beside it, can do besides making pictures from words."""

    VARIATION = "variation"  # near a picture, by strength
    INPAINT = "inpaint"  # a region anew
    OUTPAINT = "outpaint"  # a wider canvas: zoom, pan, square
    TILE = "tile"
    IMAGE_PROMPT = "image_prompt"  # a picture beside or instead of words; blend
    STYLE = "style"
    CHARACTER = "character"
    UPSCALE = "upscale"
    REFINE = "refine"  # creative upscale
    DESCRIBE = "describe"
    LORA = "lora"
    NEGATIVE = "negative"
    WEIGHTS = "weights"  # weighted prompts
    STOP = "stop"
    PREVIEW = "preview"


#: Sizes may have this much less or more pixels than the native square, as factors.
_FEWER, _MORE = 0.80, 1.10
#: Two sizes whose ratios differ by less than this (in log) count as equally near.
_SAME_RATIO = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model as the bot sees it before and after a worker has loaded it. Sides are pixels."""

    name: str
    family: str = "sd"
    path: str  # a folder, or a hub id
    native: int  # side of its native square
    multiple: int  # width and height are multiples of this
    steps: int
    guidance: float
    sampler: str
    min_side: int
    max_side: int
    digest: str = ""  # of the weights; empty until a worker has loaded them
    sizes: tuple[tuple[int, int], ...] = ()  # when given, the only sizes: those that it was trained at

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain values; ignores keys that it does not know. Raises TypeError when one is missing."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        values["sizes"] = tuple((int(width), int(height)) for width, height in values.get("sizes", ()))
        return cls(**values)

    def size_for(self, across: float, down: float) -> tuple[int, int]:
        """(width, height) for the ratio across:down: about as many pixels as the native square, of that ratio."""
        wanted = math.log(across / down)
        near = [(abs(math.log(w / h) - wanted), abs(math.log(w * h / self.native**2)), w, h) for w, h in self._sizes()]
        nearest = min(error for error, *_ in near)
        best = min((area, error, w, h) for error, area, w, h in near if error <= nearest + _SAME_RATIO)
        return best[2], best[3]

    def _sizes(self) -> list[tuple[int, int]]:
        if self.sizes:
            return list(self.sizes)
        area = self.native**2
        sides = range(-(-self.min_side // self.multiple) * self.multiple, self.max_side + 1, self.multiple)
        found = [(w, h) for w in sides for h in sides if _FEWER * area <= w * h <= _MORE * area]
        return found or [(self.native, self.native)]


def name_of(model: str) -> str:
    """What a model is called, before and after it is loaded: the last part of its folder's path or of its hub id.

    The bot and its workers have to agree on it: a request names its model, and only that one may draw it.
    """
    return model.rstrip("/").rpartition("/")[2].lower()


#: The shipped model. Its sizes are those of its training (models/postcard/sizes.json).
POSTCARD = Model(
    name="postcard",
    path="models/postcard",
    native=256,
    multiple=32,
    steps=20,
    guidance=4.0,
    sampler="euler",
    min_side=160,
    max_side=384,
    sizes=(
        (256, 256),
        (288, 224),
        (224, 288),
        (320, 224),
        (224, 320),
        (352, 192),
        (192, 352),
        (384, 160),
        (160, 384),
    ),
)

#: What a Stable Diffusion 1.x checkpoint is taken for until its worker has said better.
SD15 = Model(
    name="sd",
    path="",
    native=512,
    multiple=64,
    steps=25,
    guidance=7.5,
    sampler="euler",
    min_side=256,
    max_side=1024,
)


def from_info(info: ModelInfo, path: str, before: Model | None = None) -> Model:
    """The model that a worker says it has loaded. Trained sizes are kept from `before`: no checkpoint tells them."""
    same = before is not None and before.name == info.name
    return Model(
        name=info.name,
        family=info.family,
        path=path,
        native=info.native,
        multiple=info.multiple,
        steps=info.steps,
        guidance=info.guidance,
        sampler=info.sampler,
        digest=info.digest,
        min_side=before.min_side if before is not None and same else max(info.multiple, info.native // 2),
        max_side=before.max_side if before is not None and same else info.native * 2,
        sizes=before.sizes if before is not None and same else (),
    )
