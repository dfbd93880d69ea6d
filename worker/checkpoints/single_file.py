"""Reads checkpoints that are one `.safetensors` file, as Stable Diffusion 1.x, 2.x and XL are passed around.

Configs and tokenizers are ours, so nothing is fetched; what the file is, its header tells (core/single_file.py). Knows
nothing of jobs.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from core.safetensors_header import Header
from core.single_file import GUIDANCE, SingleFile, scale_of, unet_tensors, usual_name
from worker.checkpoint_formats import CONFIGS, FAMILIES, PIPELINE_KINDS, PipelineKind, Shape, few_step_methods, look
from worker.checkpoints.clip_vocabulary import clip_tokenizer
from worker.checkpoints.components import (
    Components,
    class_of,
    guidance_rescale_of,
    precision,
    prepare_network,
    read_scheduler,
    read_tokenizers,
)
from worker.device import Device
from worker.diffusers_internals import text_encoder_of_file
from worker.errors import CannotLoad

_CURE = "Use its folder in diffusers' format, or fetch it again."
#: What fills texts up: the end again, or the token of the exclamation mark, which is number 0.
_PADS: Mapping[str, Mapping[str, str]] = {
    Shape.SD1: {"tokenizer": "<|endoftext|>"},
    Shape.SD2: {"tokenizer": "!"},
    Shape.SDXL: {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"},
}


def read_file(
    path: Path, device: Device, progress: Callable[[], None], vae: Any = None, config: Path | None = None,
    original_name: str = "",
) -> Components:  # fmt: skip
    """The parts of a checkpoint in one file; `vae` takes the place of its own.

    `config`: a folder of configs and tokenizers instead of ours. `original_name`: its author's name for it, where the
    file is called otherwise here.

    Raises CannotLoad, or whatever the libraries raise on broken files.
    """
    name = original_name or path.stem
    header, found = look(path, name=name, own_vae=vae is not None, any_size=config is not None)
    folder = config or CONFIGS / found.shape
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    kind = PIPELINE_KINDS[FAMILIES[found.shape]]
    progress()
    pads = _PADS[found.shape].items()
    tokenizers = {name: clip_tokenizer(path.parent, pad) for name, pad in pads} if config is None else {}
    tokenizers = tokenizers or read_tokenizers(folder, kind)
    try:
        networks = _networks(_tensors(path, header, found, device), folder, kind, found, device, vae)
    except NotImplementedError as error:  # of diffusers, which cannot move weights that it did not find
        raise CannotLoad(f"{path.name} lacks weights of its UNet or VAE. {_CURE}") from error
    _check_all_read(path, header, networks)
    if found.shape == Shape.SD2 and config is None:
        networks["unet"].register_to_config(sample_size=found.native // 8)
    progress()
    return Components(
        kind=kind, networks={name: prepare_network(networks[name]) for name in kind.networks}, tokenizers=tokenizers,
        scheduler=_scheduler(folder, kind, index, found, name), index=index, root=path.parent, files=(path,),
    )  # fmt: skip


def _scheduler(
    folder: Path, kind: PipelineKind, index: Mapping[str, Any], found: SingleFile, name: str
) -> dict[str, Any]:  # fmt: skip
    scheduler = {**read_scheduler(folder, kind, index), "prediction_type": found.prediction}
    if few_step_methods(name):  # made to begin at the last of the trained steps; their own configs say so
        scheduler |= {"timestep_spacing": "trailing"}
    if found.zero_snr:
        scheduler |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        scheduler |= guidance_rescale_of(scheduler)
    return scheduler


def _tensors(path: Path, header: Header, found: SingleFile, device: Device) -> dict[str, Tensor]:
    """All tensors by the names that libraries look for; those with a scale beside them are multiplied by it."""
    tensors = {}
    with safe_open(path, framework="pt") as file:
        for name in header.tensors:
            tensor: Tensor = file.get_tensor(name)
            if scale := scale_of(header, name):
                tensor = _scaled(tensor, file.get_tensor(scale)).to(device.dtype)
            tensors[usual_name(name, found.shape)] = tensor
    return tensors


def _scaled(weight: Tensor, scale: Tensor) -> Tensor:
    """`scale`: one number, or one for each row of the weight."""
    return weight.float() * scale.float().reshape(-1, *[1] * (weight.ndim - 1))


def _networks(
    tensors: dict[str, Tensor], folder: Path, kind: PipelineKind, found: SingleFile, device: Device, vae: Any
) -> dict[str, Any]:
    """By diffusers' names, in the device's precision."""
    how: dict[str, Any] = {"config": str(folder), "local_files_only": True}
    networks: dict[str, Any] = {"vae": vae}
    if vae is None:
        vae_class = class_of("AutoencoderKL")
        exact = precision("AutoencoderKL", vae_class.load_config(folder / "vae"), device)
        networks["vae"] = vae_class.from_single_file(tensors, subfolder="vae", dtype=exact, **how)
    networks["unet"] = _unet(tensors, found, device, how)
    for name in kind.networks.keys() - networks.keys():
        text_encoder = class_of(kind.networks[name])
        networks[name] = text_encoder_of_file(text_encoder, tensors, folder, name, device.dtype)
    return networks


def _unet(tensors: dict[str, Tensor], found: SingleFile, device: Device, how: Mapping[str, Any]) -> Any:
    """With what a distilled one takes its guidance by, which diffusers leaves out."""
    unet = class_of("UNet2DConditionModel").from_single_file(tensors, subfolder="unet", dtype=device.dtype, **how)
    if found.guidance_features:
        weight = tensors[GUIDANCE].to(device.dtype)
        unet.time_embedding.cond_proj = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=device.dtype)
        unet.time_embedding.cond_proj.weight.data = weight
        unet.register_to_config(time_cond_proj_dim=found.guidance_features)
    return unet


def _check_all_read(path: Path, header: Header, networks: Mapping[str, Any]) -> None:
    """Raises CannotLoad where the UNet has tensors that were not read, or a network lacks some."""
    there, read = len([*unet_tensors(header)]), len(networks["unet"].state_dict())
    if there != read:
        raise CannotLoad(f"{path.name} has {there} tensors in its UNet, of which {read} would be used. {_CURE}")
    for name, network in networks.items():
        if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
            raise CannotLoad(f"{path.name} lacks weights of its {name}. {_CURE}")
