"""What Darkroom uses of diffusers although diffusers does not promise it; nothing else here may, and tests/meta looks.

Its hooks for weights that come and go stand here as a whole. Tried with diffusers 0.42, on UNets, on transformers of
FLUX.1 and on text encoders; pyproject.toml allows that minor version and no other. After another one has been tried
both change together.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn


def group_offload(network: nn.Module, device: torch.device, host: torch.device, *, blocks: bool) -> None:
    """Keeps its weights on `host`; the next ones are on their way to `device` while the present ones compute.

    `blocks`: a transformer's block at a time, else a layer.
    """
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(
        network, onload_device=device, offload_device=host, use_stream=True, record_stream=True, low_cpu_mem_usage=True,
        offload_type="block_level" if blocks else "leaf_level", num_blocks_per_group=1 if blocks else None,
    )  # fmt: skip


def is_group_offloaded(network: nn.Module) -> bool:
    """Whether its weights come to the device piece by piece."""
    from diffusers.hooks.group_offloading import _is_group_offload_enabled

    return bool(_is_group_offload_enabled(network))


def repeated_blocks(network: nn.Module) -> Sequence[str]:
    """Classes of the equal blocks that a transformer is made of; none for what diffusers names none of."""
    return list(getattr(network, "_repeated_blocks", None) or ())


def text_encoder_of_file(
    kind: Any, tensors: Mapping[str, Any], configs: Path, name: str, dtype: torch.dtype
) -> nn.Module:  # fmt: skip
    """The text encoder `name`, of this class, out of the tensors of a checkpoint in the original layout."""
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm

    found: nn.Module = create_diffusers_clip_model_from_ldm(
        kind, tensors, subfolder=name, config=str(configs), torch_dtype=dtype, local_files_only=True
    )
    return found


def guides_at(pipeline: Any, scale: float) -> bool | None:
    """Whether it takes a second forward without the prompt at this guidance scale; None where it does not tell."""
    if not hasattr(type(pipeline), "do_classifier_free_guidance"):
        return None
    tried = copy.copy(pipeline)
    tried._guidance_scale = scale
    return bool(tried.do_classifier_free_guidance)
