"""What the families' tests share: a picture through diffusers' own pipeline, and through ours."""

from typing import Any

import numpy as np
import torch

from core.job import Request
from tests.worker.engine_driver import EngineDriver, pixels
from worker.checkpoints.loader import LoadedCheckpoint
from worker.samplers import diffusers_scheduler


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
