"""Puts a model's networks where a memory plan wants them, and decodes in tiles what does not fit whole.

Knows nothing of why the plan is what it is.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from worker.device import Device, programs_mb
from worker.interfaces import Guidance, Model, Whole
from worker.memory.fp8 import to_fp8
from worker.memory.offload_plan import ALONE, UNPLANNED, Company, Plan, Policy, plan_beside
from worker.memory.size_estimate import TILE, sizes_of

#: The network that takes the steps, by diffusers' name for it.
DENOISERS = ("unet", "transformer")
HOST = torch.device("cpu")
_LAYERS, _BLOCKS = "leaf_level", "block_level"
FULL, FP8 = "full", "fp8"


def planned(family: Model, device: Device, weights: str, name: str, company: Company = ALONE) -> Plan:
    """How the model will lie in the device's memory, with that company and what other programs have by now.

    Raises NoRoom when other models of this worker had better go first, CannotLoad when it does not fit in any way.
    """
    # A pipeline of its own may ask twice too, and nobody here knows.
    twice = family.guidance is Guidance.TWICE or isinstance(family, Whole)
    if device.place == HOST and not device.capped:
        # The operating system's memory is not ours to plan with.
        return replace(UNPLANNED, fp8=weights == FP8, compiler=company.compiler)
    sizes = sizes_of(family.parts, native=family.native, factor=family.factor, twice=twice)
    company = replace(company, programs=programs_mb(device))
    return plan_beside(sizes, device.memory_mb, company, fp8=weights == FP8, rows=device.max_rows, name=name)


def place(parts: Mapping[str, nn.Module], chosen: Plan, device: torch.device, compute: torch.dtype) -> None:
    """Networks by diffusers' names, from the host's memory; `compute`: the precision they compute in."""
    for name, part in parts.items():
        denoiser = name in DENOISERS
        if denoiser and chosen.fp8:
            to_fp8(part, compute)
        if streams(name, chosen):
            own(part)
            _stream(part, device, _BLOCKS if name == "transformer" else _LAYERS)
        else:
            own(part.to(device))
    if chosen.tiled:
        tile(parts.get("vae"))


def own(part: nn.Module) -> None:
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
        for name, one in module._buffers.items():
            if one is not None:
                module._buffers[name] = copy(one)


def streams(name: str, chosen: Plan) -> bool:
    """Whether the network stays in the host's memory and comes piece by piece when it is used."""
    if name in DENOISERS:
        return chosen.policy is Policy.STREAMED
    if name == "vae":
        return chosen.policy in {Policy.DENOISER_ONLY, Policy.STREAMED}
    return chosen.policy is not Policy.RESIDENT


def move(parts: Mapping[str, nn.Module], chosen: Plan, place: torch.device) -> None:
    """What stays on the device goes elsewhere, or comes back; what streams is in the host's memory anyway."""
    for name, part in parts.items():
        if not streams(name, chosen):
            part.to(place)


def _stream(part: nn.Module, device: torch.device, how: str) -> None:
    """Its weights stay in the host's memory; the next ones are on their way while the present ones compute."""
    if device == HOST:
        return
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(
        part, onload_device=device, offload_device=HOST, offload_type=how, use_stream=True, record_stream=True,
        num_blocks_per_group=1 if how == _BLOCKS else None, low_cpu_mem_usage=True,
    )  # fmt: skip


def tile(vae: nn.Module | None, side: int = TILE) -> bool:
    """From now on pictures larger than `side` are decoded in tiles; False when that changes nothing."""
    coder: Any = vae
    if not hasattr(coder, "enable_tiling"):
        return False
    if hasattr(coder, "tile_sample_min_height"):  # relatives of AutoencoderKL, whose tiles have two sides
        return _tile_both(coder, side)
    if coder.use_tiling and coder.tile_sample_min_size <= side:
        return False
    coder.enable_tiling()
    coder.tile_sample_min_size = side
    coder.tile_latent_min_size = side // 2 ** (len(coder.config.block_out_channels) - 1)
    return True


def _tile_both(coder: Any, side: int) -> bool:
    """The same; a quarter of a tile overlaps with the next."""
    if coder.use_tiling and max(coder.tile_sample_min_height, coder.tile_sample_min_width) <= side:
        return False
    stride = side * 3 // 4
    coder.enable_tiling(
        tile_sample_min_height=side, tile_sample_min_width=side, tile_sample_stride_height=stride,
        tile_sample_stride_width=stride,
    )  # fmt: skip
    return True
