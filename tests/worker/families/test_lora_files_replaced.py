"""A LoRA's file may be replaced by another of its name: new jobs take that, those under way keep what they have."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from core.job import Lora
from tests.worker.checkpoint_loras import make_lora
from tests.worker.engine_driver import Bed, pixels, request
from worker.checkpoints.loader import Loaded, load
from worker.device import choose
from worker.families import lora_switcher as module
from worker.families.lora_switcher import Loras, states

WISH = request(loras=(Lora(name="ink"),), steps=5)
BOTH = ("unet", "text_encoder")


class Shop:
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

    def load(self) -> Loaded:
        return load(str(self.folder), choose("cpu", "float32", 0), loras=self.loras)

    def store(self, **how: Any) -> Loras:
        """What switches between LoRAs, on a model of its own."""
        parts = self.load().family.parts
        networks = {name: parts[name] for name in BOTH}
        return Loras(diffusers.StableDiffusionPipeline, networks, self.loras, **how)

    def state(self) -> tuple[str, ...]:
        return states(self.loras, ["ink"])


@pytest.fixture
def shop(folder: Path, tmp_path: Path) -> Shop:
    return Shop(folder, tmp_path / "loras")


def drawn(bed: Bed, job: str) -> np.ndarray:
    return np.array([pixels(png) for png in bed.pictures(job)])


def alone(shop: Shop) -> np.ndarray:
    """The wish, on a model that was loaded just now."""
    bed = Bed(shop.load())
    bed.render(WISH)
    return drawn(bed, "a")


@pytest.mark.parametrize("how", ["as long, but younger", "as old, but longer"])
def test_the_next_job_takes_the_file_that_is_there_then(shop: Shop, how: str) -> None:
    bed = Bed(shop.load())
    bed.render(WISH, "before")
    before = shop.ink.stat()
    if how == "as long, but younger":
        shop.put(seed=2)
        assert shop.ink.stat().st_size == before.st_size
    else:
        shop.put(seed=2, note="another")
        os.utime(shop.ink, ns=(before.st_atime_ns, before.st_mtime_ns))
    bed.render(WISH, "after")
    assert np.array_equal(drawn(bed, "after"), alone(shop)), "its words are encoded with the new one, too"
    assert np.abs(drawn(bed, "after") - drawn(bed, "before")).max() > 8


def test_a_job_under_way_ends_with_the_file_that_it_began_with_and_shares_no_forward_with_one_that_has_another(
    shop: Shop,
) -> None:
    old = alone(shop)
    bed = Bed(shop.load())
    bed.submit("first", WISH)
    bed.ticks(3)
    shop.put(seed=2)
    bed.submit("second", WISH)
    bed.ticks(2)
    keys = {row.job: row.key for row in bed.engine._line.rows}
    assert keys["first"] != keys["second"]
    bed.finish("first", "second")
    assert np.array_equal(drawn(bed, "first"), old)
    assert np.array_equal(drawn(bed, "second"), alone(shop))


def test_jobs_with_the_same_file_share_their_forwards(shop: Shop) -> None:
    bed = Bed(shop.load())
    for job in ("first", "second"):
        bed.submit(job, WISH)
    bed.ticks(2)
    assert len({row.key for row in bed.engine._line.rows}) == 1
    bed.finish("first", "second")


def test_what_was_read_does_not_lie_in_the_file_any_more(shop: Shop) -> None:
    store, state = shop.store(), shop.state()
    store.use([("ink", 1.0)], state)
    (layers,) = store._read.values()
    before = {name: down.clone() for name, (down, _) in layers["unet"].items()}
    shop.ink.write_bytes(bytes(100))
    assert all(torch.equal(layers["unet"][name][0], down) for name, down in before.items())
    store.use([])
    store.use([("ink", 1.0)], state)


def test_a_job_whose_file_nobody_remembers_is_told_to_run_again(shop: Shop) -> None:
    state = shop.state()
    shop.put(seed=2)
    with pytest.raises(LookupError, match="`ink` was replaced while this job waited"):
        shop.store().use([("ink", 1.0)], state)
    shop.ink.unlink()
    with pytest.raises(LookupError, match="There is no LoRA `ink`"):
        shop.store().use([("ink", 1.0)], state)


@pytest.mark.parametrize("whole", [True, False], ids=["read in time", "read by half"])
def test_a_file_that_changes_while_it_is_read_is_not_called_unfit(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    def read(path: Path, *given: Any) -> Any:
        shop.put(seed=3, note="in the middle")
        if not whole:
            raise ValueError("incomplete metadata")
        return {}

    monkeypatch.setattr(module, "read", read)
    store = shop.store()
    with pytest.raises(LookupError, match="just being replaced"):
        store.use([("ink", 1.0)])
    assert not store._read


def test_who_has_no_loras_has_no_states(shop: Shop) -> None:
    assert states(None, ["ink"]) == ()
    assert states(shop.loras, ["ink", "none"]) == (*shop.state(), "")
    assert states(shop.loras, []) == ()
