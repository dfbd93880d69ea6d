"""Upscales: the size that was asked for, no seams, and a sentence where an upscaler cannot be used."""

import itertools
import json
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.worker.companions import make_upscaler
from worker.errors import CannotOpen
from worker.families.latent_preview import synthetic_fields
from worker.interfaces import Pixels
from worker.vision import TileBlender, cut_tiles
from worker.vision.upscale import Upscaler, open_upscaler, read_upscaler_headers

CPU, FLOAT = torch.device("cpu"), torch.float32


def run(work: Generator[None, None, Any]) -> tuple[int, Any]:
    """How often it paused, and what came of it."""
    pauses = 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            return pauses, end.value
        pauses += 1


def picture(width: int, height: int, seed: int = 5) -> Pixels:
    """Soft colours with flat shapes on them."""
    side = max(width, height)
    return synthetic_fields(np.random.default_rng(seed), 2, side)[1][:height, :width]


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    """A tiny Swin2SR with random weights."""
    return open_upscaler(make_upscaler(tmp_path_factory.mktemp("swin")), CPU, FLOAT)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_picture_comes_out_as_large_as_asked_whatever_its_sides(upscaler: Upscaler, factor: int) -> None:
    _pauses, larger = run(upscaler.enlarge(picture(52, 37), factor))
    assert larger.shape == (37 * factor, 52 * factor, 3)


def test_one_piece_of_work_is_one_tile(upscaler: Upscaler) -> None:
    pauses, _larger = run(upscaler.enlarge(picture(96, 64), 2, side=64, overlap=32))
    assert pauses == 2
    pauses, _larger = run(upscaler.enlarge(picture(48, 64), 4, side=64, overlap=32))
    assert pauses == 1 + 2 * 3, "four times is twice, and then twice in tiles"


def test_tiles_meet_without_a_seam(upscaler: Upscaler) -> None:
    source = picture(160, 96)
    _pauses, whole = run(upscaler.enlarge(source, 2, side=256))
    pauses, tiled = run(upscaler.enlarge(source, 2, side=64, overlap=32))
    assert pauses > 4
    assert np.abs(whole.astype(int) - tiled.astype(int)).max() <= 2


def test_a_network_that_overshoots_is_brought_back_to_what_was_asked() -> None:
    def four(image: torch.Tensor) -> torch.Tensor:
        return image.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)

    source = picture(40, 24)
    _pauses, larger = run(Upscaler(four, 4, CPU, FLOAT).enlarge(source, 2))
    assert larger.shape == (48, 80, 3)
    back = np.asarray(Image.fromarray(larger).resize((40, 24), Image.Resampling.BOX))
    assert np.abs(back.astype(int) - source).mean() < 6


def test_what_a_network_makes_too_large_is_nowhere_whole_and_has_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    def eight(image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(image, scale_factor=8, mode="bicubic").clamp(0, 1)

    joined: list[tuple[int, int]] = []

    class Watched(TileBlender):
        def __init__(self, width: int, height: int, overlap: int) -> None:
            joined.append((width, height))
            super().__init__(width, height, overlap)

    monkeypatch.setattr("worker.vision.upscale.TileBlender", Watched)
    source, upscaler = picture(160, 96), Upscaler(eight, 8, CPU, FLOAT)
    _pauses, whole = run(upscaler.enlarge(source, 2, side=256))
    _pauses, tiled = run(upscaler.enlarge(source, 2, side=64, overlap=32))
    assert joined == [(320, 192)] * 2
    assert np.abs(whole.astype(int) - tiled.astype(int)).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(64, 64), (200, 64), (333, 517), (65, 64), (1000, 70)])
def test_tiles_cover_the_picture_overlap_and_lie_on_the_grid(width: int, height: int) -> None:
    covered = np.zeros((height, width), dtype=int)
    for tile in cut_tiles(width, height, 64, 16, grid=8):
        assert tile.left % 8 == tile.top % 8 == 0
        assert tile.width <= 64 and tile.height <= 64
        assert tile.left + tile.width <= width and tile.top + tile.height <= height
        covered[tile.area] += 1
    assert covered.min() >= 1
    lefts = sorted({tile.left for tile in cut_tiles(width, height, 64, 16, grid=8)})
    assert all(after - before <= 48 for before, after in itertools.pairwise(lefts))


def test_joined_tiles_of_one_picture_are_that_picture() -> None:
    source = picture(150, 90).astype(np.float32)
    joiner = TileBlender(150, 90, 16)
    for tile in cut_tiles(150, 90, 64, 16):
        joiner.add(tile, source[tile.area])
    assert np.abs(joiner.picture() - source).max() < 1e-3


def test_a_community_file_without_its_library_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "4x-sharp.safetensors"
    file.write_bytes(b"weights")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(
        CannotOpen, match=r"4x-sharp.safetensors needs the extra `upscalers`.*or name a folder of Swin2SR"
    ):
        open_upscaler(file, CPU, FLOAT)


def test_a_network_that_makes_nothing_larger_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = make_upscaler(tmp_path / "same", upscale=1)
    with pytest.raises(CannotOpen, match="same holds no network that makes colour pictures 2, 4 or 8 times larger"):
        open_upscaler(folder, CPU, FLOAT)


def test_what_is_no_upscaler_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="is not an upscaler"):
        open_upscaler(tmp_path / "nothing.pth", CPU, FLOAT)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CannotOpen, match="cannot be read"):
        open_upscaler(tmp_path, CPU, FLOAT)


class FakeSpandrel(ModuleType):
    """Knows one architecture, by the name of a tensor; builds it on whatever device it is told, from its weights."""

    class ImageModelDescriptor:
        def __init__(self, scale: int) -> None:
            self.scale, self.input_channels = scale, 3

    def __init__(self, scale: int, *, reads: bool) -> None:
        super().__init__("spandrel")
        self._scale, self._reads = scale, reads
        self.MAIN_REGISTRY = self

    def __iter__(self) -> Iterator[Any]:
        yield SimpleNamespace(detect=lambda weights: "body.weight" in weights)

    def canonicalize_state_dict(self, weights: Any) -> Any:
        return weights

    def load(self, weights: Any) -> Any:
        if self._reads:
            weights["body.weight"].sum().item()
        return self.ImageModelDescriptor(self._scale)


@pytest.mark.parametrize(
    ("name", "scale", "reads", "right"),
    [("body", 4, False, True), ("body", 4, True, True), ("body", 1, False, False), ("head", 4, False, False)],
    ids=["right", "built from numbers", "makes nothing larger", "a stranger"],
)
def test_a_community_file_is_known_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, scale: int, reads: bool, right: bool
) -> None:
    file = tmp_path / "4x-sharp.safetensors"
    save_file({f"{name}.weight": torch.ones(3, 5)}, file)
    monkeypatch.setitem(sys.modules, "spandrel", FakeSpandrel(scale, reads=reads))
    if right:
        assert read_upscaler_headers(file) == {"body.weight": (3, 5)}
        return
    with pytest.raises(CannotOpen, match=r"4x-sharp.safetensors holds no network"):
        read_upscaler_headers(file)


@pytest.mark.parametrize("changes", [{"upscale": 3}, {"num_channels": 1}, {"model_type": "clip"}])
def test_a_folder_that_holds_another_network_is_known_by_its_config(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = make_upscaler(tmp_path / "swin")
    assert read_upscaler_headers(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CannotOpen, match="swin holds no network that makes colour pictures"):
        read_upscaler_headers(folder)
