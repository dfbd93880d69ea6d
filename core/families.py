"""Which family a checkpoint in diffusers' folder format is of, by the pipeline that its `model_index.json` names.

The one table of it, for whoever looks at files and for whoever computes. What a family can do stands in
core/catalogue.py; what lies in its checkpoints and what computes them is the worker's.
"""

from collections.abc import Mapping

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


def family_of(pipeline: object) -> str:
    """The family of a `_class_name`, whatever stands there.

    >>> family_of("FluxImg2ImgPipeline"), family_of("StableDiffusionXLInpaintPipeline"), family_of(None)
    ('flux', 'any', 'any')
    """
    return FAMILY_OF.get(pipeline, ANY) if isinstance(pipeline, str) else ANY
