"""Checkpoints in one file are known by their header and draw what their folders draw; nothing is fetched."""

import importlib.util
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bot.catalogue import checkpoint_files
from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_sdxl
from tests.worker.checkpoint_loras import make_lora
from tests.worker.checkpoint_single import renamed, scaled_fp8, single_file
from tests.worker.compared import distance, ours
from tests.worker.engine_driver import request
from worker.checkpoint_formats import CONFIGS, PIPELINE_KINDS, Shape
from worker.checkpoints import LoadedCheckpoint, load, loader
from worker.checkpoints.clip_vocabulary import clip_tokenizer
from worker.device import choose_device
from worker.errors import CannotLoad

CPU = choose_device("cpu", "float32", 0)
UNET = "model.diffusion_model."
Maker = Callable[..., Path]


def of_the_same(monkeypatch: pytest.MonkeyPatch, path: Path, folder: Path, vae: str = "") -> LoadedCheckpoint:
    """A file, loaded with the configs and tokenizers of the tiny folder that it was made from."""
    with monkeypatch.context() as patch:
        patch.setattr(loader, "read_file", partial(loader.read_file, config=folder))
        return load(str(path), CPU, vae=vae)


@pytest.mark.parametrize(
    ("maker", "open_clip"), [(make, False), (make, True), (make_sdxl, False)], ids=["1.x", "2.x", "xl"]
)
def test_one_file_draws_what_its_folder_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: Maker, open_clip: bool
) -> None:
    folder = maker(tmp_path / "tiny")
    # A remark in the name, for nothing else tells 2.x that predicts noise from 2.x that does not.
    path = single_file(folder, tmp_path / "tiny-base.safetensors", open_clip=open_clip)
    loaded = of_the_same(monkeypatch, path, folder)
    assert distance(ours(loaded, request()), ours(load(str(folder), CPU), request())) <= 1
    assert loaded.info.digest
    assert loaded.info.native == 64


def test_keys_that_say_v_prediction_and_zero_terminal_signal_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    folder = make_sdxl(
        tmp_path / "tiny", prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    path = single_file(folder, tmp_path / "tiny.safetensors", more=signs)
    loaded = of_the_same(monkeypatch, path, folder)
    assert loaded.family.scheduler["prediction_type"] == "v_prediction"
    assert distance(ours(loaded, request()), ours(load(str(folder), CPU), request())) <= 1


@pytest.mark.parametrize(
    ("name", "sampler"), [("tiny-lightning-4step", "euler"), ("tiny_turbo", "euler"), ("tiny-lcm", "lcm")]
)
def test_a_file_that_was_taught_few_steps_takes_them_from_the_very_last_of_the_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sampler: str
) -> None:
    folder = make(tmp_path / "tiny")
    loaded = of_the_same(monkeypatch, single_file(folder, tmp_path / f"{name}.safetensors"), folder)
    assert (loaded.info.steps, loaded.info.guidance, loaded.info.sampler) == (4, 1.0, sampler)
    assert loaded.family.scheduler["timestep_spacing"] == "trailing"


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        (Shape.SD1, {"unet": 859_520_964, "text_encoder": 123_060_480, "vae": 83_653_863}),
        (Shape.SD2, {"unet": 865_910_724, "text_encoder": 340_387_840, "vae": 83_653_863}),
        (
            Shape.SDXL,
            {
                "unet": 2_567_463_684, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840, "vae": 83_653_863,
            },
        ),
    ],
)  # fmt: skip
def test_our_configs_are_of_the_published_sizes(shape: Shape, sizes: dict[str, int]) -> None:
    from worker.checkpoints import class_of

    kind = PIPELINE_KINDS["sdxl" if shape is Shape.SDXL else "sd"]
    found = {}
    for name, class_name in kind.networks.items():
        network = class_of(class_name)
        with torch.device("meta"):
            if hasattr(network, "load_config"):
                built = network.from_config(network.load_config(CONFIGS / shape / name))
            else:
                built = network(network.config_class.from_pretrained(CONFIGS / shape / name))
        found[name] = sum(weight.numel() for weight in built.parameters())
    assert found == sizes


CLIP, XL_CLIP = "cond_stage_model.transformer.", "conditioner.embedders.0.transformer."
OPEN_CLIP, FIRST_OPEN_CLIP = "cond_stage_model.model.", "conditioner.embedders.0.model."


@pytest.mark.parametrize(
    ("name", "maker", "open_clip", "change"),
    [
        ("tiny", make, False, renamed((f"{CLIP}text_model.", CLIP))),
        ("tiny", make_sdxl, False, renamed((f"{XL_CLIP}text_model.", XL_CLIP))),
        ("sd_base", make, True, renamed((OPEN_CLIP, FIRST_OPEN_CLIP))),
    ],
    ids=["1.x", "xl", "2.x as xl"],
)
def test_text_encoders_are_found_under_other_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, maker: Maker, open_clip: bool, change: Any
) -> None:
    folder = maker(tmp_path / "tiny")
    path = single_file(folder, tmp_path / f"{name}.safetensors", open_clip=open_clip, change=change)
    loaded = of_the_same(monkeypatch, path, folder)
    assert distance(ours(loaded, request()), ours(load(str(folder), CPU), request())) <= 1


def test_sd_turbo_is_2_at_512_and_takes_few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "tiny")
    change = renamed((OPEN_CLIP, FIRST_OPEN_CLIP))
    path = single_file(folder, tmp_path / "sd_turbo.safetensors", open_clip=True, change=change)
    loaded = of_the_same(monkeypatch, path, folder)
    assert (loaded.info.family, loaded.info.steps, loaded.info.guidance) == ("sd", 4, 1.0)
    assert loaded.family.scheduler["prediction_type"] == "epsilon"


@pytest.mark.parametrize("maker", [make, make_sdxl], ids=["1.x", "xl"])
@pytest.mark.parametrize("ending", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_scaled_fp8_draws_what_its_scaled_weights_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: Maker, ending: str, rows: bool, dtype: torch.dtype
) -> None:
    folder = maker(tmp_path / "tiny")
    small = scaled_fp8(ending, dtype, rows=rows)

    def again(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = small(tensors)
        scales = {name: found.get(f"{name.removesuffix('weight')}{ending}") for name in tensors}
        return {name: found[name] if scale is None else found[name].float() * scale for name, scale in scales.items()}

    pictures = [
        ours(
            of_the_same(monkeypatch, single_file(folder, tmp_path / f"{name}.safetensors", change=change), folder),
            request(),
        )
        for name, change in (("scaled", small), ("plain", again))
    ]
    assert distance(*pictures) <= 1


def test_fp8_without_scales_draws_what_its_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "tiny")

    def rounded(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: one.to(torch.float8_e4m3fn) if one.is_floating_point() else one for name, one in tensors.items()}

    def again(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: one.float() if one.is_floating_point() else one for name, one in rounded(tensors).items()}

    pictures = [
        ours(
            of_the_same(monkeypatch, single_file(folder, tmp_path / f"{name}.safetensors", change=change), folder),
            request(),
        )
        for name, change in (("small", rounded), ("plain", again))
    ]
    assert distance(*pictures) <= 1


def test_a_distilled_unet_takes_its_guidance_as_a_number_from_a_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "tiny")
    config = json.loads((folder / "unet" / "config.json").read_text())
    torch.manual_seed(1)
    weight = torch.randn(16, 8)
    path = single_file(folder, tmp_path / "distilled.safetensors", more={f"{UNET}time_embed.cond_proj.weight": weight})
    loaded = of_the_same(monkeypatch, path, folder)
    (folder / "unet" / "config.json").write_text(json.dumps({**config, "time_cond_proj_dim": 8}))
    (weights,) = (folder / "unet").glob("*.safetensors")
    save_file({**load_file(weights), "time_embedding.cond_proj.weight": weight}, weights, {"format": "pt"})
    assert loaded.info.guidance == 7.5 and loaded.family.guidance == "input"
    one, other = (ours(loaded, request(guidance=guidance)) for guidance in (2.0, 9.0))
    assert distance(one, other) > 2
    assert distance(one, ours(load(str(folder), CPU), request(guidance=2.0))) <= 1


def test_a_unet_with_more_or_less_in_it_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "tiny")
    more = {f"{UNET}input_blocks.1.0.adapter.weight": torch.zeros(2)}
    with pytest.raises(CannotLoad, match=r"its UNet.*Use its folder"):
        of_the_same(monkeypatch, single_file(folder, tmp_path / "more.safetensors", more=more), folder)
    lacking = (("UNet", f"{UNET}input_blocks.1.0.in_layers"), ("text_encoder", f"{CLIP}text_model.encoder.layers.1"))
    for part, without in lacking:
        less = single_file(folder, tmp_path / "less.safetensors", without=(without,))
        with pytest.raises(CannotLoad, match=rf"lacks weights of its {part}.*Use its folder"):
            of_the_same(monkeypatch, less, folder)


def test_bot_and_worker_say_the_same_of_a_file(tmp_path: Path) -> None:
    path = single_file(make(tmp_path / "tiny"), tmp_path / "tiny.safetensors", without=(CLIP,))
    with pytest.raises(CannotLoad) as of_worker:
        load(str(path), CPU)
    with pytest.raises(checkpoint_files.Unusable) as of_bot:
        checkpoint_files.model_at(path)
    assert str(of_bot.value) == of_worker.value.sentence
    assert "no text encoder" in str(of_bot.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is cut off before its header"),
        (b"PK\x03\x04 and so on", "is a pickle"),
        (b"version https://git-lfs", "Git LFS pointer"),
        ((4).to_bytes(8, "little") + b"[1] ", "damaged header"),
    ],
)
def test_files_that_are_no_safetensors_are_said(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CannotLoad, match=sentence):
        load(str(path), CPU)


def test_a_download_that_is_not_whole_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"one": torch.zeros(2, 3)}, path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CannotLoad, match="incomplete"):
        load(str(path), CPU)


def test_a_file_that_goes_on_behind_its_tensors_is_said_before_a_job_waits_for_it(tmp_path: Path) -> None:
    path = single_file(make(tmp_path / "tiny"), tmp_path / "tiny.safetensors")
    path.write_bytes(path.read_bytes() + bytes(7))
    with pytest.raises(CannotLoad, match="7 bytes behind its last tensor"):
        load(str(path), CPU)
    with pytest.raises(checkpoint_files.Unusable, match="7 bytes behind its last tensor"):
        checkpoint_files.model_at(path)


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".bin"])
def test_pickles_are_refused_unread(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"never read")
    with pytest.raises(CannotLoad, match=r"as \.safetensors, or convert it"):
        load(str(path), CPU)
    path.unlink()
    with pytest.raises(CannotLoad, match="no such file"):
        load(str(path), CPU)


def test_a_lora_is_no_checkpoint(tmp_path: Path, loaded: LoadedCheckpoint) -> None:
    with pytest.raises(CannotLoad, match="--lora"):
        load(str(make_lora(tmp_path / "ink.safetensors", loaded.family.parts, layout="kohya")), CPU)


def openais_own() -> Any:
    """The tokenizer of the package that the vocabulary comes from; the package itself wants a library long gone."""
    found = importlib.util.find_spec("clip")
    assert found is not None and found.submodule_search_locations
    path = Path(found.submodule_search_locations[0]) / "simple_tokenizer.py"
    spec = importlib.util.spec_from_file_location("simple_tokenizer", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer()


def test_the_tokenizer_is_openais(tmp_path: Path) -> None:
    theirs, ours = openais_own(), clip_tokenizer(tmp_path)
    assert len(ours) == 49408
    for text in ("a photo of a cat", "Don't stop, 3 boats at 12:30!", "naïve café ⛵ 漢字", "x" * 40, ""):
        assert ours(text).input_ids == [49406, *theirs.encode(text), 49407]
    assert clip_tokenizer(tmp_path, "!").pad_token_id == 0


def test_without_a_vocabulary_the_cure_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.checkpoints.clip_vocabulary._PACKAGES", ("nothing_of_this_name",))
    monkeypatch.setattr("worker.checkpoints.clip_vocabulary._cached", list)
    with pytest.raises(CannotLoad, match="pip install openai-clip"):
        clip_tokenizer(tmp_path)


def test_a_tokenizer_beside_the_file_comes_first(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "tokenizer").symlink_to(folder / "tokenizer")
    assert len(clip_tokenizer(tmp_path)) == 514


def test_a_small_file_with_our_own_configs_does_not_load_by_chance(tmp_path: Path, folder: Any) -> None:
    path = single_file(folder, tmp_path / "tiny.safetensors")
    with pytest.raises(CannotLoad, match="another one's UNet"):
        load(str(path), CPU)


def test_another_autoencoder_takes_the_place_of_a_models_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    other = make(tmp_path / "other", seed=3)
    path = single_file(folder, tmp_path / "bare.safetensors", without=("first_stage_model.",))
    with pytest.raises(CannotLoad, match="no VAE"):
        load(str(path), CPU)
    theirs = load(str(other), CPU).family.parts["vae"].state_dict()
    # As one file; its config is then ours, which here is the tiny one.
    alone = single_file(other, tmp_path / "vae.safetensors", without=("model.", "cond_stage_model."))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "sd1").symlink_to(other)
    monkeypatch.setattr("worker.checkpoints.vae_override.CONFIGS", tmp_path / "configs")
    plain = load(str(folder), CPU)
    for loaded in (
        of_the_same(monkeypatch, path, folder, str(other)),
        load(str(folder), CPU, vae=str(other / "vae")),
        load(str(folder), CPU, vae=str(alone)),
    ):
        found = loaded.family.parts["vae"].state_dict()
        assert all(torch.equal(found[name], theirs[name]) for name in theirs)
        assert loaded.info.digest != plain.info.digest


@pytest.mark.parametrize("where", ["nowhere/at/all", "missing.safetensors", "vae.ckpt", "empty"])
def test_an_autoencoder_that_is_none_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vae.ckpt").write_bytes(b"never read")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CannotLoad, match=r"no autoencoder|not a \.safetensors"):
        load(str(folder), CPU, vae=where)
