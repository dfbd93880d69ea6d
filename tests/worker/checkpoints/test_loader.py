"""Checkpoints load, or one sentence says why not and what to do."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from bot.catalogue.registry import expected
from core.catalogue import SAMPLERS
from tests.worker.checkpoint import make
from worker.checkpoint_formats import few_step_methods
from worker.checkpoints import load, locate
from worker.checkpoints.loader import _name
from worker.checkpoints.weight_digest import digest
from worker.device import choose_device, is_out_of_memory
from worker.engine import LoadedModel
from worker.errors import CannotLoad

CPU = choose_device("cpu", "float32", 0)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The checkpoint, to be broken."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_checkpoint_says_what_it_is(folder: Path) -> None:
    info = load(str(folder), CPU).info
    assert (info.name, info.family, info.native, info.multiple, info.dtype) == ("tiny", "sd", 64, 64, "float32")
    assert info.samplers == tuple(name for name in SAMPLERS if name != "flow_euler")


@pytest.mark.parametrize("ending", ["", "/"])
@pytest.mark.parametrize("folder_name", ["My Model", "Linked"])
def test_bot_and_worker_call_a_model_the_same_before_and_after_it_is_loaded(
    folder: Path, tmp_path: Path, folder_name: str, ending: str
) -> None:
    shutil.copytree(folder, tmp_path / "My Model")
    (tmp_path / "Linked").symlink_to(tmp_path / "My Model")
    before = expected(f"{tmp_path / folder_name}{ending}")
    assert load(before.path, CPU).info.name == before.name == folder_name.lower().replace(" ", "-")


def test_a_hub_id_is_called_by_its_last_part_on_both_sides() -> None:
    assert expected("Owner/Some-Model").name == _name("Owner/Some-Model") == "some-model"


def test_the_digest_names_the_weights_and_nothing_else(folder: Path, copy: Path, tmp_path: Path) -> None:
    before = load(str(folder), CPU).info.digest
    assert load(str(copy), CPU).info.digest == before
    other = make(tmp_path / "other", seed=1)
    assert load(str(other), CPU).info.digest != before


def test_a_large_file_is_sampled_but_its_header_and_its_end_count(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.truncate(70 << 20)
    before = digest(tmp_path, [path])
    for place in (5, (70 << 20) - 5):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        after = digest(tmp_path, [path])
        assert after != before
        before = after


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("hyperrealism-xl", ""), ("HyperRealism_v3", ""), ("hyper-realistic", ""), ("hyperion", ""),
        ("turbocharged", ""), ("calcmono", ""), ("lightnings", ""), ("Hyper-SDXL-8steps", "hyper"),
        ("hypersd", "hyper"), ("some_hyper.8", "hyper"), ("v9Hyper", "hyper"), ("SDXL-Turbo", "turbo"),
        ("sdxlturbo", "turbo"),
        ("dreamshaperXL_v21TurboDPMSDE", "turbo"), ("xl_lightning4step", "lightning"),
        ("juggXILightningByRD", "lightning"),
        ("dreamshaper-7.lcm", "lcm"), ("dmd2_sdxl_4step", "dmd"), ("FLUX.1-schnell", "schnell"),
    ],
)  # fmt: skip
def test_only_a_word_of_its_own_in_a_name_says_that_a_model_needs_few_steps(name: str, methods: str) -> None:
    assert "+".join(sorted(few_step_methods(name))) == methods


@pytest.mark.parametrize(("name", "usual"), [("hyperrealism-xl", (25, 7.5)), ("MyXLLightning_v2", (4, 1.0))])
def test_what_a_name_says_decides_the_usual_steps_and_guidance(
    folder: Path, tmp_path: Path, name: str, usual: tuple[int, float]
) -> None:
    (tmp_path / name).symlink_to(folder)
    info = load(str(tmp_path / name), CPU).info
    assert (info.steps, info.guidance) == usual


def test_progress_is_told_while_loading(folder: Path) -> None:
    told: list[int] = []
    load(str(folder), CPU, lambda: told.append(1))
    assert len(told) >= 4


def test_half_precision_loads(folder: Path) -> None:
    assert load(str(folder), choose_device("cpu", "bfloat16", 0)).info.dtype == "bfloat16"


def test_a_name_that_is_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match="DARKROOM_MODEL"):
        locate(str(tmp_path / "nowhere"))
    with pytest.raises(CannotLoad, match="DARKROOM_MODEL is '~nobodyxx/model'"):
        locate("~nobodyxx/model")


def test_a_folder_of_another_kind_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match="model_index"):
        load(str(tmp_path), CPU)


def test_pickled_weights_are_never_loaded(copy: Path) -> None:
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_name("diffusion_pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(CannotLoad, match="safetensors"):
        load(str(copy), CPU)


def test_a_broken_download_is_one_sentence(copy: Path) -> None:
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CannotLoad, match="Is the download complete"):
        load(str(copy), CPU)


def test_a_prediction_that_nobody_knows_is_said(copy: Path) -> None:
    path = copy / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": "flow_prediction"}))
    with pytest.raises(CannotLoad, match="flow_prediction"):
        LoadedModel.of(load(str(copy), CPU), CPU)


def test_the_safety_checker_is_never_touched(copy: Path) -> None:
    (copy / "safety_checker").mkdir()
    (copy / "safety_checker" / "pytorch_model.bin").write_bytes(b"not to be read")
    load(str(copy), CPU)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("x"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")],
)
def test_all_ways_of_being_out_of_memory_are_known(error: BaseException) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
