"""The catalogue in life: what lies in the folders appears, what a worker says counts, and no mistake takes it away."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.catalogue import ModelRegistry
from bot.catalogue import registry as module
from bot.config import ROOT, Config
from core.catalogue import POSTCARD, SAMPLERS, XL_SIZES, Capability
from core.errors import ConfigError
from core.events import ModelInfo
from core.job import Upscale
from core.model_capabilities import missing_capability, sentence
from storage.database import Database
from storage.settings import Settings
from tests.harness import weight_files
from tests.harness.headless_bot import request

#: Long after any file of a test was written.
LATER = 4e9


@pytest.fixture
async def settings(tmp_path: Path):
    async with Database.open(tmp_path / "data") as db:
        yield Settings(db)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))


async def opened(settings: Settings, data: Path, *, now: float = LATER, **environ: str) -> ModelRegistry:
    config = Config.from_env({"DARKROOM_DATA": str(data), **environ}, data / "no.env")
    model_registry = ModelRegistry(config, settings, clock=lambda: now)
    await model_registry.begin()
    return model_registry


def info(name: str = "postcard", **changes: Any) -> ModelInfo:
    plain = {
        "name": name, "family": "sd", "digest": "d", "dtype": "float32", "native": 512, "multiple": 64, "steps": 24,
        "guidance": 5.0, "sampler": "euler_a", "samplers": tuple(SAMPLERS), "edits": ("tile", "variation"),
    }  # fmt: skip
    return ModelInfo(**(plain | changes))


async def test_the_shipped_model_is_there_and_the_recommended_ones_are_not(settings, data) -> None:
    model_registry = await opened(settings, data)
    assert set(model_registry.choices.models) == {"postcard"}
    assert model_registry.choices.absent == ("flux-schnell", "sd15", "sdxl")
    assert model_registry.model.path == model_registry.launch == str(ROOT / POSTCARD.path)
    assert (model_registry.model.native, model_registry.model.sizes, model_registry.model.shape) == (
        256,
        POSTCARD.sizes,
        "width-128",
    )


async def test_files_that_are_put_into_the_folders_appear_and_go_again(settings, data) -> None:
    model_registry = await opened(settings, data)
    changes: list[set[str]] = []
    model_registry.changed = lambda: changes.append(set(model_registry.choices.models))
    weight_files.checkpoint(data / "models" / "Own Mix.safetensors", width=2048)
    weight_files.folder(data / "models" / "small")
    weight_files.lora(data / "loras" / "Ink.safetensors", width=2048)
    await model_registry.look()
    assert set(model_registry.choices.models) == {"postcard", "own-mix", "small"}
    mix, small = model_registry.get("own-mix"), model_registry.get("small")
    assert (mix.family, mix.native, mix.sizes) == ("sdxl", 1024, XL_SIZES)
    assert (small.family, small.native, small.multiple) == ("sd1", 512, 64)
    assert model_registry.choices.loras["ink"].shape == "sdxl"
    (data / "models" / "Own Mix.safetensors").unlink()
    await model_registry.look()
    await model_registry.look()
    assert changes == [{"postcard", "own-mix", "small"}, {"postcard", "small"}]


async def test_a_file_that_still_grows_is_left_until_it_is_still(settings, data) -> None:
    path = weight_files.checkpoint(data / "models" / "mine.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    model_registry = await opened(settings, data, now=path.stat().st_mtime + 1)
    assert model_registry.get("mine") is None
    path.write_bytes(whole)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
    await model_registry.look()
    assert model_registry.get("mine") is None, "it changed since the look before"
    await model_registry.look()
    assert model_registry.get("mine") is not None


@pytest.mark.parametrize("still", [True, False], ids=["moved in", "copied in"])
async def test_a_lora_that_is_replaced_is_looked_at_anew_and_told_of(settings, data, caplog, still: bool) -> None:
    path = weight_files.lora(data / "loras" / "Wash.safetensors", width=768)
    os.utime(path, (1, 1))
    model_registry = await opened(settings, data, now=path.stat().st_mtime + 100)
    assert model_registry.choices.loras["wash"].shape == "sd1"
    weight_files.lora(path, width=2048)
    if still:
        os.utime(path, (2, 2))
    else:
        os.utime(path, (90, 90))
        await model_registry.look()
        assert "wash" not in model_registry.choices.loras, "it may still be growing"
    with caplog.at_level(logging.INFO):
        await model_registry.look()
        await model_registry.look()
    assert model_registry.choices.loras["wash"].shape == "sdxl"
    assert caplog.text.count("The file of the LoRA wash was replaced") == 1


def stamps(model_registry: ModelRegistry, *, local: bool = True) -> dict[str, str]:
    """What workers are told of each model's files."""
    return {place.name: place.stamp for place in model_registry.order(local=local).models}


@pytest.mark.parametrize("where", ["models", "elsewhere"], ids=["dropped", "named"])
async def test_a_checkpoint_that_is_replaced_is_told_of_once_it_is_still(settings, data, caplog, where: str) -> None:
    path = weight_files.checkpoint(data / where / "mine.safetensors")
    os.utime(path, (1, 1))
    data.joinpath("models.toml").write_text(
        '[[model]]\nname = "mine"\nwhere = "./elsewhere/mine.safetensors"\n' if where == "elsewhere" else ""
    )
    model_registry = await opened(settings, data, now=100)
    told: list[str] = []
    model_registry.changed = lambda: told.append(stamps(model_registry).get("mine", "growing"))
    await model_registry.told(info("mine"))
    first = stamps(model_registry)["mine"]
    assert first and model_registry.get("mine").digest == "d"
    await model_registry.look()
    assert told == [], "nothing happened"
    weight_files.checkpoint(path)
    os.utime(path, (90, 90))
    with caplog.at_level(logging.INFO):
        await model_registry.look()
        assert first == stamps(model_registry).get("mine", first), "it may still be growing"
        await model_registry.look()
        await model_registry.look()
    assert told[-1] == stamps(model_registry)["mine"] not in ("", first) and told.count(told[-1]) == 1
    assert model_registry.get("mine").digest == "", "nobody has loaded it yet"
    assert caplog.text.count("The files of the model mine have changed") == 1
    await model_registry.told(info("mine", digest="e"))
    assert model_registry.get("mine").digest == "e"


async def test_a_companion_counts_as_a_models_file_and_a_readme_does_not(settings, data) -> None:
    home = weight_files.folder(data / "elsewhere")
    vae = weight_files.tensors(data / "vae.safetensors", {"x": [4]})
    (data / "models.toml").write_text('[[model]]\nname = "mine"\nwhere = "./elsewhere"\nvae = "./vae.safetensors"\n')
    model_registry = await opened(settings, data)
    first = stamps(model_registry)["mine"]
    (home / "README.md").write_text("Read me.")
    await model_registry.look()
    assert stamps(model_registry)["mine"] == first
    os.utime(vae, (7, 7))
    await model_registry.look()
    assert stamps(model_registry)["mine"] != first


async def test_files_that_go_away_are_no_other_files(settings, data) -> None:
    path = weight_files.checkpoint(data / "elsewhere" / "mine.safetensors")
    model_registry = await opened(settings, data, DARKROOM_MODEL=str(path))
    first, before = stamps(model_registry), path.read_bytes()
    path.unlink()
    await model_registry.look()
    assert stamps(model_registry) == first
    path.write_bytes(before[:-1] + b" ")
    os.utime(path, (1, 1))
    await model_registry.look()
    assert stamps(model_registry) != first


async def test_of_a_far_workers_own_downloads_nothing_is_told(settings, data) -> None:
    weight_files.folder(data / "models" / "sd15")
    weight_files.folder(data / "models" / "shared")
    model_registry = await opened(settings, data)
    near, far = stamps(model_registry), stamps(model_registry, local=False)
    assert near["sd15"] and far["sd15"] == "" and near["shared"] == far["shared"] != ""


async def test_what_cannot_be_used_is_said_once_with_its_cure(settings, data, caplog) -> None:
    (data / "models").mkdir()
    (data / "models" / "old.ckpt").write_bytes(b"\x80\x02")
    (data / "models" / "fake.safetensors").write_bytes(b"PK\x03\x04 and more")
    weight_files.checkpoint(data / "models" / "part.safetensors", whole=False)
    weight_files.lora(data / "models" / "lost.safetensors")
    weight_files.tensors(data / "models" / "flux.safetensors", {"double_blocks.0.img_attn.qkv.weight": [4]})
    weight_files.checkpoint(data / "loras" / "large.safetensors")
    with caplog.at_level(logging.WARNING):
        model_registry = await opened(settings, data)
        await model_registry.look()
    assert set(model_registry.choices.models) == {"postcard"} and "large" not in model_registry.choices.loras
    cures = ("only .safetensors files", "is a pickle", "text encoder and VAE", "folder `loras`", "is not a LoRA")
    for told in (*cures, "holds FLUX's transformer"):
        assert caplog.text.count(told) == 1, told


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("unet/config.json", '{"sample_size": null}'),
        ("unet/config.json", '{"sample_size": -8}'),
        ("unet/config.json", '{"block_out_channels": 7}'),
        ("unet/config.json", "[]"),
        ("vae/config.json", '{"block_out_channels": []}'),
        ("model_index.json", '{"unet": 7, "vae": [], "_class_name": 9}'),
        ("model_index.json", "no json"),
        ("unet/diffusion_pytorch_model.safetensors.index.json", '{"weight_map": 7}'),
    ],
)
async def test_whatever_a_folder_says_of_itself_the_bot_goes_on(settings, data, file, text, caplog) -> None:
    model_registry = await opened(settings, data)
    folder = weight_files.folder(data / "models" / "odd")
    (folder / file).write_text(text)
    with caplog.at_level(logging.ERROR):
        await model_registry.look()
    assert "postcard" in model_registry.choices.models
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_of_two_with_one_name_the_log_says_which_is_used(settings, data, caplog) -> None:
    weight_files.folder(data / "models" / "mine")
    weight_files.checkpoint(data / "models" / "Mine.safetensors")
    weight_files.folder(data / "models" / "postcard")
    with caplog.at_level(logging.WARNING):
        model_registry = await opened(settings, data)
    assert f"mine is not used: {model_registry.get('mine').path} has the same name" in caplog.text
    assert f"{data / 'models' / 'postcard'} is not used: the catalogue has postcard at" in caplog.text
    assert model_registry.get("postcard").path == str(ROOT / POSTCARD.path)


async def test_an_entry_of_the_hub_is_used_from_the_models_folder_once_it_is_there(settings, data) -> None:
    weight_files.folder(data / "models" / "sd15")
    model_registry = await opened(settings, data)
    model = model_registry.get("sd15")
    assert model.path == str(data / "models" / "sd15")
    assert (model.steps, model.style.positive != "") == (25, True)
    near, far = model_registry.order(local=True), model_registry.order(local=False)
    assert {place.name: place.where for place in near.models}["sd15"] == model.path
    assert {place.name: place.where for place in far.models} == {
        "postcard": "postcard",
        "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    }


async def test_the_owners_file_changes_entries_and_adds_others(settings, data) -> None:
    weight_files.folder(data / "elsewhere", side=96)
    (data / "models.toml").write_text(
        '[[model]]\nname = "postcard"\nsteps = 30\nadapter = "./nothing"\n'
        '[[model]]\nname = "mine"\nwhere = "./elsewhere"\nguidance = 3\n'
    )
    model_registry = await opened(settings, data, DARKROOM_MODEL="mine")
    assert model_registry.model.name == "mine" and model_registry.launch == str(data / "elsewhere")
    assert (model_registry.model.native, model_registry.model.guidance) == (768, 3.0)
    assert (model_registry.get("postcard").steps, model_registry.get("postcard").adapter) == (30, "")
    place = next(place for place in model_registry.order(local=True).models if place.name == "mine")
    assert (place.guidance, place.steps, place.native) == (3.0, 0, 0)


async def test_a_mistake_in_it_stops_a_start_and_later_changes_nothing(settings, data, caplog) -> None:
    model_registry = await opened(settings, data)
    before = model_registry.choices
    (data / "models.toml").write_text('[[model]]\nname = "postcard"\nsteps = "many"')
    with caplog.at_level(logging.WARNING):
        await model_registry.look()
        await model_registry.look()
    assert model_registry.choices == before
    assert caplog.text.count("steps is “many”") == 1
    with pytest.raises(ConfigError, match="steps is “many”"):
        await opened(settings, data)
    (data / "models.toml").write_text("[[model")
    with pytest.raises(ConfigError, match=r"models\.toml cannot be read"):
        await opened(settings, data)
    with pytest.raises(ConfigError, match="DARKROOM_CATALOGUE"):
        await opened(settings, data, DARKROOM_CATALOGUE=str(data / "nowhere.toml"))


async def test_a_workers_word_counts_for_its_model_and_is_remembered_without_its_weights(settings, data) -> None:
    model_registry = await opened(settings, data, DARKROOM_MODEL="owner/mine")
    assert (model_registry.model.name, model_registry.launch) == ("mine", "owner/mine")
    await model_registry.told(info("mine"))
    assert (model_registry.model.digest, model_registry.model.steps, model_registry.model.edits) == (
        "d",
        24,
        ("tile", "variation"),
    )
    assert model_registry.get("postcard").digest == ""
    again = await opened(settings, data, DARKROOM_MODEL="owner/mine")
    assert (again.model.digest, again.model.steps, again.model.edits) == ("", 24, ("tile", "variation"))
    other = await opened(settings, data, DARKROOM_MODEL="else/mine")
    assert other.model.steps == 25, "that was another one"


async def test_what_a_worker_withdraws_is_refused_from_then_on(settings, data) -> None:
    model_registry = await opened(settings, data)
    await model_registry.told(info(edits=("upscale", "variation")))
    double = request(upscale=Upscale(factor=2))
    assert missing_capability(double, model_registry.model) is None
    await model_registry.told(info(edits=("variation",)))
    why = sentence(Capability.UPSCALE, model_registry.model)
    assert missing_capability(double, model_registry.model) == (Capability.UPSCALE, why)


async def test_what_is_remembered_may_be_anything(settings, data) -> None:
    for stored in (7, {"postcard": 7}, {"postcard": {"path": str(ROOT / POSTCARD.path), "info": {"name": "x"}}}):
        await settings.put_state("models", stored)
        model_registry = await opened(settings, data)
        assert model_registry.model.steps == POSTCARD.steps


async def test_a_model_that_a_worker_brings_along_may_be_named(settings, data) -> None:
    model_registry = await opened(settings, data)
    await model_registry.told(info("theirs", family="sdxl", native=1024))
    assert model_registry.get("theirs").native == 1024
    assert "theirs" not in {place.name for place in model_registry.order(local=True).models}


async def test_what_a_worker_says_of_many_models_is_read_once_for_each(settings, data, monkeypatch) -> None:
    model_registry = await opened(settings, data)
    read, built = [], module.wire.built
    monkeypatch.setattr(module.wire, "built", lambda *given: read.append(given) or built(*given))
    infos = [info(f"model-{number}") for number in range(100)]
    await model_registry.told(*infos)
    assert len(model_registry.choices.models) == 101 and len(read) <= 101
    await model_registry.told(*infos)
    assert len(read) <= 101, "nothing of it is new"


async def test_without_a_worker_here_the_owners_entries_count_as_there(settings, data) -> None:
    (data / "models.toml").write_text('[[model]]\nname = "far"\nwhere = "owner/far"\n')
    assert (await opened(settings, data)).get("far") is None
    assert (await opened(settings, data, DARKROOM_WORKER="none")).get("far") is not None


async def test_loras_may_be_listed_too(settings, data) -> None:
    path = weight_files.lora(data / "elsewhere" / "x.safetensors")
    (data / "models.toml").write_text('[[lora]]\nname = "ink"\nwhere = "./elsewhere/x.safetensors"\n')
    model_registry = await opened(settings, data)
    assert (model_registry.choices.loras["ink"].path, model_registry.choices.loras["ink"].shape) == (str(path), "sd1")


def test_a_look_at_the_catalogue_needs_no_library_of_the_hub(data) -> None:
    """It takes a third of a second to load, and memory for as long as the bot lives."""
    script = (
        "import sys; from bot.catalogue import catalogue_files, locations\n"
        "from bot.config import Config; from core.catalogue_file import read\n"
        "config = Config.from_env(); entries = read(catalogue_files.documents(config)).models\n"
        "found = [locations.find(one, config.data).state for one in entries.values()]\n"
        "print(*sorted(set(found)), 'huggingface_hub' in sys.modules)"
    )
    environ = {**os.environ, "DARKROOM_DATA": str(data)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["here", "not", "downloaded", "False"], done.stderr


async def test_it_looks_again_by_itself(settings, data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    model_registry = await opened(settings, data)
    changed = asyncio.Event()
    model_registry.changed = changed.set
    looking = asyncio.create_task(model_registry.run())
    weight_files.checkpoint(data / "models" / "new.safetensors")
    async with asyncio.timeout(20):
        await changed.wait()
    looking.cancel()
    assert model_registry.get("new") is not None


def test_files_appear_within_a_minute() -> None:
    assert 2 * module.LOOK_SECONDS < 60
