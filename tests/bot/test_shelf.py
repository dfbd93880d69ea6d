"""The catalogue in life: what lies in the folders appears, what a worker says counts, and no mistake takes it away."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot import shelf as module
from bot.config import ROOT, Config
from bot.shelf import Shelf
from core.catalogue import POSTCARD, SAMPLERS, XL_SIZES
from core.errors import ConfigError
from core.events import ModelInfo
from storage.database import Database
from storage.settings import Settings
from tests.harness import weights

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


async def opened(settings: Settings, data: Path, *, now: float = LATER, **environ: str) -> Shelf:
    config = Config.from_env({"DARKROOM_DATA": str(data), **environ}, data / "no.env")
    shelf = Shelf(config, settings, clock=lambda: now)
    await shelf.begin()
    return shelf


def info(name: str = "postcard", **changes: Any) -> ModelInfo:
    plain = {
        "name": name, "family": "sd", "digest": "d", "dtype": "float32", "native": 512, "multiple": 64, "steps": 24,
        "guidance": 5.0, "sampler": "euler_a", "samplers": tuple(SAMPLERS), "edits": ("tile", "variation"),
    }  # fmt: skip
    return ModelInfo(**(plain | changes))


async def test_the_shipped_model_is_there_and_the_recommended_ones_are_not(settings, data) -> None:
    shelf = await opened(settings, data)
    assert set(shelf.choices.models) == {"postcard"}
    assert shelf.choices.absent == ("flux-schnell", "sd15", "sdxl")
    assert shelf.model.path == shelf.launch == str(ROOT / POSTCARD.path)
    assert (shelf.model.native, shelf.model.sizes, shelf.model.shape) == (256, POSTCARD.sizes, "width-128")


async def test_files_that_are_put_into_the_folders_appear_and_go_again(settings, data) -> None:
    shelf = await opened(settings, data)
    changes: list[set[str]] = []
    shelf.changed = lambda: changes.append(set(shelf.choices.models))
    weights.checkpoint(data / "models" / "Own Mix.safetensors", width=2048)
    weights.folder(data / "models" / "small")
    weights.lora(data / "loras" / "Ink.safetensors", width=2048)
    await shelf.look()
    assert set(shelf.choices.models) == {"postcard", "own-mix", "small"}
    mix, small = shelf.get("own-mix"), shelf.get("small")
    assert (mix.family, mix.native, mix.sizes) == ("sdxl", 1024, XL_SIZES)
    assert (small.family, small.native, small.multiple) == ("sd1", 512, 64)
    assert shelf.choices.loras["ink"].shape == "sdxl"
    (data / "models" / "Own Mix.safetensors").unlink()
    await shelf.look()
    await shelf.look()
    assert changes == [{"postcard", "own-mix", "small"}, {"postcard", "small"}]


async def test_a_file_that_still_grows_is_left_until_it_is_still(settings, data) -> None:
    path = weights.checkpoint(data / "models" / "mine.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    shelf = await opened(settings, data, now=path.stat().st_mtime + 1)
    assert shelf.get("mine") is None
    path.write_bytes(whole)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
    await shelf.look()
    assert shelf.get("mine") is None, "it changed since the look before"
    await shelf.look()
    assert shelf.get("mine") is not None


@pytest.mark.parametrize("still", [True, False], ids=["moved in", "copied in"])
async def test_a_lora_that_is_replaced_is_looked_at_anew_and_told_of(settings, data, caplog, still: bool) -> None:
    path = weights.lora(data / "loras" / "Wash.safetensors", width=768)
    os.utime(path, (1, 1))
    shelf = await opened(settings, data, now=path.stat().st_mtime + 100)
    assert shelf.choices.loras["wash"].shape == "sd1"
    weights.lora(path, width=2048)
    if still:
        os.utime(path, (2, 2))
    else:
        os.utime(path, (90, 90))
        await shelf.look()
        assert "wash" not in shelf.choices.loras, "it may still be growing"
    with caplog.at_level(logging.INFO):
        await shelf.look()
        await shelf.look()
    assert shelf.choices.loras["wash"].shape == "sdxl"
    assert caplog.text.count("The LoRA wash is another file now") == 1


def stamps(shelf: Shelf, *, local: bool = True) -> dict[str, str]:
    """What workers are told of each model's files."""
    return {place.name: place.stamp for place in shelf.order(local=local).models}


@pytest.mark.parametrize("where", ["models", "elsewhere"], ids=["dropped", "named"])
async def test_a_checkpoint_that_is_replaced_is_told_of_once_it_is_still(settings, data, caplog, where: str) -> None:
    path = weights.checkpoint(data / where / "mine.safetensors")
    os.utime(path, (1, 1))
    data.joinpath("models.toml").write_text(
        '[[model]]\nname = "mine"\nwhere = "./elsewhere/mine.safetensors"\n' if where == "elsewhere" else ""
    )
    shelf = await opened(settings, data, now=100)
    told: list[str] = []
    shelf.changed = lambda: told.append(stamps(shelf).get("mine", "growing"))
    await shelf.heard(info("mine"))
    first = stamps(shelf)["mine"]
    assert first and shelf.get("mine").digest == "d"
    await shelf.look()
    assert told == [], "nothing happened"
    weights.checkpoint(path)
    os.utime(path, (90, 90))
    with caplog.at_level(logging.INFO):
        await shelf.look()
        assert first == stamps(shelf).get("mine", first), "it may still be growing"
        await shelf.look()
        await shelf.look()
    assert told[-1] == stamps(shelf)["mine"] not in ("", first) and told.count(told[-1]) == 1
    assert shelf.get("mine").digest == "", "nobody has loaded it yet"
    assert caplog.text.count("The model mine is other files now") == 1
    await shelf.heard(info("mine", digest="e"))
    assert shelf.get("mine").digest == "e"


async def test_a_companion_counts_as_a_models_file_and_a_readme_does_not(settings, data) -> None:
    home = weights.folder(data / "elsewhere")
    vae = weights.tensors(data / "vae.safetensors", {"x": [4]})
    (data / "models.toml").write_text('[[model]]\nname = "mine"\nwhere = "./elsewhere"\nvae = "./vae.safetensors"\n')
    shelf = await opened(settings, data)
    first = stamps(shelf)["mine"]
    (home / "README.md").write_text("Read me.")
    await shelf.look()
    assert stamps(shelf)["mine"] == first
    os.utime(vae, (7, 7))
    await shelf.look()
    assert stamps(shelf)["mine"] != first


async def test_files_that_go_away_are_no_other_files(settings, data) -> None:
    path = weights.checkpoint(data / "elsewhere" / "mine.safetensors")
    shelf = await opened(settings, data, DARKROOM_MODEL=str(path))
    first, before = stamps(shelf), path.read_bytes()
    path.unlink()
    await shelf.look()
    assert stamps(shelf) == first
    path.write_bytes(before + b" ")
    await shelf.look()
    assert stamps(shelf) != first


async def test_of_a_far_workers_own_downloads_nothing_is_told(settings, data) -> None:
    weights.folder(data / "models" / "sd15")
    weights.folder(data / "models" / "shared")
    shelf = await opened(settings, data)
    near, far = stamps(shelf), stamps(shelf, local=False)
    assert near["sd15"] and far["sd15"] == "" and near["shared"] == far["shared"] != ""


async def test_what_cannot_be_used_is_said_once_with_its_cure(settings, data, caplog) -> None:
    (data / "models").mkdir()
    (data / "models" / "old.ckpt").write_bytes(b"\x80\x02")
    (data / "models" / "fake.safetensors").write_bytes(b"PK\x03\x04 and more")
    weights.checkpoint(data / "models" / "part.safetensors", whole=False)
    weights.lora(data / "models" / "lost.safetensors")
    weights.tensors(data / "models" / "flux.safetensors", {"double_blocks.0.img_attn.qkv.weight": [4]})
    weights.checkpoint(data / "loras" / "large.safetensors")
    with caplog.at_level(logging.WARNING):
        shelf = await opened(settings, data)
        await shelf.look()
    assert set(shelf.choices.models) == {"postcard"} and "large" not in shelf.choices.loras
    cures = ("only .safetensors files", "is a pickle", "text encoder and VAE", "folder loras", "holds no LoRA")
    for told in (*cures, "Others, FLUX among them, work as a folder"):
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
    shelf = await opened(settings, data)
    folder = weights.folder(data / "models" / "odd")
    (folder / file).write_text(text)
    with caplog.at_level(logging.ERROR):
        await shelf.look()
    assert "postcard" in shelf.choices.models
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_of_two_with_one_name_the_log_says_which_is_used(settings, data, caplog) -> None:
    weights.folder(data / "models" / "mine")
    weights.checkpoint(data / "models" / "Mine.safetensors")
    weights.folder(data / "models" / "postcard")
    with caplog.at_level(logging.WARNING):
        shelf = await opened(settings, data)
    assert f"mine is not used: {shelf.get('mine').path} has the same name" in caplog.text
    assert f"{data / 'models' / 'postcard'} is not used: the catalogue has postcard at" in caplog.text
    assert shelf.get("postcard").path == str(ROOT / POSTCARD.path)


async def test_an_entry_of_the_hub_is_used_from_the_models_folder_once_it_is_there(settings, data) -> None:
    weights.folder(data / "models" / "sd15")
    shelf = await opened(settings, data)
    model = shelf.get("sd15")
    assert model.path == str(data / "models" / "sd15")
    assert (model.steps, model.style.positive != "") == (25, True)
    near, far = shelf.order(local=True), shelf.order(local=False)
    assert {place.name: place.where for place in near.models}["sd15"] == model.path
    assert {place.name: place.where for place in far.models} == {
        "postcard": "postcard",
        "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    }


async def test_the_owners_file_changes_entries_and_adds_others(settings, data) -> None:
    weights.folder(data / "elsewhere", side=96)
    (data / "models.toml").write_text(
        '[[model]]\nname = "postcard"\nsteps = 30\nadapter = "./nothing"\n'
        '[[model]]\nname = "mine"\nwhere = "./elsewhere"\nguidance = 3\n'
    )
    shelf = await opened(settings, data, DARKROOM_MODEL="mine")
    assert shelf.model.name == "mine" and shelf.launch == str(data / "elsewhere")
    assert (shelf.model.native, shelf.model.guidance) == (768, 3.0)
    assert (shelf.get("postcard").steps, shelf.get("postcard").adapter) == (30, "")
    place = next(place for place in shelf.order(local=True).models if place.name == "mine")
    assert (place.guidance, place.steps, place.native) == (3.0, 0, 0)


async def test_a_mistake_in_it_stops_a_start_and_later_changes_nothing(settings, data, caplog) -> None:
    shelf = await opened(settings, data)
    before = shelf.choices
    (data / "models.toml").write_text('[[model]]\nname = "postcard"\nsteps = "many"')
    with caplog.at_level(logging.WARNING):
        await shelf.look()
        await shelf.look()
    assert shelf.choices == before
    assert caplog.text.count("steps is “many”") == 1
    with pytest.raises(ConfigError, match="steps is “many”"):
        await opened(settings, data)
    (data / "models.toml").write_text("[[model")
    with pytest.raises(ConfigError, match=r"models\.toml cannot be read"):
        await opened(settings, data)
    with pytest.raises(ConfigError, match="DARKROOM_CATALOGUE"):
        await opened(settings, data, DARKROOM_CATALOGUE=str(data / "nowhere.toml"))


async def test_a_workers_word_counts_for_its_model_and_is_remembered_without_its_weights(settings, data) -> None:
    shelf = await opened(settings, data, DARKROOM_MODEL="owner/mine")
    assert (shelf.model.name, shelf.launch) == ("mine", "owner/mine")
    await shelf.heard(info("mine"))
    assert (shelf.model.digest, shelf.model.steps, shelf.model.edits) == ("d", 24, ("tile", "variation"))
    assert shelf.get("postcard").digest == ""
    again = await opened(settings, data, DARKROOM_MODEL="owner/mine")
    assert (again.model.digest, again.model.steps, again.model.edits) == ("", 24, ("tile", "variation"))
    other = await opened(settings, data, DARKROOM_MODEL="else/mine")
    assert other.model.steps == 25, "that was another one"


async def test_what_is_remembered_may_be_anything(settings, data) -> None:
    for stored in (7, {"postcard": 7}, {"postcard": {"path": str(ROOT / POSTCARD.path), "info": {"name": "x"}}}):
        await settings.put_state("models", stored)
        shelf = await opened(settings, data)
        assert shelf.model.steps == POSTCARD.steps


async def test_a_model_that_a_worker_brings_along_may_be_named(settings, data) -> None:
    shelf = await opened(settings, data)
    await shelf.heard(info("theirs", family="sdxl", native=1024))
    assert shelf.get("theirs").native == 1024
    assert "theirs" not in {place.name for place in shelf.order(local=True).models}


async def test_without_a_worker_here_the_owners_entries_count_as_there(settings, data) -> None:
    (data / "models.toml").write_text('[[model]]\nname = "far"\nwhere = "owner/far"\n')
    assert (await opened(settings, data)).get("far") is None
    assert (await opened(settings, data, DARKROOM_WORKER="none")).get("far") is not None


async def test_loras_may_be_listed_too(settings, data) -> None:
    path = weights.lora(data / "elsewhere" / "x.safetensors")
    (data / "models.toml").write_text('[[lora]]\nname = "ink"\nwhere = "./elsewhere/x.safetensors"\n')
    shelf = await opened(settings, data)
    assert (shelf.choices.loras["ink"].path, shelf.choices.loras["ink"].shape) == (str(path), "sd1")


def test_a_look_at_the_catalogue_needs_no_library_of_the_hub(data) -> None:
    """It takes a third of a second to load, and memory for as long as the bot lives."""
    script = (
        "import sys; from bot import listing, places; from bot.config import Config; from core.entries import read\n"
        "config = Config.from_env()\n"
        "found = [places.find(one, config.data).state for one in read(listing.documents(config)).models.values()]\n"
        "print(*sorted(set(found)), 'huggingface_hub' in sys.modules)"
    )
    environ = {**os.environ, "DARKROOM_DATA": str(data)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["here", "not", "downloaded", "False"], done.stderr


async def test_it_looks_again_by_itself(settings, data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    shelf = await opened(settings, data)
    changed = asyncio.Event()
    shelf.changed = changed.set
    looking = asyncio.create_task(shelf.run())
    weights.checkpoint(data / "models" / "new.safetensors")
    async with asyncio.timeout(20):
        await changed.wait()
    looking.cancel()
    assert shelf.get("new") is not None


def test_files_appear_within_a_minute() -> None:
    assert 2 * module.LOOK_SECONDS < 60
