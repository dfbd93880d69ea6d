"""Reads a checkpoint's networks into the host's memory and puts the family together that computes with them.

Knows which class stands for which family; knows nothing of where checkpoints come from, nor of jobs.
"""

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.families import scheduler_of
from worker.checkpoint_formats import PipelineKind, read_scheduler_config, with_plain_names
from worker.device import Device
from worker.families import Flux, LoraFiles, LoraSwitcher, StableDiffusion, StableDiffusionXL, dtype_of
from worker.interfaces import Family

#: How noise lies over the steps. Schedulers differ in what they take where their config is silent.
_NOISE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")

FAMILIES: Mapping[str, Callable[..., Family]] = {"sd": StableDiffusion, "sdxl": StableDiffusionXL, "flux": Flux}


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """What a checkpoint brings, in the host's memory: networks and tokenizers by diffusers' names, and its configs."""

    kind: PipelineKind
    networks: Mapping[str, Any]
    tokenizers: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    index: Mapping[str, Any]  # of its model_index.json
    root: Path  # what `files` lie below
    files: tuple[Path, ...]  # its weights


def read_folder(
    folder: Path,
    kind: PipelineKind,
    index: Mapping[str, Any],
    device: Device,
    progress: Callable[[], None],
    vae: Any = None,
) -> Components:
    """A checkpoint in diffusers' folder format; `vae` takes the place of its own.

    Raises CannotLoad, or whatever the libraries raise on broken files.
    """
    scheduler = read_scheduler(folder, kind, index)
    networks: dict[str, Any] = {}
    for name, class_name in kind.networks.items():
        if name == "vae" and vae is not None:
            networks[name] = vae
            continue
        networks[name] = prepare_network(read_network(folder / name, class_name, device))
        progress()
    return Components(
        kind=kind, networks=networks, tokenizers=read_tokenizers(folder, kind), scheduler=scheduler, index=index,
        root=folder, files=tuple(path for name in kind.networks for path in (folder / name).glob("*.safetensors")),
    )  # fmt: skip


def read_scheduler(folder: Path, kind: PipelineKind, index: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduler's config without its names of classes, but with the noise that its class takes for granted.

    Of a folder whose schedule the samplers know (`computed_kind`).
    """
    config = read_scheduler_config(folder)
    taken = inspect.signature(class_of(scheduler_of(index, config)).__init__).parameters
    config = {**{name: taken[name].default for name in _NOISE if name in taken}, **config}
    config.setdefault("prediction_type", kind.predictions[0])
    return {**guidance_rescale_of(config), **{key: value for key, value in config.items() if not key.startswith("_")}}


def guidance_rescale_of(config: Mapping[str, Any]) -> dict[str, float]:
    """How far guided outputs are brought back to their spread, where the schedule ends in pure noise.

    Without it pictures of these models burn out; the share is that of the paper (arXiv 2305.08891).
    """
    return {"guidance_rescale": 0.7} if config.get("rescale_betas_zero_snr") else {}


def read_tokenizers(folder: Path, kind: PipelineKind) -> dict[str, Any]:
    return {
        name: class_of(class_name).from_pretrained(folder / name, local_files_only=True)
        for name, class_name in kind.tokenizers.items()
    }


def read_network(folder: Path, class_name: str, device: Device) -> Any:
    """One network of a folder, in the device's precision, whichever its files are in."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    dtype = precision(class_name, config, device)
    with with_plain_names(folder) as plain:
        return class_of(class_name).from_pretrained(plain, dtype=dtype, local_files_only=True, use_safetensors=True)


def precision(class_name: str, config: Mapping[str, Any], device: Device) -> torch.dtype:
    """The device's, but for what overflows in it."""
    return dtype_of(config, device.dtype) if class_name == "AutoencoderKL" else device.dtype


def class_of(name: str) -> Any:
    """A class of diffusers or, when that has none of the name, of transformers."""
    diffusers = importlib.import_module("diffusers")
    return getattr(diffusers if hasattr(diffusers, name) else importlib.import_module("transformers"), name)


def prepare_network(network: Any) -> Any:
    """The network, ready to be placed."""
    network.eval().requires_grad_(False)
    if any(isinstance(layer, torch.nn.Conv2d) for layer in network.modules()):
        # Convolutions like it: a fifth less time on a CPU, by benchmarks/engine.py; tensor cores want it too.
        network.to(memory_format=torch.channels_last)
    return network


def build_family(components: Components, device: Device, loras: LoraFiles | None) -> Family:
    """The family that computes with these components."""
    more: dict[str, Any] = {}
    if components.kind.family == "sdxl":
        more["zeros_for_empty"] = bool(components.index.get("force_zeros_for_empty_prompt", True))
    if loras is not None:
        taking = {name: network for name, network in components.networks.items() if name != "vae"}
        more["loras"] = LoraSwitcher(taking, loras)
    family = FAMILIES[components.kind.family]
    return family(
        **components.networks,
        **components.tokenizers,
        scheduler=components.scheduler,
        device=device.torch_device,
        **more,
    )
