"""Whoever writes over a checkpoint's files harms no worker that has loaded them."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_sd3, make_sdxl
from tests.worker.checkpoint_single import single_file
from tests.worker.companions import make_adapter, make_classifier, make_upscaler, open_all
from worker.checkpoints import LoadedCheckpoint, load, loader
from worker.checkpoints.components import read_network
from worker.checkpoints.loader import add_companions
from worker.device import choose_device
from worker.memory import OffloadPlan, place_networks, unmap_weights
from worker.memory.offload_plan import OffloadPolicy
from worker.vision import CompanionPaths

CPU = choose_device("cpu", "float32", 0)
MAPS = Path("/proc/self/maps")
#: Loads a checkpoint, has its files cut to nothing, and uses it.
WRITTEN_OVER = """
import sys
from pathlib import Path
from worker.device import choose_device
from worker.checkpoints.loader import load
loaded = load(sys.argv[1], choose_device("cpu", "float32", 0))
for path in Path(sys.argv[1]).rglob("*.safetensors"):
    open(path, "w").close()
for part in loaded.family.parts.values():
    for weight in part.state_dict().values():
        weight.float().sum().item()
"""


def mapped(folder: Path) -> list[str]:
    """Files below it that this process reads by looking into its memory."""
    gc.collect()
    return [line for line in MAPS.read_text().splitlines() if str(folder) in line]


def as_folder(maker: Callable[[Path], Path]) -> Callable[[Path, pytest.MonkeyPatch], LoadedCheckpoint]:
    return lambda folder, _: load(str(maker(folder / "tiny")), CPU)


def as_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedCheckpoint:
    made, read = make(folder / "tiny"), loader.read_file
    monkeypatch.setattr(loader, "read_file", lambda *given, **how: read(*given, **how, config=made))
    return load(str(single_file(made, folder / "tiny.safetensors")), CPU)


def with_companions(folder: Path, _: pytest.MonkeyPatch) -> LoadedCheckpoint:
    made = make(folder / "tiny")
    unet = UNet2DConditionModel.from_pretrained(made / "unet")
    paths = CompanionPaths(
        adapter=str(make_adapter(folder / "ip_adapter", unet)), upscaler=str(make_upscaler(folder / "upscaler")),
        classifier=str(make_classifier(folder / "vision")),
    )  # fmt: skip
    del unet
    loaded = add_companions(load(str(made), CPU), paths, CPU)
    open_all(loaded)
    assert len(loaded.companions.networks) > 3
    return loaded


LOADS = {
    "companions": with_companions,
    "sd": as_folder(make),
    "sdxl": as_folder(make_sdxl),
    "any": as_folder(make_sd3),
    "a file": as_file,
}


@pytest.mark.skipif(not MAPS.exists(), reason="reads what is mapped from /proc")
@pytest.mark.parametrize("how", LOADS)
def test_a_loaded_model_is_mapped_to_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    loaded = LOADS[how](tmp_path, monkeypatch)
    assert not mapped(tmp_path) and loaded.family.parts


@pytest.mark.skipif(not MAPS.exists(), reason="reads what is mapped from /proc")
def test_nor_is_what_waits_in_the_hosts_memory_for_its_turn_on_the_device(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    unet = read_network(copy / "unet", "UNet2DConditionModel", CPU)
    assert mapped(tmp_path), "as the library reads it"
    place_networks(
        {"unet": unet}, OffloadPlan(policy=OffloadPolicy.STREAMED, tiled=False, rows=1), CPU.torch_device, CPU.dtype
    )
    assert not mapped(tmp_path)


@pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="there is no such end here")
def test_a_worker_outlives_a_checkpoint_that_is_written_over(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    told = subprocess.run(
        [sys.executable, "-c", WRITTEN_OVER, str(copy)], env=environ, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr[-500:]


def test_weights_of_their_own_are_the_same_weights_laid_the_same_way_and_tied_as_before() -> None:
    one = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Linear(3, 5), nn.Linear(3, 5)).to(memory_format=torch.channels_last)
    one.register_buffer("steps", torch.arange(4))
    one[2].weight.data = one[1].weight.data
    before = {name: (value.clone(), value.stride(), value.data_ptr()) for name, value in one.state_dict().items()}
    unmap_weights(one)
    for name, value in one.state_dict().items():
        same, stride, address = before[name]
        assert torch.equal(value, same) and value.stride() == stride and value.data_ptr() != address
    assert one[1].weight.data_ptr() == one[2].weight.data_ptr()
