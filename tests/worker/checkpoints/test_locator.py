"""Hub repositories are fetched by what they hold, and folders of a wrong kind are said with what would be right."""

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_flux, make_sd3, make_sdxl
from worker.checkpoints.loader import load
from worker.checkpoints.locator import locate
from worker.device import choose_device
from worker.errors import CannotLoad
from worker.families.sd import guidance_embedding
from worker.interfaces import Guidance

CPU = choose_device("cpu", "float32", 0)


class FakeHub:
    """Stands for the hub: one repository's files, and what was asked of them."""

    def __init__(self, root: Path, files: list[str], index: dict[str, Any]) -> None:
        self.root, self.files, self.index = root, files, index
        self.fetched: list[str] = []
        self.chunk = 1  # bytes that come at once

    def download(self, repo_id: str, **how: Any) -> str:
        assert set(how) == {"allow_patterns", "ignore_patterns", "local_files_only", "tqdm_class"}
        bar = how["tqdm_class"](total=0)
        for name in self.files:
            wanted = any(fnmatch(name, pattern) for pattern in how["allow_patterns"])
            if wanted and not any(fnmatch(name, pattern) for pattern in how["ignore_patterns"]):
                self.fetched.append(name)
                bar.update(self.chunk)
                path = self.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(self.index) if name == "model_index.json" else "{}")
        return str(self.root)


CONFIGS = ["model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"]
PARTS = [f"{name}/config.json" for name in ("text_encoder", "unet", "vae")]
WEIGHTS = ["text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"]
SD = {"_class_name": "StableDiffusionPipeline"}


def hub(monkeypatch: pytest.MonkeyPatch, root: Path, files: list[str], index: dict[str, Any]) -> FakeHub:
    found = FakeHub(root, files, index)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", found.download)
    return found


def test_of_a_repository_only_plain_safetensors_of_the_kind_are_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = [f"{name}.safetensors" for name in WEIGHTS]
    others = [
        "v1-5-pruned.safetensors", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors", "safety_checker/model.safetensors",
    ]  # fmt: skip
    found = hub(monkeypatch, tmp_path, [*CONFIGS, *PARTS, *plain, *others], SD)
    assert locate("owner/model") == tmp_path
    assert set(found.fetched) == {*CONFIGS, *PARTS, *plain}


def test_where_there_is_half_precision_only_that_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    half = [f"{name}.fp16.safetensors" for name in WEIGHTS]
    found = hub(monkeypatch, tmp_path, [*CONFIGS, *PARTS, *half], SD)
    locate("owner/model")
    assert set(half) <= set(found.fetched)


def test_of_other_pipelines_all_parts_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = ["transformer/diffusion_pytorch_model-00001-of-00002.safetensors", "text_encoder_3/model.safetensors"]
    configs = [*CONFIGS, "transformer/config.json", "text_encoder_3/config.json"]
    found = hub(monkeypatch, tmp_path, [*configs, *weights, "sd3.safetensors"], {"_class_name": "QwenImagePipeline"})
    assert locate("owner/model") == tmp_path
    assert set(found.fetched) == {*configs, *weights}


def test_each_part_is_fetched_in_a_precision_that_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = {
        "transformer": ["diffusion_pytorch_model.bf16.safetensors"],
        "text_encoder": ["model.fp16.safetensors", "model.bf16.safetensors"],
        "vae": ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"],
        "safety_checker": ["model.safetensors"],
    }
    parts = [f"{part}/config.json" for part in weights]
    files = [f"{part}/{name}" for part, names in weights.items() for name in names]
    found = hub(monkeypatch, tmp_path, [*CONFIGS, *parts, *files], {"_class_name": "QwenImagePipeline"})
    locate("owner/model")
    wanted = {f"{part}/{names[0]}" for part, names in weights.items() if part != "safety_checker"}
    assert set(found.fetched) == {*CONFIGS, *parts, *wanted}


def test_progress_is_told_while_a_model_comes_from_the_hub_and_not_while_nothing_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = [f"{name}.safetensors" for name in WEIGHTS]
    found = hub(monkeypatch, tmp_path, [*CONFIGS, *PARTS, *plain, "all.safetensors"], SD)
    told: list[int] = []
    locate("owner/model", lambda: told.append(len(found.fetched)))
    assert told == [*range(1, 11)]
    locate("owner/model/all.safetensors", lambda: told.append(11))
    assert told[-1] == 11
    found.chunk = 0
    locate("owner/model", lambda: told.append(12))
    assert told[-1] == 11
    assert capfd.readouterr() == ("", "")


def test_a_load_hands_its_progress_on_to_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub(monkeypatch, tmp_path, [*CONFIGS, *PARTS], SD)
    told: list[int] = []
    with pytest.raises(CannotLoad, match=r"not a \.safetensors|\.safetensors file"):
        load("owner/model", CPU, lambda: told.append(1))
    assert len(told) == len([*CONFIGS, *PARTS])


def test_one_file_of_a_repository_can_be_the_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = hub(monkeypatch, tmp_path, [*CONFIGS, "deep/xl.safetensors"], SD)
    assert locate("owner/model/deep/xl.safetensors") == tmp_path / "deep" / "xl.safetensors"
    assert found.fetched == ["deep/xl.safetensors"]
    with pytest.raises(CannotLoad, match="has no file"):
        locate("owner/model/other.safetensors")


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_refiner_is_refused(tmp_path: Path) -> None:
    folder = make_sdxl(tmp_path / "refiner")
    change(folder / "model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline", requires_aesthetics_score=True)
    with pytest.raises(CannotLoad, match="Use the base model"):
        load(str(folder), CPU)


def test_a_model_that_fills_masks_alone_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "inpainting")
    change(folder / "unet" / "config.json", in_channels=9)
    with pytest.raises(CannotLoad, match="only fills masks"):
        load(str(folder), CPU)


def test_an_index_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    for content in ("not json", "[]", '{"_class_name": null}'):
        (tmp_path / "model_index.json").write_text(content)
        with pytest.raises(CannotLoad, match="cannot be read"):
            load(str(tmp_path), CPU)


@pytest.mark.parametrize("maker", [make_sdxl, make_sd3, lambda folder: make_flux(folder, guided=False)])
def test_pickled_parts_of_any_family_are_never_loaded(tmp_path: Path, maker: Any) -> None:
    folder = maker(tmp_path / "model")
    (weights,) = (folder / "text_encoder").glob("*.safetensors")
    torch.save({}, weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(CannotLoad):
        load(str(folder), CPU)


def test_a_unet_that_was_taught_its_guidance_takes_it_as_a_number(tmp_path: Path) -> None:
    from diffusers import LatentConsistencyModelPipeline, UNet2DConditionModel

    folder = make(tmp_path / "lcm")
    config = UNet2DConditionModel.load_config(folder / "unet")
    UNet2DConditionModel.from_config({**config, "time_cond_proj_dim": 10}).save_pretrained(folder / "unet")
    change(
        folder / "model_index.json",
        _class_name="LatentConsistencyModelPipeline",
        scheduler=["diffusers", "LCMScheduler"],
    )
    loaded = load(str(folder), CPU)
    family = loaded.family
    assert family.guidance is Guidance.EMBEDDED
    assert (loaded.info.steps, loaded.info.sampler, loaded.info.guidance) == (4, "lcm", 7.5)
    text = {name: value[None] for name, value in family.encode_prompt("a boat").items()}
    latents, times = torch.ones(1, 4, 8, 8), torch.full((1,), 500.0)
    weak, strong = (family.denoise(latents, times, text, torch.tensor([scale])) for scale in (1.0, 8.0))
    assert not torch.allclose(weak, strong, atol=1e-4)
    pipeline = LatentConsistencyModelPipeline.from_pretrained(folder)
    theirs = pipeline.get_guidance_scale_embedding(torch.tensor([0.0, 6.5]), embedding_dim=9)
    assert torch.allclose(guidance_embedding(torch.tensor([1.0, 7.5]), 9), theirs, atol=1e-4)
