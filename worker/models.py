"""Finds and loads a checkpoint: a folder in diffusers' format, or a hub id. Safetensors only, never pickle.

Knows nothing of jobs. Whatever goes wrong is said as one sentence with its cure (`CannotLoad`).
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from core.catalogue import POSTCARD, SD15, Model, name_of
from core.errors import DarkroomError
from core.events import ModelInfo
from worker.device import Device
from worker.digest import digest
from worker.families.base import Family
from worker.families.sd import StableDiffusion
from worker.samplers import PREDICTIONS, samplers_for
from worker.vision.tools import Tools

ROOT = Path(__file__).resolve().parent.parent
COMPONENTS = ("text_encoder", "unet", "vae")
#: What is fetched of a hub repository: configs and plain safetensors of these components, nothing else.
HUB_FILES = (
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*.json",
    "tokenizer/*.txt",
    "*/config.json",
    "*/*.safetensors.index.json",
    "text_encoder/model.safetensors",
    "text_encoder/model-0*.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model-0*.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
#: Repositories that hold half precision only.
HUB_HALF_FILES = tuple(f"{component}/*.fp16*.safetensors" for component in COMPONENTS)


class CannotLoad(DarkroomError):
    """The model cannot be used; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model ready to compute, and what it says about itself."""

    family: Family
    info: ModelInfo
    memory_mb: int  # of its parameters, on the device
    tools: Tools = field(default_factory=Tools)  # what lies beside it


def load(model: str, device: Device, progress: Callable[[], None] = lambda: None) -> Loaded:
    """Loads `model` (postcard, a folder, or a hub id) onto the device. Raises CannotLoad."""
    try:
        folder = locate(model)
        progress()
        family = _family(folder, device, progress)
        files = [path for component in COMPONENTS for path in (folder / component).glob("*.safetensors")]
        info = _info(model, folder, family, digest(folder, files), device)
        return Loaded(family=family, info=info, memory_mb=memory_mb(family))
    except CannotLoad:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        cure = "try DARKROOM_DTYPE=float16, or a smaller model."
        raise CannotLoad(f"{model} does not fit into the memory of {device.name}: {cure}") from error
    except ImportError as error:
        cure = "run `make run`, or install the extra `worker`."
        raise CannotLoad(f"A library that {model} needs is missing ({error}): {cure}") from error
    except Exception as error:
        # Libraries raise whatever they like on a broken checkpoint; the owner needs one sentence.
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise CannotLoad(f"{model} could not be loaded ({text}). Is the download whole?") from error


def locate(model: str) -> Path:
    """The checkpoint's folder; hub ids are fetched, or found in the cache when offline. Raises CannotLoad."""
    if model == POSTCARD.name:
        return _checked(ROOT / POSTCARD.path, model)
    for folder in (Path(model).expanduser(), ROOT / model):
        if folder.is_dir():
            return _checked(folder.resolve(), model)
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise CannotLoad(f"DARKROOM_MODEL is {model!r}, but there is no such folder; a hub id looks like owner/name.")
    return _checked(_fetch(model), model)


def memory_mb(family: Family) -> int:
    """MB of parameters and buffers."""
    tensors = (tensor for part in family.parts.values() for tensor in (*part.parameters(), *part.buffers()))
    unique = {id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}
    return -(-sum(unique.values()) >> 20)


def _fetch(model: str) -> Path:
    from huggingface_hub import snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    try:
        folder = Path(snapshot_download(model, allow_patterns=list(HUB_FILES), local_files_only=offline))
        if not list((folder / "unet").glob("*.safetensors")):
            snapshot_download(model, allow_patterns=list(HUB_HALF_FILES), local_files_only=offline)
    except Exception as error:
        where = "in the local cache (offline)" if offline else "on the hub"
        cure = "Check the name and the network, or point DARKROOM_MODEL to a folder."
        raise CannotLoad(f"{model} was not found {where}. {cure}") from error
    return folder


def _checked(folder: Path, model: str) -> Path:
    """The folder, if it holds what a Stable Diffusion checkpoint holds."""
    if not (folder / "model_index.json").is_file():
        raise CannotLoad(f"{folder} has no model_index.json: {model} is not a checkpoint in diffusers' folder format.")
    for component in COMPONENTS:
        if not (folder / component / "config.json").is_file():
            raise CannotLoad(f"{folder} has no {component}/: only Stable Diffusion 1.x and 2.x checkpoints work here.")
        if not list((folder / component).glob("*.safetensors")):
            cure = "convert it to safetensors; pickled weights are never loaded."
            raise CannotLoad(f"{folder / component} holds no .safetensors file: {cure}")
    return folder


def _family(folder: Path, device: Device, progress: Callable[[], None]) -> Family:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.utils import logging as diffusers_logging
    from transformers import CLIPTextModel, CLIPTokenizer
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    scheduler = _scheduler(folder)
    fixed = {"local_files_only": True, "use_safetensors": True}
    parts: dict[str, Any] = {}
    for name, kind in (("text_encoder", CLIPTextModel), ("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        dtype = {"dtype" if name == "text_encoder" else "torch_dtype": device.dtype}
        part = kind.from_pretrained(folder / name, **fixed, **dtype, **_variant(folder / name))
        parts[name] = part.to(device.place).eval().requires_grad_(False)
        if name != "text_encoder":
            # Convolutions like it: a fifth less time on a CPU, by benchmarks/engine.py; tensor cores want it too.
            parts[name].to(memory_format=torch.channels_last)
        progress()
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return StableDiffusion(tokenizer=tokenizer, scheduler=scheduler, device=device.place, **parts)


def _variant(folder: Path) -> Mapping[str, str]:
    names = [path.name for path in folder.glob("*.safetensors")]
    return {"variant": "fp16"} if names and all(".fp16" in name for name in names) else {}


def _scheduler(folder: Path) -> Mapping[str, Any]:
    config: dict[str, Any] = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    prediction = config.setdefault("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise CannotLoad(f"The checkpoint predicts {prediction!r}; only {' and '.join(PREDICTIONS)} work here.")
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _name(model: str) -> str:
    """As the bot calls it too: by the path as it was given, since a link in it has a name of its own."""
    folder = Path(model).expanduser()
    return name_of(str(folder.absolute()) if folder.is_dir() else model)


def _info(model: str, folder: Path, family: Family, weights: str, device: Device) -> ModelInfo:
    shipped = folder == (ROOT / POSTCARD.path).resolve()
    known: Model = POSTCARD if shipped else SD15
    return ModelInfo(
        name=_name(model),
        family=family.name,
        digest=weights,
        dtype=device.dtype_name,
        native=family.native,
        multiple=known.multiple if shipped else family.multiple,
        steps=known.steps,
        guidance=known.guidance,
        sampler=known.sampler,
        samplers=samplers_for(family.scheduler),
    )
