"""A picture through diffusers' own pipeline, and through ours, and how far one is from the other."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.catalogue import SAMPLERS
from core.job import Request
from tests.worker.engine_driver import EngineDriver, pixels
from worker.checkpoints import LoadedCheckpoint
from worker.samplers import diffusers_scheduler

#: What a model that predicts noise may use.
NOISE_SAMPLERS = tuple(name for name in SAMPLERS if name != "flow_euler")


def plain(pipeline: Any, request: Request, index: int = 0, **more: Any) -> np.ndarray:
    """Picture `index` of a request as the pipeline itself makes it, in integers [h, w, 3]."""
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(request.seed + index)
    words = {"negative_prompt": request.negative} if request.negative else {}
    image = pipeline(
        request.prompt, width=request.width, height=request.height, num_inference_steps=request.steps,
        guidance_scale=request.guidance, generator=generator, output_type="np", **words, **more,
    ).images[0]  # fmt: skip
    return np.round(image * 255).astype(int)


def with_sampler(pipeline: Any, loaded: LoadedCheckpoint, sampler: str) -> Any:
    """The pipeline, with a fresh scheduler of this sampler."""
    pipeline.scheduler = diffusers_scheduler(sampler, dict(loaded.family.scheduler))
    return pipeline


def ours(loaded: LoadedCheckpoint, request: Request) -> np.ndarray:
    """Its first picture through the engine."""
    return pixels(EngineDriver(loaded).render(request, indices=(0,))[0])


def distance(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference of a value, of 255."""
    return int(np.abs(one - other).max())


@lru_cache(maxsize=4)
def _pipeline(folder: Path, kind: type) -> Any:
    """diffusers' own."""
    return kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)


def plain_grid(folder: Path, kind: type, wanted: Request, **more: object) -> list[np.ndarray]:
    """What diffusers' own pipeline makes of a request."""
    loaded = _pipeline(folder, kind)
    pipe = kind(**loaded.components)
    pipe.scheduler = diffusers_scheduler(wanted.sampler, loaded.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed((wanted.seed + index) % 2**32) for index in range(wanted.count)]
    made = pipe(
        [wanted.prompt] * wanted.count, negative_prompt=[wanted.negative] * wanted.count,
        guidance_scale=wanted.guidance, num_inference_steps=wanted.steps, generator=generators, output_type="np",
        **more,
    )  # fmt: skip
    return [(image * 255).round().astype(int) for image in made.images]


def furthest(some: list[bytes], others: list[bytes] | list[np.ndarray]) -> int:
    """The largest difference of any channel of any pixel."""
    assert len(some) == len(others)
    arrays = [pixels(other) if isinstance(other, bytes) else other for other in others]
    return max(int(np.abs(pixels(one) - other).max()) for one, other in zip(some, arrays, strict=True))
