"""Whatever `models add` chooses of a repository the worker opens, in each precision, whole or in shards, and mixed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bot.catalogue import checkpoint_files
from core import hub_files
from core.hub_files import NoModel
from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_flux, make_sd3, make_sdxl
from tests.worker.checkpoint_variants import fetched, repository, rounded, saved, spelled_as_before, taken_from
from worker.checkpoint_formats import with_plain_names
from worker.checkpoints import LoadedCheckpoint, load
from worker.checkpoints.vae_override import read_vae
from worker.device import choose_device

CPU = choose_device("cpu", "float32", 0)
MAKERS: dict[str, Callable[[Path], Path]] = {
    "sd": make,
    "sdxl": make_sdxl,
    "flux": lambda folder: make_flux(folder, guided=False),
    "any": make_sd3,
}


@dataclass(frozen=True)
class Model:
    """A checkpoint under plain names, and the worker's word. The folder has a dot in its name, as FLUX.1's."""

    folder: Path
    loaded: LoadedCheckpoint


@pytest.fixture(scope="module", params=MAKERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """One of each family."""
    place = tmp_path_factory.mktemp(request.param)
    folder = rounded(MAKERS[request.param](place / "made"), place / "tiny.1-plain")
    return Model(folder, load(str(folder), CPU))


#: One that is opened network by network, and one that is opened whole.
both_ways = pytest.mark.parametrize("model", ["sd", "any"], indirect=True)


def chosen(source: Path) -> tuple[str, ...]:
    return hub_files.folder(repository(source), json.loads((source / "model_index.json").read_text()))


def opened(source: Path, home: Path) -> LoadedCheckpoint:
    """What the worker makes of the files that `models add` would fetch from there."""
    folder = fetched(source, chosen(source), home)
    assert checkpoint_files.problems(folder) == []
    return load(str(folder), CPU)


def assert_same(one: LoadedCheckpoint, other: LoadedCheckpoint) -> None:
    assert one.family.parts.keys() == other.family.parts.keys()
    for name, part in one.family.parts.items():
        theirs = other.family.parts[name].state_dict()
        for key, tensor in part.state_dict().items():
            assert torch.equal(tensor, theirs[key]), f"{name}: {key}"


@pytest.mark.parametrize(
    ("variant", "sharded"), [("fp16", False), ("fp16", True), ("bf16", True), ("", True)],
    ids=["half", "shards of half", "shards of bfloat16", "shards"],
)  # fmt: skip
def test_each_precision_that_is_fetched_opens(model: Model, tmp_path: Path, variant: str, sharded: bool) -> None:
    source = saved(model.folder, tmp_path / "hub", variant, sharded=sharded)
    if variant:  # beside the plain ones, as most repositories have them
        shutil.copytree(model.folder, source, dirs_exist_ok=True)
    names = chosen(source)
    assert any(f".{variant}" in name if variant else name.endswith(".safetensors") for name in names)
    assert any("-of-" in name for name in names) == sharded
    assert_same(opened(source, tmp_path / "model.1"), model.loaded)


def test_components_in_unequal_precision_open_together(model: Model, tmp_path: Path) -> None:
    half = saved(model.folder, tmp_path / "half", "fp16")
    other = saved(model.folder, tmp_path / "other", "bf16", sharded=True)
    source = tmp_path / "hub"
    shutil.copytree(model.folder, source)
    taken_from(half, "vae", source)
    taken_from(other, "text_encoder", source)
    names = chosen(source)
    assert {"fp16", "bf16"} <= {part for name in names for part in name.replace("-", ".").split(".")}
    assert_same(opened(source, tmp_path / "model.1"), model.loaded)


@both_ways
def test_shards_that_older_libraries_named_open_too(model: Model, tmp_path: Path) -> None:
    source = saved(model.folder, tmp_path / "hub", "fp16", sharded=True)
    spelled_as_before(source, "fp16")
    names = chosen(source)
    assert any(name.endswith(".fp16.safetensors") and "-of-" in name for name in names)
    assert any(name.endswith(".safetensors.fp16.index.json") for name in names)
    assert_same(opened(source, tmp_path / "model.1"), model.loaded)


@both_ways
def test_what_lies_beside_the_weights_does_not_stop_a_folder_from_opening(model: Model, tmp_path: Path) -> None:
    folder = saved(model.folder, tmp_path / "dropped", "fp16")
    for inner in folder.iterdir():
        if inner.is_dir():
            (inner / "LICENSE").write_text("a name without an ending")
            (inner / "more").mkdir()
    (folder / "vae" / "diffusion_pytorch_model.ema.safetensors").write_bytes(b"of the training")
    assert_same(load(str(folder), CPU), model.loaded)


@both_ways
def test_plain_weights_are_taken_where_a_folder_has_both(model: Model, tmp_path: Path) -> None:
    folder = saved(model.folder, tmp_path / "both", "fp16")
    for path in folder.glob("*/*.fp16.safetensors"):
        path.write_bytes(b"of no use")
    shutil.copytree(model.folder, folder, dirs_exist_ok=True)
    assert_same(load(str(folder), CPU), model.loaded)


@both_ways
def test_half_of_a_set_of_shards_gives_way_to_a_whole_one(model: Model, tmp_path: Path) -> None:
    folder = saved(model.folder, tmp_path / "both", "bf16")
    for path in saved(model.folder, tmp_path / "shards", "", sharded=True).glob("*/*"):
        if "-00002-of-" not in path.name:
            shutil.copy(path, folder / path.parent.name / path.name)
    assert checkpoint_files.problems(folder) == []
    assert_same(opened(folder, tmp_path / "model.1"), model.loaded)


@both_ways
def test_a_folder_of_plain_names_is_opened_where_it_lies(model: Model, tmp_path: Path) -> None:
    with with_plain_names(model.folder) as shown:
        assert shown == model.folder
    half = saved(model.folder, tmp_path / "half", "fp16")
    before = sorted(half.rglob("*"))
    with with_plain_names(half) as shown:
        assert shown != half
        assert (shown / "vae" / "diffusion_pytorch_model.safetensors").exists()
    assert not shown.exists()
    assert sorted(half.rglob("*")) == before


def test_another_vae_may_be_in_half_precision(tmp_path: Path) -> None:
    half = saved(make(tmp_path / "made"), tmp_path / "half", "bf16")
    assert next(read_vae(str(half), "sd", CPU).network.parameters()).dtype is torch.float32


def test_a_pipeline_opens_without_the_parts_that_nobody_draws_with(tmp_path: Path) -> None:
    source = make_sd3(tmp_path / "hub")
    index = json.loads((source / "model_index.json").read_text())
    index |= {"image_encoder": ["transformers", "SiglipVisionModel"], "feature_extractor": ["transformers", "X"]}
    (source / "model_index.json").write_text(json.dumps(index))
    assert "transformer" in opened(source, tmp_path / "home").family.parts


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["diffusion_pytorch_model.ema.safetensors"], r"unet/ that can be opened: diffusion_pytorch_model\.ema"),
        (["diffusion_pytorch_model-00001-of-00002.safetensors"], "is incomplete"),
        (["diffusion_pytorch_model.bin"], "pickled"),
        (["model.onnx"], "no safetensors in unet/"),
    ],
)
def test_what_no_worker_could_open_is_not_fetched(files: list[str], told: str) -> None:
    listed = {f"unet/{name}": hub_files.RemoteFile(size=1) for name in (*files, "config.json")}
    here = hub_files.Repository(id="owner/name", revision="0", files=listed)
    with pytest.raises(NoModel, match=told):
        hub_files.folder(here, {"unet": ["diffusers", "UNet2DConditionModel"]})
