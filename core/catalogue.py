"""What models can do: sizes, steps, samplers, style, defaults. Pure: reads no file, loads no model.

`core.catalogue_file` makes these values from models.toml, a worker's word refines them (`Model.told`), and a prompt
chooses among them (`Choices`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from core.events import ModelInfo
from core.image_sizes import nearest_size, sizes_on_grid

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


class Capability(StrEnum):
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
    CHAOS = "chaos"  # the four apart from each other
    PREVIEW = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A model's house style: what `--stylize` turns up. All of it counts in full at 1000, and a tenth of it at 100."""

    positive: str = ""
    negative: str = ""
    guidance: float | None = None  # None = the model's own
    lora: str = ""  # a name of the loras folder
    weight: float = 1.0  # of that LoRA


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model as the bot sees it before and after a worker has loaded it. Sides are pixels.

    `path` is a folder, a .safetensors file, or a hub id, of which `file` may be the checkpoint. The companions are of
    the same sort, empty where there is none.
    """

    name: str
    family: str = "sd"  # of FAMILIES
    path: str
    file: str = ""
    native: int  # side of its native square
    multiple: int  # width and height are multiples of this
    steps: int
    guidance: float
    sampler: str
    min_side: int
    max_side: int
    samplers: tuple[str, ...] = ()  # that it can use; empty = not known
    sizes: tuple[tuple[int, int], ...] = ()  # when given, the only sizes: those that it was trained at
    memory_mb: int = 0  # on the device; 0 = not known
    licence: str = ""
    licence_url: str = ""
    about: str = ""
    recommended_gb: int = 0  # the card that the catalogue recommends it for
    vae: str = ""
    adapter: str = ""
    upscaler: str = ""
    classifier: str = ""
    style: Style | None = None
    fixed: tuple[str, ...] = ()  # what the catalogue says itself, so that no worker's guess replaces it
    shape: str = ""  # of its weights, as core.safetensors_header tells it; empty = not known
    digest: str = ""  # of the weights; empty until a worker has loaded them
    edits: tuple[str, ...] | None = None  # of Capability, as its worker says; None until then
    ignores: tuple[str, ...] = ()  # of core.parameters: what changes nothing with it, as its files or its worker say
    negative_above: float = 1.0  # at a higher guidance than this `--no` counts

    def size_for(self, across: float, down: float) -> tuple[int, int]:
        """(width, height) for the ratio across:down: about as many pixels as the native square, of that ratio."""
        return nearest_size(self.drawable_sizes(), self.native, across, down)

    def drawable_sizes(self) -> list[tuple[int, int]]:
        """Those that it was trained at, else all on its grid with about its native square's pixels."""
        return list(self.sizes) or sizes_on_grid(self.native, self.multiple, self.min_side, self.max_side)

    def refined_by(self, info: ModelInfo) -> Self:
        """The model as the worker that has loaded it knows it. Trained sizes stay: no checkpoint tells them."""
        native = self.native if "native" in self.fixed else info.native
        other = native != self.native
        own = "sampler" in self.fixed and self.sampler in info.samplers
        return replace(
            self,
            native=native,
            multiple=info.multiple,
            steps=self.steps if "steps" in self.fixed else info.steps,
            guidance=self.guidance if "guidance" in self.fixed else info.guidance,
            sampler=self.sampler if own else info.sampler,
            samplers=info.samplers,
            digest=info.digest,
            edits=info.edits,
            ignores=info.ignores,
            negative_above=info.negative_above,
            min_side=max(info.multiple, native // 2) if other else self.min_side,
            max_side=native * 2 if other else self.max_side,
            sizes=() if other and "sizes" not in self.fixed else self.sizes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFile:
    """A LoRA that requests may name. `shape`: the models that it fits; empty where its file does not tell.

    `notes`: what of it is left out on purpose; `misfits`: by model why that one cannot draw it, behind its name.
    """

    name: str
    path: str
    shape: str = ""
    notes: tuple[str, ...] = ()
    misfits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a prompt may name now. `absent`: models of the catalogue whose files are not here."""

    default: str
    models: Mapping[str, Model]
    loras: Mapping[str, LoraFile] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    def get(self, name: str) -> Model | None:
        """The model of that name, also where an older version wrote it with blanks."""
        return self.models.get(name) or self.models.get(name_of(name))

    def usual(self) -> Model:
        """The model that is used where a prompt names none."""
        return self.models[self.default]


def fits(lora: LoraFile, model: Model) -> bool:
    """Whether a LoRA belongs to this kind of model, as far as anybody can tell before loading both."""
    return model.name not in lora.misfits and (not lora.shape or not model.shape or lora.shape == model.shape)


def name_of(model: str) -> str:
    """What a model or LoRA is called: the last part of its path or hub id, as one word that a prompt can name.

    The bot and its workers have to agree on it: a request names its model, and only that one may draw it.
    """
    last = model.rstrip("/").rpartition("/")[2].lower().removesuffix(".safetensors")
    return re.sub(r"[^\w.-]+", "-", last).strip("-.") or "model"


#: Of a model that predicts which way the noise flows, and of one that runs through its own pipeline.
FLOW_SAMPLER, OWN_SAMPLER = "flow_euler", "own"
_NOISE_SAMPLERS = tuple(name for name in SAMPLERS if name != FLOW_SAMPLER)

#: The shipped model. Its sizes are those of its training (models/postcard/sizes.json).
POSTCARD = Model(
    name="postcard",
    path="models/postcard",
    native=256,
    multiple=32,
    steps=20,
    guidance=4.0,
    sampler="euler",
    samplers=_NOISE_SAMPLERS,
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
    samplers=_NOISE_SAMPLERS,
    min_side=256,
    max_side=1024,
)

#: Sizes that Stable Diffusion XL was trained at, of the ratios that a prompt can ask for.
_XL_WIDE = (
    *((1024, 1024), (1088, 960), (1152, 896), (1216, 832), (1280, 768), (1344, 768)),
    *((1408, 704), (1536, 640), (1664, 576), (1856, 512), (2048, 512)),
)
XL_SIZES = tuple(dict.fromkeys(size for w, h in _XL_WIDE for size in ((w, h), (h, w))))

_XL = replace(
    SD15, family="sdxl", shape="sdxl", native=1024, steps=30, guidance=6.0, min_side=512, max_side=2048, sizes=XL_SIZES
)
_FLUX = replace(
    SD15, family="flux", shape="flux", native=1024, multiple=16, steps=28, guidance=3.5, sampler=FLOW_SAMPLER,
    samplers=(FLOW_SAMPLER,), min_side=512, max_side=2048,
)  # fmt: skip
#: What the models of a family are taken for until their files or a worker have said better.
FAMILIES: Mapping[str, Model] = {
    "sd": SD15,
    "sd1": replace(SD15, family="sd1", shape="sd1"),
    "sd2": replace(SD15, family="sd2", shape="sd2", native=768, min_side=384, max_side=1536),
    "sdxl": _XL,
    "flux": _FLUX,
    "any": replace(
        _FLUX, family="any", shape="", multiple=32, guidance=4.0, sampler=OWN_SAMPLER, samplers=(OWN_SAMPLER,)
    ),
}
