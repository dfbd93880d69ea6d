"""What a checkpoint in one `.safetensors` file is, as Stable Diffusion 1.x, 2.x and XL are passed around.

It shows in the file's header and name; `configs/` holds the configs that such files lack. Loads nothing.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from core.safetensors_header import Header, NotSafetensors, is_lora, read
from worker.checkpoint_formats.kinds import INPAINTING, REFINER
from worker.errors import CannotLoad

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


FAMILIES: Mapping[Shape, str] = {Shape.SD1: "sd", Shape.SD2: "sd", Shape.SDXL: "sdxl"}


def read_header(path: Path) -> Header:
    """What a file says of its tensors, without reading these. Raises CannotLoad when it is no safetensors file."""
    if not path.is_file():
        raise CannotLoad(f"{path} is no file, and leads to none.")
    try:
        with path.open("rb") as file:
            header = read(file.read)
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
    return FAMILIES[shape_of(read_header(path), path.name, own_vae=False)]
