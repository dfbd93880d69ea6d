"""Bot and worker take a checkpoint for the same family, whatever pipeline its index names."""

import json
from pathlib import Path

import pytest

from bot.catalogue import checkpoint_files
from core.catalogue import FAMILIES
from core.families import ANY, FAMILY_OF, family_of
from tests.harness import weight_files
from worker.checkpoint_formats import PIPELINE_KINDS, computed_kind, kind_of

#: Those of the table, those that are nearly called like them, and what is no name at all.
PIPELINES = [
    *FAMILY_OF, "StableDiffusionXLInpaintPipeline", "StableDiffusionXLControlNetPipeline", "StableDiffusionPipelineX",
    "StableDiffusion3Pipeline", "FluxFillPipeline", "Flux2Pipeline", "KandinskyV22Pipeline", "", None, 9, ["x"],
]  # fmt: skip


@pytest.mark.parametrize("pipeline", PIPELINES, ids=str)
def test_what_the_bot_takes_a_folder_for_is_what_a_worker_computes_it_as(tmp_path: Path, pipeline: object) -> None:
    folder = weight_files.folder(tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    flow = isinstance(pipeline, str) and pipeline.startswith("Flux")
    scheduler = ["diffusers", "FlowMatchEulerDiscreteScheduler" if flow else "PNDMScheduler"]
    index |= {"_class_name": pipeline, "scheduler": scheduler}
    (folder / "model_index.json").write_text(json.dumps(index))
    seen, kind = checkpoint_files.model_at(folder), computed_kind(index, {})
    computed = ANY if kind is None else kind.family
    assert family_of(pipeline) == computed and kind_of(pipeline) is kind
    assert {"sd1": "sd", "sd2": "sd"}.get(seen.family, seen.family) == computed
    assert seen.samplers == FAMILIES[seen.family].samplers


def test_every_family_of_the_table_is_known_to_both() -> None:
    assert set(FAMILY_OF.values()) == set(PIPELINE_KINDS)
    assert set(FAMILY_OF.values()) | {ANY} <= set(FAMILIES)


def test_a_pipeline_that_runs_whole_needs_no_autoencoder_of_that_name(tmp_path: Path) -> None:
    """DeepFloyd and Kandinsky denoise with a UNet, and decode with something else or not at all."""
    folder = weight_files.folder(tmp_path / "model")
    index = {"_class_name": "KandinskyV22Pipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "vae" / "config.json").unlink()
    assert checkpoint_files.model_at(folder).family == ANY
