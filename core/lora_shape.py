"""Which kind of model a LoRA is for, told from what it changes. Pure; knows models by their well-known layers alone."""

from collections.abc import Iterable, Mapping
from functools import cache
from math import prod

from core.lora_layers import flat
from core.lora_plan import LayerChange, LoraPlan, MisfitLora, Networks, plan_of
from core.model_layers import well_known
from core.safetensors_header import Header, shape_by_width

KNOWN = ("sd1", "sd2", "sdxl", "flux")
#: Layers that look at the text: as wide as that is their input, by which generations of Stable Diffusion differ.
_LOOKS_AT_TEXT = ("attn2_to_k", "attn2_to_v")
_FLUX = ("double_blocks_", "single_blocks_", "single_transformer_blocks_")
_SECOND_ENCODER = ("lora_te2_text_model", "text_encoder_2_text_model", "text_encoder_2_encoder_layers")
#: What trainers write into a LoRA's metadata, by how it begins.
_TOLD = (
    ("sdxl", "sdxl"), ("stable-diffusion-xl", "sdxl"), ("flux", "flux"), ("sd_v2", "sd2"), ("sd_v1", "sd1"),
    ("sd_1", "sd1"), ("stable-diffusion-v2", "sd2"), ("stable-diffusion-v1", "sd1"),
)  # fmt: skip


def lora_shape(header: Header, plan: LoraPlan) -> str:
    """As models call theirs (`core.catalogue.Model.shape`); empty where neither layers nor metadata tell."""
    names = [flat(change.stem) for change in plan.changes]
    if any(_is_flux(name) for name in names):
        return "flux"
    width = _width(plan.changes)
    if width is not None:
        return shape_by_width(width)
    if any(name.startswith(_SECOND_ENCODER) for name in names):
        return "sdxl"
    told = _told(header.metadata.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version"))
    if told:
        return told
    fitting = [shape for shape in KNOWN if _fits(header, networks_of(shape))]
    return fitting[0] if len(fitting) == 1 else ""


def misfit(header: Header, networks: Networks, beside: Mapping[str, object] | None = None) -> str:
    """Why a model with these networks cannot draw it, to stand behind its name; empty where it can."""
    try:
        plan_of(header, networks, beside)
    except MisfitLora as error:
        return str(error)
    return ""


@cache
def networks_of(shape: str) -> Networks:
    """Those of a kind of `KNOWN`; none for another."""
    return well_known(shape) or {}


def _fits(header: Header, networks: Networks) -> bool:
    return not misfit(header, networks)


def _is_flux(name: str) -> bool:
    return any(name.startswith(marker) or f"_{marker}" in name for marker in _FLUX)


def _width(changes: Iterable[LayerChange]) -> int | None:
    for change in changes:
        layer = flat(change.stem)
        if layer.endswith(_LOOKS_AT_TEXT) and change.size.into:
            return prod(change.size.into)
    return None


def _told(texts: Iterable[str]) -> str:
    for text in texts:
        for beginning, shape in _TOLD:
            if text.lower().startswith(beginning):
                return shape
    return ""
