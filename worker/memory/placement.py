"""Puts a model's networks where a memory plan wants them, and decodes in tiles what does not fit whole.

Knows nothing of why the plan is what it is.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from worker.device import Device, other_programs_mb
from worker.diffusers_internals import group_offload
from worker.interfaces import Guidance, ModelProtocol, PipelineModel
from worker.memory.offload_plan import (
    FULLY_RESIDENT,
    NOTHING_RESERVED,
    OffloadPlan,
    OffloadPolicy,
    ReservedMemory,
    plan_beside_models,
)
from worker.memory.size_estimate import TILE_SIDE, estimate_sizes

#: The network that takes the steps, by diffusers' name for it.
DENOISERS = ("unet", "transformer")
HOST = torch.device("cpu")
#: How weights are kept: fp8 halves the memory of a denoiser, for a little time and a little of the picture. It is for
#: small cards, not for speed: weights are cast up before each use.
FULL, FP8 = "full", "fp8"


def plan_for_model(
    family: ModelProtocol, device: Device, weights: str, name: str, reserved: ReservedMemory = NOTHING_RESERVED
) -> OffloadPlan:
    """How the model will lie in the device's memory, with what is reserved and what other programs have by now.

    Raises NoRoom when other models of this worker had better go first, CannotLoad when it does not fit in any way.
    """
    # A pipeline of its own may ask twice too, and nobody here knows.
    classifier_free = family.guidance is Guidance.CLASSIFIER_FREE or isinstance(family, PipelineModel)
    if device.torch_device == HOST and not device.capped:
        # The operating system's memory is not ours to plan with.
        return replace(FULLY_RESIDENT, fp8=weights == FP8, compiler=reserved.compiler)
    sizes = estimate_sizes(family.parts, native=family.native, factor=family.factor, classifier_free=classifier_free)
    reserved = replace(reserved, programs=other_programs_mb(device))
    return plan_beside_models(sizes, device.memory_mb, reserved, fp8=weights == FP8, rows=device.max_rows, name=name)


def place_networks(
    parts: Mapping[str, nn.Module], chosen: OffloadPlan, device: torch.device, compute: torch.dtype
) -> None:
    """Networks by diffusers' names, from the host's memory; `compute`: the precision they compute in."""
    for name, part in parts.items():
        denoiser = name in DENOISERS
        if denoiser and chosen.fp8:
            _store_in_fp8(part, compute)
        if is_streamed(name, chosen):
            unmap_weights(part)
            if device != HOST:
                group_offload(part, device, HOST, blocks=name == "transformer")
        else:
            unmap_weights(part.to(device))
    if chosen.tiled:
        enable_tiling(parts.get("vae"))


def _store_in_fp8(denoiser: nn.Module, compute: torch.dtype) -> None:
    """Norms and embeddings stay as they are, as diffusers names them."""
    network: Any = denoiser
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=compute)


def unmap_weights(part: nn.Module) -> None:
    """Weights that stay in the host's memory are copied into memory of their own, one at a time.

    Libraries map files instead of reading them: a mapped file that somebody writes over ends the process (SIGBUS).
    """
    copies: dict[tuple[object, ...], torch.Tensor] = {}  # weights may be tied

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device != HOST:
            return tensor
        place = tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
        if place not in copies:
            copies[place] = tensor.detach().clone()
        return copies[place]

    for weight in part.parameters():
        weight.data = copy(weight.data)
    for module in part.modules():
        # New tensors, for a buffer may be a view that keeps what it is of.
        for name, one in list(module.named_buffers(recurse=False, remove_duplicate=False)):
            setattr(module, name, copy(one))


def is_streamed(name: str, chosen: OffloadPlan) -> bool:
    """Whether the network stays in the host's memory and comes piece by piece when it is used."""
    if name in DENOISERS:
        return chosen.policy is OffloadPolicy.STREAMED
    if name == "vae":
        return chosen.policy in {OffloadPolicy.DENOISER_ONLY, OffloadPolicy.STREAMED}
    return chosen.policy is not OffloadPolicy.RESIDENT


def move_networks(parts: Mapping[str, nn.Module], chosen: OffloadPlan, place: torch.device) -> None:
    """What stays on the device goes elsewhere, or comes back; what streams is in the host's memory anyway."""
    for name, part in parts.items():
        if not is_streamed(name, chosen):
            part.to(place)


def enable_tiling(vae: nn.Module | None, side: int = TILE_SIDE) -> bool:
    """From now on pictures larger than `side` are decoded in tiles; False when that changes nothing."""
    coder: Any = vae
    if not hasattr(coder, "enable_tiling"):
        return False
    if hasattr(coder, "tile_sample_min_height"):  # relatives of AutoencoderKL, whose tiles have two sides
        return _tile_both_sides(coder, side)
    if coder.use_tiling and coder.tile_sample_min_size <= side:
        return False
    coder.enable_tiling()
    coder.tile_sample_min_size = side
    coder.tile_latent_min_size = side // 2 ** (len(coder.config.block_out_channels) - 1)
    return True


def _tile_both_sides(coder: Any, side: int) -> bool:
    """The same; a quarter of a tile overlaps with the next."""
    if coder.use_tiling and max(coder.tile_sample_min_height, coder.tile_sample_min_width) <= side:
        return False
    stride = side * 3 // 4
    coder.enable_tiling(
        tile_sample_min_height=side, tile_sample_min_width=side, tile_sample_stride_height=stride,
        tile_sample_stride_width=stride,
    )  # fmt: skip
    return True
