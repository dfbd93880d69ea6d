"""diffusers by itself: as its documentation starts a pipeline, and as its documentation makes one fast."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from benchmarks._gpu.configs import Subject
from worker.checkpoints.components import Components, class_of
from worker.compiling.torch_internals import forget_compiled
from worker.diffusers_internals import repeated_blocks
from worker.samplers import diffusers_scheduler

#: What a pipeline insists on being told and does not need here.
_BARE: dict[str, dict[str, Any]] = {
    "sd": {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False},
    "sdxl": {"add_watermarker": False},
}


def pipeline(subject: Subject, components: Components) -> Any:
    """Of the same networks as ours."""
    scheduler = diffusers_scheduler(subject.sampler, dict(components.scheduler))
    parted = {**components.networks, **components.tokenizers, "scheduler": scheduler}
    made = class_of(components.kind.pipeline)(**parted, **_BARE.get(components.kind.family, {}))
    made.set_progress_bar_config(disable=True)
    return made


def grid(pipe: Any, subject: Subject, seed: int) -> float:
    """Seconds of a grid of four, from words to pictures in the host's memory."""
    request = subject.request(seed)
    generators = [torch.Generator("cpu").manual_seed(seed + index) for index in range(request.count)]
    more = {"max_sequence_length": 256} if subject.kind.family == "flux" else {}
    began = time.perf_counter()
    pipe(
        request.prompt, num_images_per_prompt=request.count, guidance_scale=request.guidance, generator=generators,
        num_inference_steps=request.steps, width=request.width, height=request.height, **more,
    )  # fmt: skip
    return time.perf_counter() - began


def seconds(work: Callable[[int], float], runs: int, warm: int = 1) -> float:
    """The median of `runs`, after some that do not count."""
    for number in range(warm):
        work(number)
    return statistics.median(work(100 + number) for number in range(runs))


@contextmanager
def at_its_best(pipe: Any, subject: Subject, mode: str) -> Iterator[Any]:
    """bf16, channels-last, joined projections, compiled: a UNet whole, a transformer by its blocks, the decoder whole.

    `mode`: of torch.compile; empty runs the same steps without a compiler, where there is none.
    """
    how: dict[str, Any] = {"fullgraph": True, **({"mode": mode} if mode else {"backend": "eager"})}
    name = subject.kind.denoiser
    denoiser, decode = getattr(pipe, name), pipe.vae.decode
    for network in (denoiser, pipe.vae):
        network.to(memory_format=torch.channels_last)
    blocks: list[nn.Module] = []
    if name == "unet":
        pipe.fuse_qkv_projections(vae=False)
        setattr(pipe, name, torch.compile(denoiser, **how))
    else:
        kinds = set(repeated_blocks(denoiser))
        blocks = [part for part in denoiser.modules() if type(part).__name__ in kinds]
        regional = {**how, "mode": "default"} if mode else how
        denoiser.compile_repeated_blocks(**regional)
    pipe.vae.decode = torch.compile(decode, **how)
    try:
        yield pipe
    finally:
        pipe.vae.decode = decode
        setattr(pipe, name, denoiser)
        for block in blocks:
            forget_compiled(block)
        if name == "unet":
            pipe.unfuse_qkv_projections(vae=False)
            _drop_joined(denoiser)
        torch.compiler.reset()


def _drop_joined(denoiser: nn.Module) -> None:
    """The joined copies of weights, which unfusing leaves where they are."""
    for part in denoiser.modules():
        for joined in ("to_qkv", "to_kv", "to_added_qkv"):
            if hasattr(part, joined):
                delattr(part, joined)
