"""Which family a checkpoint in diffusers' folder format is of, by its `model_index.json` and its scheduler's config.

The one table of it, for whoever looks at files and for whoever computes. What a family can do stands in
core/catalogue.py; what lies in its checkpoints and what computes them is the worker's.
"""

from collections.abc import Mapping
from typing import Any

from core.noise_schedules import unknown_in

#: Pipelines that are computed step by step. Those that start from pictures share their weights' shape.
FAMILY_OF: Mapping[str, str] = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionImg2ImgPipeline": "sd",
    "LatentConsistencyModelPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
    "FluxPipeline": "flux",
    "FluxImg2ImgPipeline": "flux",
}
#: Every other pipeline, which runs whole.
ANY = "any"
#: Where a folder keeps its scheduler's config.
SCHEDULER_CONFIG = "scheduler/scheduler_config.json"


def family_of(pipeline: object) -> str:
    """The family of a `_class_name`, whatever stands there.

    >>> family_of("FluxImg2ImgPipeline"), family_of("StableDiffusionXLInpaintPipeline"), family_of(None)
    ('flux', 'any', 'any')
    """
    return FAMILY_OF.get(pipeline, ANY) if isinstance(pipeline, str) else ANY


def computed_family(index: Mapping[str, Any], scheduler: Mapping[str, Any]) -> str:
    """The family that computes a folder: its pipeline's, unless no sampler here knows how its noise lies.

    `index`: its `model_index.json`; `scheduler`: what stands in `SCHEDULER_CONFIG`.
    """
    return ANY if unknown_schedule(index, scheduler) else family_of(index.get("_class_name"))


def unknown_schedule(index: Mapping[str, Any], scheduler: Mapping[str, Any]) -> str:
    """Why a pipeline that has a family runs whole all the same, in a few words; empty where nothing stands against."""
    family = family_of(index.get("_class_name"))
    return "" if family == ANY else unknown_in(family, scheduler_of(index, scheduler), scheduler)


def scheduler_of(index: Mapping[str, Any], scheduler: Mapping[str, Any]) -> str:
    """The name of a folder's scheduler: the index decides, as for diffusers; empty where neither tells."""
    named = index.get("scheduler")
    name = named[-1] if isinstance(named, list) and named else scheduler.get("_class_name")
    return name if isinstance(name, str) else ""
