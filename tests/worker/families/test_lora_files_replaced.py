"""A LoRA's file may be replaced by another of its name: new jobs take that, those under way keep what they have."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from core.job import Lora
from tests.worker.checkpoint_loras import make_lora
from tests.worker.engine_driver import EngineDriver, pixels, request
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device
from worker.families import LoraSwitcher, file_states
from worker.families import lora_switcher as module

REQUEST = request(loras=(Lora(name="ink"),), steps=5)
BOTH = ("unet", "text_encoder")


class LoraFolder:
    """A folder with one LoRA of the tiny model, which changes both of its networks."""

    def __init__(self, folder: Path, loras: Path) -> None:
        self.folder, self.loras = folder, loras
        self.ink = loras / "ink.safetensors"
        self.parts: Mapping[str, nn.Module] = self.load().family.parts
        self.put(seed=1)

    def put(self, seed: int, note: str = "") -> None:
        make_lora(self.ink, self.parts, BOTH, seed=seed)
        if note:
            save_file(load_file(self.ink), self.ink, metadata={"note": note})

    def load(self) -> LoadedCheckpoint:
        return load(str(self.folder), choose_device("cpu", "float32", 0), loras=self.loras)

    def store(self, **how: Any) -> LoraSwitcher:
        """What switches between LoRAs, on a model of its own."""
        parts = self.load().family.parts
        networks = {name: parts[name] for name in BOTH}
        return LoraSwitcher(networks, self.loras, **how)

    def state(self) -> tuple[str, ...]:
        return file_states(self.loras, ["ink"])


@pytest.fixture
def lora_folder(folder: Path, tmp_path: Path) -> LoraFolder:
    return LoraFolder(folder, tmp_path / "loras")


def drawn(driver: EngineDriver, job: str) -> np.ndarray:
    return np.array([pixels(png) for png in driver.pictures(job)])


def alone(lora_folder: LoraFolder) -> np.ndarray:
    """The request, on a model that was loaded just now."""
    driver = EngineDriver(lora_folder.load())
    driver.render(REQUEST)
    return drawn(driver, "a")


@pytest.mark.parametrize("how", ["as long, but younger", "as old, but longer"])
def test_the_next_job_takes_the_file_that_is_there_then(lora_folder: LoraFolder, how: str) -> None:
    driver = EngineDriver(lora_folder.load())
    driver.render(REQUEST, "before")
    before = lora_folder.ink.stat()
    if how == "as long, but younger":
        lora_folder.put(seed=2)
        assert lora_folder.ink.stat().st_size == before.st_size
    else:
        lora_folder.put(seed=2, note="another")
        os.utime(lora_folder.ink, ns=(before.st_atime_ns, before.st_mtime_ns))
    driver.render(REQUEST, "after")
    assert np.array_equal(drawn(driver, "after"), alone(lora_folder)), "its words are encoded with the new one, too"
    assert np.abs(drawn(driver, "after") - drawn(driver, "before")).max() > 8


def test_a_job_under_way_ends_with_the_file_that_it_began_with_and_shares_no_forward_with_one_that_has_another(
    lora_folder: LoraFolder,
) -> None:
    old = alone(lora_folder)
    driver = EngineDriver(lora_folder.load())
    driver.submit("first", REQUEST)
    driver.ticks(3)
    lora_folder.put(seed=2)
    driver.submit("second", REQUEST)
    driver.ticks(2)
    keys = {row.job: row.key for row in driver.engine._queue.rows}
    assert keys["first"] != keys["second"]
    driver.finish("first", "second")
    assert np.array_equal(drawn(driver, "first"), old)
    assert np.array_equal(drawn(driver, "second"), alone(lora_folder))


def test_jobs_with_the_same_file_share_their_forwards(lora_folder: LoraFolder) -> None:
    driver = EngineDriver(lora_folder.load())
    for job in ("first", "second"):
        driver.submit(job, REQUEST)
    driver.ticks(2)
    assert len({row.key for row in driver.engine._queue.rows}) == 1
    driver.finish("first", "second")


def test_what_was_read_does_not_lie_in_the_file_any_more(lora_folder: LoraFolder) -> None:
    store, state = lora_folder.store(), lora_folder.state()
    store.switch_to([("ink", 1.0)], state)
    (layers,) = store._read.values()
    before = {name: change.down.clone() for name, change in layers["unet"].items()}
    lora_folder.ink.write_bytes(bytes(100))
    assert all(torch.equal(layers["unet"][name].down, down) for name, down in before.items())
    store.switch_to([])
    store.switch_to([("ink", 1.0)], state)


def test_a_job_whose_file_nobody_remembers_is_told_to_run_again(lora_folder: LoraFolder) -> None:
    state = lora_folder.state()
    lora_folder.put(seed=2)
    with pytest.raises(LookupError, match="`ink` was replaced while this job waited"):
        lora_folder.store().switch_to([("ink", 1.0)], state)
    lora_folder.ink.unlink()
    with pytest.raises(LookupError, match="There is no LoRA `ink`"):
        lora_folder.store().switch_to([("ink", 1.0)], state)


@pytest.mark.parametrize("whole", [True, False], ids=["read in time", "read by half"])
def test_a_file_that_changes_while_it_is_read_is_not_called_unfit(
    lora_folder: LoraFolder, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    def read(path: Path, *given: Any) -> Any:
        lora_folder.put(seed=3, note="in the middle")
        if not whole:
            raise ValueError("incomplete metadata")
        return {}

    monkeypatch.setattr(module, "read_lora", read)
    store = lora_folder.store()
    with pytest.raises(LookupError, match="just being replaced"):
        store.switch_to([("ink", 1.0)])
    assert not store._read


def test_a_lora_is_never_drawn_without_its_trainers_config_because_the_disk_fails(
    lora_folder: LoraFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file({f"base_model.model.x.lora_{side}.weight": torch.zeros(2, 2) for side in "AB"}, lora_folder.ink)
    opened = Path.open

    def broken(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "adapter_config.json":
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *args, **more)

    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(LookupError, match=r"cannot be read from the disk just now \(Input/output error\)"):
        lora_folder.store().switch_to([("ink", 1.0)])


def test_a_trainers_config_that_comes_behind_its_file_is_another_state(lora_folder: LoraFolder) -> None:
    before = lora_folder.state()
    lora_folder.ink.with_name("adapter_config.json").write_text("{}")
    assert lora_folder.state() != before


def test_who_has_no_loras_has_no_states(lora_folder: LoraFolder) -> None:
    assert file_states(None, ["ink"]) == ()
    assert file_states(lora_folder.loras, ["ink", "none"]) == (*lora_folder.state(), "")
    assert file_states(lora_folder.loras, []) == ()
