"""Reads checkpoints that are one `.safetensors` file, as Stable Diffusion 1.x, 2.x and XL are passed around.

Configs and tokenizers are ours, so nothing is fetched; what the file is, its header tells
(`checkpoint_formats/single_file.py`). Knows nothing of jobs.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from worker.checkpoint_formats import (
    CONFIGS,
    FAMILIES,
    PIPELINE_KINDS,
    Shape,
    few_step_methods,
    prediction_of,
    read_header,
    shape_of,
)
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

#: What fills texts up: the end again, or the token of the exclamation mark, which is number 0.
_PADS: Mapping[Shape, Mapping[str, str]] = {
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
    header = read_header(path)
    shape = shape_of(header, path.name, own_vae=vae is None)
    folder = config or CONFIGS / shape
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    kind, name = PIPELINE_KINDS[FAMILIES[shape]], original_name or path.stem
    prediction, zero = prediction_of(header, shape, name)
    scheduler = {**read_scheduler(folder, kind, index), "prediction_type": prediction}
    if few_step_methods(name):  # made to begin at the last of the trained steps; their own configs say so
        scheduler |= {"timestep_spacing": "trailing"}
    if zero:
        scheduler |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        scheduler |= guidance_rescale_of(scheduler)
    progress()
    pads = _PADS[shape].items()
    tokenizers = {name: clip_tokenizer(path.parent, pad) for name, pad in pads} if config is None else {}
    tokenizers = tokenizers or read_tokenizers(folder, kind)
    networks = _networks(path, folder, kind.pipeline, tokenizers, device, vae)
    if shape is Shape.SD2 and prediction == "epsilon" and config is None:
        networks["unet"].register_to_config(sample_size=64)
    progress()
    return Components(
        kind=kind, networks={name: prepare_network(networks[name]) for name in kind.networks}, tokenizers=tokenizers,
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
