"""A server's models and LoRAs for tests of prompts, and a prompt read there."""

from dataclasses import replace

import pytest

from core.catalogue import FAMILIES, POSTCARD, Choices, LoraFile, Style
from core.errors import PromptError
from core.prompt import Defaults, Parsed, parse

STYLE = Style(positive="calm light", negative="fog", guidance=9.0, lora="glow", weight=0.8)
XL = replace(FAMILIES["sdxl"], name="sdxl", path="x")
STYLED = replace(FAMILIES["sd1"], name="styled", path="s", style=STYLE)
FLUX = replace(FAMILIES["flux"], name="flux", path="f", steps=4, guidance=0.0, style=replace(STYLE, guidance=None))
LORAS = [
    LoraFile(name="ink", path="ink.safetensors"),
    LoraFile(name="glow", path="glow.safetensors", shape="sd1"),
    LoraFile(name="grain", path="grain.safetensors", shape="sdxl"),
]
CHOICES = Choices(
    default="postcard",
    models={model.name: model for model in (POSTCARD, XL, STYLED, FLUX)},
    loras={lora.name: lora for lora in LORAS},
    absent=("flux-dev",),
)


def read(text: str, **changes: object) -> Parsed:
    """The prompt, understood."""
    return parse(text, choices=CHOICES, defaults=Defaults(**changes), seed=4242)  # type: ignore[arg-type]


def wrong(text: str) -> PromptError:
    """What is said to it."""
    with pytest.raises(PromptError) as caught:
        read(text)
    return caught.value
