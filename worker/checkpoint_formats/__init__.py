"""What checkpoints look like on disk: names, headers, configs. Loads no weights."""

from worker.checkpoint_formats.diffusers_folder import with_plain_names
from worker.checkpoint_formats.few_step_models import few_step_methods
from worker.checkpoint_formats.kinds import (
    FLUX,
    PIPELINE_KINDS,
    SD,
    SDXL,
    PipelineKind,
    check_folder,
    computed_kind,
    kind_of,
    read_model_index,
    read_scheduler_config,
)
from worker.checkpoint_formats.single_file import (
    CONFIGS,
    FAMILIES,
    Shape,
    family_of,
    look,
    read_header,
)

__all__ = [
    "CONFIGS",
    "FAMILIES",
    "FLUX",
    "PIPELINE_KINDS",
    "SD",
    "SDXL",
    "PipelineKind",
    "Shape",
    "check_folder",
    "computed_kind",
    "family_of",
    "few_step_methods",
    "kind_of",
    "look",
    "read_header",
    "read_model_index",
    "read_scheduler_config",
    "with_plain_names",
]
