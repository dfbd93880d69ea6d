"""In bfloat16 every family draws what it draws in float32, on average as nearly as diffusers' pipeline, above a floor.

On the CPU, and on a GPU where there is one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from core.catalogue import POSTCARD
from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_flux, make_sd3, make_sdxl
from tests.worker.compared import ours, plain, with_sampler
from tests.worker.engine_driver import request
from worker.checkpoints import load
from worker.device import choose_device
from worker.paths import ROOT

#: dB that our pictures may be farther from float32's than the pipeline's own, on average.
ROOM = 2.0
#: Of one picture either may be the nearer by 2 dB and more: that hangs on how a processor's kernels round its sums.
SEEDS = range(7, 11)
#: Pixels: a larger native size takes long on a CPU and shows no more.
SIDE = 128
#: By family: its checkpoint, its pipeline, its sampler, the floor in dB.
FAMILIES: dict[str, tuple[Callable[[Path], Path], Any, str, float]] = {
    "postcard": (lambda _: ROOT / POSTCARD.path, diffusers.StableDiffusionPipeline, "euler", 38.0),
    "sd": (make, diffusers.StableDiffusionPipeline, "euler", 32.0),
    "sdxl": (make_sdxl, diffusers.StableDiffusionXLPipeline, "euler", 32.0),
    "flux": (lambda folder: make_flux(folder, guided=True), diffusers.FluxPipeline, "flow_euler", 30.0),
    "any": (make_sd3, diffusers.StableDiffusion3Pipeline, "own", 35.0),
}
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """dB."""
    return float(10 * np.log10(255**2 / max(1e-9, np.square((picture - truth).astype(float)).mean())))


@pytest.mark.parametrize("place", ["cpu", pytest.param("cuda", marks=gpu)])
@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_is_as_near_to_full_as_the_pipelines_own(name: str, place: str, tmp_path: Path) -> None:
    make_it, pipeline_class, sampler, floor = FAMILIES[name]
    folder = make_it(tmp_path / "tiny")
    full = load(str(folder), choose_device(place, "float32", 0))
    half = load(str(folder), choose_device(place, "bfloat16", 0))
    side = min(full.info.native, SIDE)
    pipeline = pipeline_class.from_pretrained(folder, dtype=torch.bfloat16).to(place)
    own, theirs = [], []
    for seed in SEEDS:
        wanted = request(sampler=sampler, steps=8, count=1, width=side, height=side, seed=seed)
        truth = ours(full, wanted)
        if sampler != "own":
            pipeline = with_sampler(pipeline, full, sampler)
        own.append(psnr(ours(half, wanted), truth))
        theirs.append(psnr(plain(pipeline, wanted), truth))
    assert np.mean(own) >= floor, own
    assert np.mean(own) >= np.mean(theirs) - ROOM, (own, theirs)
