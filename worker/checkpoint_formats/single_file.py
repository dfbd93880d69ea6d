"""Reads checkpoints that are one `.safetensors` file, as Stable Diffusion 1.x, 2.x and XL are passed around.

What such a file is shows in its header; configs and tokenizers are ours (`configs/`), so nothing is fetched. Knows
nothing of jobs.
"""

import json
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.safetensors_header import PREFIX, Header, NotSafetensors, is_lora, length, parse
from worker.checkpoint_formats.kinds import INPAINTING, KINDS, REFINER, CannotLoad, taught
from worker.checkpoints.clip_vocabulary import clip_tokenizer
from worker.checkpoints.components import Parts, class_of, precision, read_scheduler, read_tokenizers, rescaled, settle
from worker.device import Device

CONFIGS = Path(__file__).resolve().parent / "configs"
_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_IN = f"{_UNET}input_blocks.0.0.weight"
#: What text encoders are called inside, and which shape that tells.
_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
_XL_FIRST, _XL_SECOND = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
_REFINER = "conditioner.embedders.0.model."


class Shape(StrEnum):
    """A folder of `configs/`."""

    SD1 = "sd1"
    SD2 = "sd2"
    SDXL = "sdxl"


#: What fills texts up: the end again, or the token of the exclamation mark, which is number 0.
_PADS: Mapping[Shape, Mapping[str, str]] = {
    Shape.SD1: {"tokenizer": "<|endoftext|>"},
    Shape.SD2: {"tokenizer": "!"},
    Shape.SDXL: {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"},
}


def header_of(path: Path) -> Header:
    """What a file says of its tensors, without reading these. Raises CannotLoad when it is no safetensors file."""
    try:
        with path.open("rb") as file:
            start = file.read(PREFIX)
            header = parse(start + file.read(length(start)))
    except NotSafetensors as error:
        raise CannotLoad(f"{path.name} {error}. It should be a checkpoint in safetensors format.") from error
    if path.stat().st_size < header.file_bytes:
        raise CannotLoad(f"{path.name} ends too early: the download is incomplete. Fetch it again.")
    return header


def shape_of(header: Header, name: str, *, own_vae: bool = True) -> Shape:
    """What the file is, by names and shapes of its tensors; `own_vae`: it has to bring an autoencoder.

    Raises CannotLoad with what would be right.
    """

    def has(beginning: str) -> bool:
        return any(tensor.startswith(beginning) for tensor in header.tensors)

    if not has(f"{_UNET}input_blocks."):
        raise CannotLoad(f"{name} {_stranger(header)}")
    if _IN in header.tensors and header.tensors[_IN].shape[1] != 4:
        raise CannotLoad(INPAINTING.format(name))
    if own_vae and not has(_VAE):
        raise CannotLoad(f"{name} holds no autoencoder: get the whole checkpoint, with its VAE inside.")
    if has(_XL_FIRST) and has(_XL_SECOND):
        return Shape.SDXL
    if has(_REFINER):
        raise CannotLoad(REFINER.format(name))
    if has(_CLIP):
        return Shape.SD1
    if has(_OPEN_CLIP):
        return Shape.SD2
    raise CannotLoad(f"{name} holds no text encoder: get the whole checkpoint, not the UNet alone.")


def _stranger(header: Header) -> str:
    names = " ".join(header.tensors)
    if is_lora(header):
        return "is a LoRA, not a checkpoint: put it into the loras folder, and use `--lora` with its name."
    if "double_blocks." in names:
        return "holds FLUX's transformer, which needs two text encoders beside it: use the whole folder or its hub id."
    if "joint_blocks." in names:
        return "is Stable Diffusion 3 in one file: use its folder in diffusers' format or its hub id."
    return "is not Stable Diffusion 1, 2 or XL in one file: use a folder in diffusers' format or a hub id."


def prediction_of(header: Header, shape: Shape, name: str) -> tuple[str, bool]:
    """What the UNet predicts, and whether its schedule ends in pure noise (zero terminal signal)."""
    says = {key: str(value).lower() for key, value in header.metadata.items()}
    zero = "ztsnr" in header.tensors or says.get("ss_zero_terminal_snr") == "true"
    said = says.get("modelspec.prediction_type", "")
    if "v_pred" in header.tensors or said.startswith("v"):
        return "v_prediction", zero
    if said.startswith("eps") or shape is not Shape.SD2:
        return "epsilon", zero
    # No tensor tells 2.x at 512 pixels, which predicts noise, from 2.x at 768; people keep it in the name.
    return ("epsilon" if re.search(r"base|512", name, re.IGNORECASE) else "v_prediction"), zero


def family_of(path: Path) -> str:
    """`sd` or `sdxl`. Raises CannotLoad for files that are no such checkpoint."""
    return "sdxl" if shape_of(header_of(path), path.name, own_vae=False) is Shape.SDXL else "sd"


def read_file(
    path: Path, device: Device, progress: Callable[[], None], vae: Any = None, config: Path | None = None
) -> Parts:
    """The parts of a checkpoint in one file; `vae` takes the place of its own.

    `config`: a folder of configs and tokenizers instead of ours.

    Raises CannotLoad, or whatever the libraries raise on broken files.
    """
    header = header_of(path)
    shape = shape_of(header, path.name, own_vae=vae is None)
    folder = config or CONFIGS / shape
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    kind = KINDS[index["_class_name"]]
    prediction, zero = prediction_of(header, shape, path.stem)
    scheduler = {**read_scheduler(folder, kind), "prediction_type": prediction}
    if taught(path.stem):  # made to begin at the last of the trained steps; their own configs say so
        scheduler |= {"timestep_spacing": "trailing"}
    if zero:
        scheduler |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        scheduler |= rescaled(scheduler)
    progress()
    pads = _PADS[shape].items()
    tokenizers = {name: clip_tokenizer(path.parent, pad) for name, pad in pads} if config is None else {}
    tokenizers = tokenizers or read_tokenizers(folder, kind)
    networks = _networks(path, folder, kind.pipeline, tokenizers, device, vae)
    if shape is Shape.SD2 and prediction == "epsilon" and config is None:
        networks["unet"].register_to_config(sample_size=64)
    progress()
    return Parts(
        kind=kind, networks={name: settle(networks[name]) for name in kind.networks}, tokenizers=tokenizers,
        scheduler=scheduler, index=index, root=path.parent, files=(path,),
    )  # fmt: skip


def _networks(
    path: Path, folder: Path, pipeline: str, tokenizers: Mapping[str, Any], device: Device, vae: Any
) -> dict[str, Any]:
    """By diffusers' names, in the device's precision."""
    how: dict[str, Any] = {"config": str(folder), "local_files_only": True}
    if vae is None:
        vae_class = class_of("AutoencoderKL")
        exact = precision("AutoencoderKL", vae_class.load_config(folder / "vae"), device)
        vae = vae_class.from_single_file(str(path), subfolder="vae", dtype=exact, **how)
    whole = class_of(pipeline).from_single_file(str(path), vae=vae, dtype=device.dtype, **tokenizers, **how)
    return dict(whole.components)
