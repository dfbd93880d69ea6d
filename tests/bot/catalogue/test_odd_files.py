"""Whatever lies in the folders, the bot starts and the others are there; one odd file is one line in the log."""

import errno
import json
import logging
import os
import random
from pathlib import Path

import pytest

from bot.catalogue import ModelRegistry, checkpoint_files, folder_watcher, locations
from bot.config import Config
from core import model_locations, safetensors_header, wire
from storage.database import Database
from storage.settings import Settings
from tests.bot.catalogue.odd_files import UNUSABLE, with_config
from tests.harness import weight_files
from tests.harness.time_limit import no_longer_than


@pytest.fixture
async def settings(tmp_path: Path):
    async with Database.open(tmp_path / "data") as db:
        yield Settings(db)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a model and a LoRA that can be used."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    data = tmp_path / "data"
    weight_files.checkpoint(data / "models" / "good.safetensors")
    weight_files.lora(data / "loras" / "wash.safetensors")
    return data


async def opened(settings: Settings, data: Path) -> ModelRegistry:
    config = Config.from_env({"DARKROOM_DATA": str(data)}, data / "no.env")
    model_registry = ModelRegistry(config, settings, clock=lambda: 4e9)
    await model_registry.begin()
    return model_registry


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("odd", UNUSABLE)
async def test_an_odd_file_is_one_line_in_the_log_and_the_others_are_there(settings, data, caplog, odd: str) -> None:
    UNUSABLE[odd](data / "models", data / "loras")
    with caplog.at_level(logging.WARNING), no_longer_than(20):
        model_registry = await opened(settings, data)
        await model_registry.look()
        await model_registry.look()
    assert set(model_registry.choices.models) == {"postcard", "good"}
    assert set(model_registry.choices.loras) == {"ink", "wash"}
    assert wire.encode(model_registry.order(local=True))
    (line,) = lines(caplog)
    assert "odd" in line and line.isprintable() and len(line) < 600
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


@pytest.mark.parametrize("odd", UNUSABLE)
async def test_what_the_start_leaves_out_the_doctor_names(data, odd: str) -> None:
    UNUSABLE[odd](data / "models", data / "loras")
    with no_longer_than(20):
        (sentence,) = folder_watcher.unusable(data / "models", data / "loras")
    assert "odd" in sentence and sentence.isprintable()


async def test_a_name_with_line_breaks_is_used_and_written_on_one_line(settings, data, caplog) -> None:
    weight_files.lora(data / "loras" / "my\n\x1b[2Jlora.safetensors")
    (data / "loras" / "bad\nname.safetensors").write_bytes(b"PK\x03\x04 and more")
    with caplog.at_level(logging.WARNING):
        model_registry = await opened(settings, data)
    assert set(model_registry.choices.loras) == {"ink", "wash", "my-2jlora"}
    assert [line.isprintable() for line in lines(caplog)] == [True]


@pytest.mark.parametrize("seed", range(40))
async def test_a_folder_with_anything_in_its_files_stops_nobody(settings, data, caplog, seed: int) -> None:
    dice = random.Random(seed)
    folder = weight_files.folder(data / "models" / "odd")
    texts = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in dice.sample(texts, dice.randint(1, 3)):
        path.write_bytes(_spoilt(path.read_bytes(), dice))
    for kind, place in (("lora", data / "loras"), ("checkpoint", data / "models")):
        path = getattr(weight_files, kind)(place / f"spoilt-{kind}.safetensors")
        path.write_bytes(_spoilt(path.read_bytes(), dice))
    with caplog.at_level(logging.ERROR), no_longer_than(20):
        model_registry = await opened(settings, data)
        await model_registry.look()
    assert {"postcard", "good"} <= set(model_registry.choices.models) and "wash" in model_registry.choices.loras
    assert wire.encode(model_registry.order(local=True)) and not lines(caplog)


VALUES = [
    "null",
    "-1",
    "0",
    "1e999",
    "NaN",
    str(10**4000),
    '"\\ud800"',
    "[[[[]]]]",
    '{"a": {}}',
    '"../.."',
    '"' + "x" * 5000 + '"',
]


def _spoilt(whole: bytes, dice: random.Random) -> bytes:
    """With other bytes, or with other values where it is JSON, or cut."""
    how = dice.randrange(4)
    if how == 0:
        return whole[: dice.randrange(len(whole) + 1)]
    if how == 1:
        at = dice.randrange(len(whole) + 1)
        return whole[:at] + dice.randbytes(dice.randint(1, 8)) + whole[at:]
    if how == 2:
        spoilt = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            spoilt[dice.randrange(min(len(spoilt), 400) or 1) if spoilt else 0 :] = dice.randbytes(1)
        return bytes(spoilt)
    try:
        data = json.loads(whole)
    except ValueError:
        return whole[::-1]
    for key in dice.sample(sorted(data), min(2, len(data))):
        data[key] = f"@{dice.choice(VALUES)}@"
    return json.dumps(data).replace('"@', "").replace('@"', "").replace('\\"', '"').encode()


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"repository": "a/b", "files": {"x": [1e999, "", ""]}}',
     '{"repository": "a/b", "files": {"x": [1]}}',
     '{"repository": "a/b", "files": {"../../x": [1, "", ""]}}', '{"repository": "a/b", "files": {"x": ["9", 1, 1]}}'],
)  # fmt: skip
async def test_a_note_that_nobody_wrote_is_none(settings, data, text: str) -> None:
    (data / "models" / ".good.safetensors.json").write_text(text)
    assert locations.note_of(data / "models" / "good.safetensors") is None
    assert model_locations.read(text, "good") is None
    assert "good" in (await opened(settings, data)).choices.models


async def test_a_note_at_which_one_would_wait_for_ever_is_none(settings, data) -> None:
    os.mkfifo(data / "models" / ".good.safetensors.json")
    with no_longer_than(20):
        assert "good" in (await opened(settings, data)).choices.models


@pytest.mark.parametrize("commit", [b"\xff\xfe", b"a\0b", b"x" * 5000, None], ids=["bytes", "zero", "long", "pipe"])
async def test_a_hub_cache_that_says_something_odd_is_none(
    settings, data, tmp_path: Path, commit: bytes | None
) -> None:
    refs = tmp_path / "cache" / "hub" / "models--owner--mine" / "refs"
    refs.mkdir(parents=True)
    if commit is None:
        os.mkfifo(refs / "main")
    else:
        (refs / "main").write_bytes(commit)
    (data / "models.toml").write_text('[[model]]\nname = "mine"\nwhere = "owner/mine"\n')
    with no_longer_than(20):
        model_registry = await opened(settings, data)
    assert "mine" in model_registry.choices.absent


async def test_an_entry_whose_files_are_odd_leaves_the_others(settings, data, caplog) -> None:
    with_config(data / "models", "model_index.json", "[" * 100_000).rename(data / "elsewhere")
    (data / "models.toml").write_text(
        '[[model]]\nname = "mine"\nwhere = "./elsewhere"\n[[lora]]\nname = "far"\nwhere = "./'
        + "x" * 300
        + '.safetensors"\n'
    )
    with caplog.at_level(logging.ERROR), no_longer_than(20):
        model_registry = await opened(settings, data)
    assert set(model_registry.choices.models) == {"postcard", "good"} and not lines(caplog)


async def test_what_a_change_of_the_catalogue_breaks_is_a_line_in_the_log(settings, data, caplog) -> None:
    model_registry = await opened(settings, data)

    def breaks() -> None:
        raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")

    model_registry.changed = breaks
    weight_files.checkpoint(data / "models" / "new.safetensors")
    await model_registry.look()
    assert model_registry.get("new") is not None and len(lines(caplog)) == 1


def test_links_are_followed_and_each_file_is_counted_once(data) -> None:
    real = weight_files.folder(data / "models" / "real")
    (data / "models" / "link").symlink_to(real)
    (real / "unet" / "up").symlink_to(real)
    linked = {path.name for path in checkpoint_files.files_of(data / "models" / "link")}
    assert linked == {path.name for path in real.rglob("*") if path.is_file()}
    assert checkpoint_files.model_at(data / "models" / "link").native == 512


def broken_disk(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("what", ["iterdir", "stat", "open"])
async def test_what_the_disk_does_not_give_for_a_moment_stays_what_it_was(
    settings, data, caplog, monkeypatch, what: str
) -> None:
    model_registry = await opened(settings, data)
    for place in (data / "models" / "good.safetensors", data / "loras" / "wash.safetensors"):
        place.touch()  # so that it is read again
    for _ in range(2):
        with monkeypatch.context() as away, caplog.at_level(logging.WARNING):
            away.setattr(Path, what, broken_disk)
            await model_registry.look()
        assert {"good"} < set(model_registry.choices.models) and {"wash"} < set(model_registry.choices.loras)
    await model_registry.look()
    assert {"good"} < set(model_registry.choices.models) and {"wash"} < set(model_registry.choices.loras)


_LAYER = "base_model.model.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
PEFT = {f"{_LAYER}.lora_A.weight": [4, 768], f"{_LAYER}.lora_B.weight": [640, 4]}


def fill(data: Path) -> None:
    """With one of each sort of place where a model or a LoRA may lie."""
    weight_files.folder(data / "models" / "whole")
    mine = weight_files.folder(data / "mine")
    cached = data.parent / "cache" / "hub" / "models--owner--far"
    weight_files.folder(cached / "snapshots" / "c0")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("c0")
    for place, file in ((mine, "unet/diffusion_pytorch_model"), (cached / "snapshots" / "c0", "vae/shards")):
        (place / f"{file}.safetensors.index.json").write_text('{"weight_map": {}}')
    (data / "models.toml").write_text(
        '[[model]]\nname = "mine"\nwhere = "./mine"\n[[model]]\nname = "far"\nwhere = "owner/far"\n'
    )
    path = weight_files.tensors(data / "loras" / "peft" / "adapter_model.safetensors", PEFT)
    path.with_name("adapter_config.json").write_text('{"peft_type": "LORA", "lora_alpha": 8, "r": 4}')


@pytest.mark.parametrize("error", [errno.EIO, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("how", ["stat", "open", "iterdir"])
@pytest.mark.parametrize(
    "where",
    ["good.safetensors", "models/whole", "unet", "data/mine", "models--owner", "wash", "loras/peft", "adapter_config"],
)
async def test_a_place_that_the_disk_does_not_give_for_a_moment_is_what_it_was(
    settings, data, monkeypatch, where: str, how: str, error: int
) -> None:
    fill(data)
    model_registry = await opened(settings, data)
    before = model_registry.choices
    assert {"good", "whole", "mine", "far"} < set(before.models) and set(before.loras) == {"ink", "wash", "peft"}
    given = getattr(Path, how)

    def broken(path: Path, *args: object, **more: object) -> object:
        if where in str(path):
            raise OSError(error, os.strerror(error), str(path))
        return given(path, *args, **more)

    for _ in range(2):
        with monkeypatch.context() as away:
            away.setattr(Path, how, broken)
            await model_registry.look()
        assert model_registry.choices == before
        for path in weight_files.all_of(data):
            os.utime(path)  # so that it is read again
    await model_registry.look()
    assert model_registry.choices == before


async def test_a_lora_is_looked_at_anew_when_its_trainers_config_comes_behind_it(settings, data) -> None:
    fill(data)
    config = data / "loras" / "peft" / "adapter_config.json"
    text = config.read_text()
    config.unlink()
    model_registry = await opened(settings, data)
    assert model_registry.choices.loras["peft"].notes
    config.write_text(text)
    await model_registry.look()
    assert not model_registry.choices.loras["peft"].notes


async def test_a_link_to_a_whole_disk_is_one_line_and_what_lies_near_is_there(
    settings, data, caplog, monkeypatch
) -> None:
    monkeypatch.setattr("bot.catalogue.lora_files.MOST_FILES", 40)
    disk = data.parent / "disk"
    for number in range(60):
        (disk / str(number) / "deeper").mkdir(parents=True)
    (data / "loras" / "all").symlink_to(disk)
    with caplog.at_level(logging.WARNING):
        model_registry = await opened(settings, data)
        await model_registry.look()
    assert set(model_registry.choices.loras) == {"ink", "wash"}
    (line,) = lines(caplog)
    assert "more than 40 files and folders" in line
    (sentence,) = folder_watcher.unusable(data / "models", data / "loras")
    assert "more than 40 files and folders" in sentence


async def test_a_model_that_could_not_be_read_when_it_came_is_there_once_it_can_be(settings, data, monkeypatch) -> None:
    with monkeypatch.context() as away:
        away.setattr(safetensors_header, "read", broken_disk)
        model_registry = await opened(settings, data)
    assert set(model_registry.choices.models) == {"postcard"}
    await model_registry.look()
    assert set(model_registry.choices.models) == {"postcard", "good"}
