"""Reads an autoencoder that takes the place of a checkpoint's own: a folder, a `.safetensors` file, or a hub id.

Knows nothing of what denoises.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.checkpoint_formats.single_file import CONFIGS
from worker.checkpoints.components import class_of, precision, prepare_network, read_network
from worker.checkpoints.weight_digest import digest
from worker.device import Device
from worker.errors import CannotLoad
from worker.hub_download import HubError, fetch
from worker.paths import existing

_CLASS = "AutoencoderKL"
_FILES = ("config.json", "*.safetensors", "vae/config.json", "vae/*.safetensors")
#: Which of our configs an autoencoder in one file has, by the family that it is for.
_CONFIG_NAMES = {"sd": "sd1", "sdxl": "sdxl"}


@dataclass(frozen=True, slots=True)
class VaeOverride:
    """The autoencoder on the device, and what names its weights."""

    network: Any
    digest: str


def read_vae(where: str, family: str, device: Device) -> VaeOverride:
    """For a model of this family. Raises CannotLoad, or whatever the libraries raise on broken files."""
    place = existing(where)
    if place is None:
        if where.count("/") != 1 or where.startswith((".", "/", "~")) or where.endswith(".safetensors"):
            raise CannotLoad(f"There is no autoencoder at {where}; a hub id looks like owner/name.")
        try:
            place = fetch(where, _FILES)
        except HubError as error:
            raise CannotLoad(f"The autoencoder {where} is not here. {error.sentence}") from error
    if place.is_file():
        return VaeOverride(prepare_network(_file(place, family, device)), digest(place.parent, [place]))
    inner = place / "vae" if (place / "vae" / "config.json").is_file() else place
    return VaeOverride(prepare_network(_folder(inner, device)), digest(inner, inner.glob("*.safetensors")))


def _folder(inner: Path, device: Device) -> Any:
    if not (inner / "config.json").is_file() or not list(inner.glob("*.safetensors")):
        raise CannotLoad(f"{inner} holds no autoencoder in diffusers' format: config.json and a .safetensors file.")
    return read_network(inner, _CLASS, device)


def _file(path: Path, family: str, device: Device) -> Any:
    if path.suffix != ".safetensors":
        raise CannotLoad(f"{path.name} is not a .safetensors file; pickled weights are never loaded.")
    if family not in _CONFIG_NAMES:
        raise CannotLoad(f"An autoencoder for {family} has to be a folder in diffusers' format, not {path.name}.")
    config = CONFIGS / _CONFIG_NAMES[family]
    dtype = precision(_CLASS, json.loads((config / "vae" / "config.json").read_text("utf-8")), device)
    return class_of(_CLASS).from_single_file(
        str(path), config=str(config), subfolder="vae", local_files_only=True, dtype=dtype
    )
