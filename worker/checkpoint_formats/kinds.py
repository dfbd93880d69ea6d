"""What lies in the checkpoints of each family: networks, tokenizers, and what such a model usually takes.

A table and its reader; loads nothing. Which pipeline is of which family says core/families.py; every other one that
makes pictures from words runs whole (families/generic_pipeline.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.families import SCHEDULER_CONFIG, computed_family, family_of
from core.folder_format import INDEX
from core.single_file import REFINER, wants_more
from worker.errors import CannotLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineKind:
    """One shape of checkpoint: its folders, with the classes that read them, and what it usually takes."""

    family: str
    pipeline: str  # diffusers' own, which reads single files and LoRAs
    networks: Mapping[str, str]  # folder -> class of diffusers or transformers
    tokenizers: Mapping[str, str]
    predictions: tuple[str, ...]  # the first is meant where the scheduler's config is silent
    steps: int
    guidance: float
    sampler: str

    @property
    def denoiser(self) -> str:
        """The folder of the network that takes the steps."""
        return "transformer" if "transformer" in self.networks else "unet"


_UNET = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
_PREDICTIONS = ("epsilon", "v_prediction")

SD = PipelineKind(
    family="sd", pipeline="StableDiffusionPipeline",
    networks={"text_encoder": "CLIPTextModel", **_UNET}, tokenizers={"tokenizer": "CLIPTokenizer"},
    predictions=_PREDICTIONS, steps=25, guidance=7.5, sampler="euler",
)  # fmt: skip
SDXL = PipelineKind(
    family="sdxl", pipeline="StableDiffusionXLPipeline",
    networks={"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection", **_UNET},
    tokenizers={"tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer"},
    predictions=_PREDICTIONS, steps=30, guidance=6.0, sampler="euler",
)  # fmt: skip
FLUX = PipelineKind(
    family="flux", pipeline="FluxPipeline",
    networks={
        "text_encoder": "CLIPTextModel", "text_encoder_2": "T5EncoderModel", "transformer": "FluxTransformer2DModel",
        "vae": "AutoencoderKL",
    },
    tokenizers={"tokenizer": "CLIPTokenizer", "tokenizer_2": "T5TokenizerFast"},
    predictions=("flow_prediction",), steps=28, guidance=3.5, sampler="flow_euler",
)  # fmt: skip

#: By family, as core/families.py tells it.
PIPELINE_KINDS: Mapping[str, PipelineKind] = {kind.family: kind for kind in (SD, SDXL, FLUX)}


def kind_of(pipeline: object) -> PipelineKind | None:
    """What a folder holds, by the `_class_name` of its `model_index.json`; None for a pipeline that has no family."""
    return PIPELINE_KINDS.get(family_of(pipeline))


def computed_kind(index: Mapping[str, Any], scheduler: Mapping[str, Any]) -> PipelineKind | None:
    """As what it is computed; None for a pipeline that runs whole: also one whose noise no sampler here knows."""
    return PIPELINE_KINDS.get(computed_family(index, scheduler))


def read_model_index(folder: Path, model: str) -> Mapping[str, Any]:
    """The checkpoint's `model_index.json`. Raises CannotLoad."""
    path = folder / INDEX
    if not path.is_file():
        raise CannotLoad(f"{folder} has no {INDEX}: {model} is not a checkpoint in diffusers' folder format.")
    try:
        index = json.loads(path.read_text("utf-8"))
        if isinstance(index.get("_class_name"), str):
            return dict(index)
    except (OSError, ValueError, AttributeError, RecursionError):
        pass
    raise CannotLoad(f"{path} cannot be read. Is the download complete?")


def read_scheduler_config(folder: Path) -> dict[str, Any]:
    """The config of a folder's scheduler; empty where there is none. Raises CannotLoad."""
    path = folder / SCHEDULER_CONFIG
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise CannotLoad(f"{path} cannot be read. Is the download complete?")
    return config


def check_folder(folder: Path, kind: PipelineKind, index: Mapping[str, Any]) -> None:
    """Raises CannotLoad unless the folder holds what its kind needs, as safetensors, and makes pictures from words."""
    if kind.family == "sdxl" and (index.get("requires_aesthetics_score") or index.get("text_encoder") == [None, None]):
        raise CannotLoad(f"{folder} {REFINER}")
    if not (folder / SCHEDULER_CONFIG).is_file():  # by no default: each class has its own
        raise CannotLoad(f"{folder} has no {SCHEDULER_CONFIG}, which says how its noise lies. Fetch it again.")
    for name in kind.networks:
        if not (folder / name / "config.json").is_file():
            raise CannotLoad(f"{folder} has no {name}/: a checkpoint of {kind.pipeline} needs it. Fetch it again.")
        if not list((folder / name).glob("*.safetensors")):
            cure = "convert it to safetensors; pickled weights are never loaded."
            raise CannotLoad(f"{folder / name} holds no .safetensors file: {cure}")
    if kind.denoiser == "unet":
        channels = json.loads((folder / "unet" / "config.json").read_text("utf-8")).get("in_channels", 4)
        if channels > 4:
            raise CannotLoad(f"{folder} {wants_more(channels)}")
