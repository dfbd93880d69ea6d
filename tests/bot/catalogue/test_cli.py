"""`python bot.py models`: the hub's real client against a hub on this machine; files, sums and sentences."""

import json
import os
import shutil
import subprocess
import sys
import threading

import pytest

from bot.catalogue import checkpoint_files, hub_download, locations
from bot.catalogue.cli import run
from bot.config import ROOT
from core.errors import ConfigError
from tests.bot.catalogue.models_command import UNET, config, models
from tests.harness import weight_files


def test_size_and_licence_come_first_and_a_no_fetches_nothing(here, data, capsys) -> None:
    assert models(here, data, "add", "mine", answer="n") == 1
    said = capsys.readouterr().out
    assert "OpenRAIL (https://a.example)" in said and "download  0 MB" in said
    assert not (data / "models" / "mine").exists()
    assert [file for file, _ in here.asked] == ["model_index.json"]


def test_a_model_arrives_whole_and_only_with_what_it_needs(here, data, capsys) -> None:
    source = here.folder / "owner" / "mine"
    for name in ("README.md", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.non_ema.safetensors"):
        (source / name).write_text("not to be fetched")
    (source / "tokenizer" / "chat_template.jinja").write_text("{{ messages }}")
    assert models(here, data, "add", "mine") == 0
    home = data / "models" / "mine"
    there = sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())
    assert there == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/chat_template.jinja",
        "tokenizer/tokenizer_config.json",
        "unet/config.json",
        UNET,
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert (home / UNET).read_bytes() == (source / UNET).read_bytes()
    assert "--model mine" in capsys.readouterr().out
    assert models(here, data, "check", "mine") == 0
    assert models(here, data, "add", "mine") == 0
    assert "already here" in capsys.readouterr().out


def test_half_precision_is_taken_where_a_repository_has_both(here, data) -> None:
    source = here.folder / "owner" / "mine" / UNET
    half = source.with_name("diffusion_pytorch_model.fp16.safetensors")
    shutil.copy(source, half)
    assert models(here, data, "add", "mine") == 0
    unet = data / "models" / "mine" / "unet"
    assert [path.name for path in unet.glob("*.safetensors")] == [half.name]


def test_a_line_that_breaks_in_the_middle_of_a_file_goes_on_from_there(here, data, no_waiting, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    here.breaks[UNET] = 5000
    assert models(here, data, "add", "mine") == 0
    assert [at for file, at in here.asked if file == UNET] == [0, 5000]
    assert models(here, data, "check", "mine") == 0


def test_a_download_that_broke_for_good_goes_on_with_what_is_missing(here, data, capsys, no_waiting) -> None:
    here.breaks_always[UNET] = 0
    with pytest.raises(ConfigError, match="Check the network and try again: what has arrived is kept"):
        models(here, data, "add", "mine")
    assert models(here, data, "check", "mine") == 1
    assert "continues it" in capsys.readouterr().out
    assert not (data / "models" / "mine").exists(), "half a model is none"
    come = {file for file in here.files("owner/mine") if file.endswith(".safetensors")} - {UNET}
    here.breaks_always.clear()
    here.asked.clear()
    assert models(here, data, "add", "mine") == 0
    assert come and not come & set(here.files("owner/mine"))
    assert models(here, data, "check", "mine") == 0


def test_a_download_that_was_killed_leaves_nothing_behind(here, data) -> None:
    """Nor does one of an older version, which kept pieces of its own."""
    here.holds[UNET] = threading.Event()
    command = [sys.executable, "bot.py", "models", "add", "mine", "--yes"]
    environ = {**os.environ, "DARKROOM_DATA": str(data), "DARKROOM_DISK_FREE_MB": "0"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) as killed:
        assert here.held.wait(60)
        killed.kill()
    here.holds.pop(UNET).set()
    part = locations.part_of(data / "models" / "mine")
    (part / f"{UNET}.part").write_bytes(b"a piece")
    assert list(part.rglob("*.incomplete"))
    assert models(here, data, "add", "mine") == 0
    home = data / "models" / "mine"
    assert sorted(data.rglob(".cache")) == sorted(data.rglob("*.incomplete")) == sorted(home.rglob("*.part")) == []
    assert not part.exists()


def test_what_arrives_damaged_is_fetched_once_more_and_never_kept(here, data, capsys) -> None:
    here.spoils.add(UNET)
    assert models(here, data, "add", "mine") == 0
    assert f"{UNET} arrived damaged" in capsys.readouterr().out
    assert here.files("owner/mine").count(UNET) == 2
    assert models(here, data, "check", "mine") == 0


def test_what_arrives_damaged_twice_is_named_with_the_cure(here, data) -> None:
    here.spoils_always.add(UNET)
    with pytest.raises(ConfigError, match=rf"{UNET} arrived damaged.*Try again later; the other files are kept"):
        models(here, data, "add", "mine")
    assert not (data / "models" / "mine").exists()


def test_a_file_that_is_damaged_later_is_found_by_its_sum_and_fetched_again(here, data, capsys) -> None:
    models(here, data, "add", "mine")
    path = data / "models" / "mine" / UNET
    spoilt = bytearray(path.read_bytes())
    spoilt[-1] ^= 1
    path.write_bytes(spoilt)
    assert models(here, data, "check", "mine") == 1
    assert "its SHA-256 is not the hub's" in capsys.readouterr().out
    here.asked.clear()
    assert models(here, data, "add", "mine") == 0
    assert [file for file in here.files("owner/mine") if file.endswith(".safetensors")] == [UNET]
    assert models(here, data, "check", "mine") == 0


def test_a_full_precision_copy_stays_one_when_it_is_mended(here, data) -> None:
    """Pictures were drawn with those weights, and are drawn again by their digest."""
    models(here, data, "add", "mine")
    source, home = here.folder / "owner" / "mine", data / "models" / "mine"
    for file in source.glob("*/*.safetensors"):
        shutil.copy(file, file.with_name(f"{file.stem}.fp16.safetensors"))
    before = sorted(path.relative_to(home) for path in home.rglob("*.safetensors"))
    (home / UNET).unlink()
    assert models(here, data, "add", "mine") == 0
    assert sorted(path.relative_to(home) for path in home.rglob("*.safetensors")) == before


def test_one_file_of_a_repository_becomes_one_file_here(here, data) -> None:
    weight_files.checkpoint(here.folder / "owner" / "files" / "one.safetensors")
    assert models(here, data, "add", "one") == 0
    assert (data / "models" / "one.safetensors").is_file()
    assert models(here, data, "check", "one") == 0


def test_a_place_on_the_hub_can_be_named_without_an_entry(here, data) -> None:
    weight_files.folder(here.folder / "Other" / "Some-Model")
    assert models(here, data, "add", "Other/Some-Model", "--yes") == 0
    assert models(here, data, "check", "some-model") == 0


@pytest.mark.parametrize("evil", ["../../evil.safetensors", "/tmp/evil.safetensors", "unet/../../evil.safetensors"])
def test_a_name_that_leads_out_of_the_models_folder_is_no_file_of_the_hubs(here, data, evil) -> None:
    here.invents = (evil,)
    with pytest.raises(ConfigError, match="has no file"):
        models(here, data, "add", f"owner/mine/{evil}", "--yes")
    assert not here.asked and not list(data.rglob("*evil*"))


def test_a_gated_model_asks_for_a_token_and_then_uses_it(here, data) -> None:
    here.gated, here.token = True, "hf_right"
    with pytest.raises(ConfigError, match=r"accept its terms.*owner/mine.*HF_TOKEN"):
        models(here, data, "add", "mine")
    with pytest.raises(ConfigError, match="account that HF_TOKEN belongs to"):
        models(here, data, "add", "mine", HF_TOKEN="hf_wrong")
    assert models(here, data, "add", "mine", HF_TOKEN="hf_right") == 0


def test_pickles_are_never_fetched(here, data) -> None:
    unet = here.folder / "owner" / "mine" / UNET
    unet.rename(unet.with_suffix(".bin"))
    with pytest.raises(ConfigError, match=r"only pickled weights in unet/"):
        models(here, data, "add", "mine")


def test_a_repository_of_another_kind_says_what_it_has(here, data) -> None:
    weight_files.checkpoint(here.folder / "owner" / "files" / "two.safetensors")
    with pytest.raises(ConfigError, match=r"no file one\.safetensors\. It has two\.safetensors"):
        models(here, data, "add", "one")
    with pytest.raises(ConfigError, match=r"Perhaps you want one file of it: owner/files/two\.safetensors"):
        models(here, data, "add", "owner/files")
    with pytest.raises(ConfigError, match="The hub has no model owner/nothing"):
        models(here, data, "add", "owner/nothing")


def test_too_little_room_is_said_before_anything_is_fetched(here, data) -> None:
    with pytest.raises(ConfigError, match="Make room first"):
        models(here, data, "add", "mine", DARKROOM_DISK_FREE_MB="999999999")
    assert not (data / "models" / "mine").exists()


def test_without_a_terminal_one_has_to_say_yes(here, data) -> None:
    def nobody(_: str) -> str:
        raise EOFError

    settings = config(data)
    with pytest.raises(ConfigError, match="--yes"):
        run(settings, ["add", "mine"], ask=nobody)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, r"The hub wants a token for owner/mine: create one \(huggingface\.co"),
        (403, r"HF_TOKEN may not read owner/mine: give it that right"),
        (404, r"owner/mine could not be fetched \(.*404"),
        (400, r"owner/mine could not be fetched \(.*Check the network and try again"),
    ],
)
def test_what_the_hub_answers_instead_becomes_a_sentence_with_its_cure(here, data, status, told) -> None:
    here.refuses = status
    with pytest.raises(ConfigError, match=told):
        models(here, data, "add", "mine")


def test_offline_is_said(data, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE"):
        run(config(data), ["add", "mine"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add", "mien"], "Did you mean mine?"),
        (["check", "zzz"], "The catalogue has flux-schnell, local, mine"),
        (["add", "postcard"], None),
        (["add", "a//b"], "it must be owner/name"),
        (["add", "local"], "is a path on this machine"),
        (["add"], "models add NAME"),
        ([], "models list"),
        (["dance"], "models list"),
        (["list", "--all"], "models list"),
    ],
)
def test_a_word_that_is_wrong_is_answered_with_the_right_one(data, words, told, capsys) -> None:
    if told is None:
        assert run(config(data), words) == 0
        assert "already here" in capsys.readouterr().out
    else:
        with pytest.raises(ConfigError) as caught:
            run(config(data), words)
        assert told in caught.value.sentence


def test_check_says_what_is_missing_and_the_cure(data, capsys) -> None:
    settings = config(data)
    assert run(settings, ["check", "mine"]) == 1
    assert "python bot.py models add mine" in capsys.readouterr().out
    broken = weight_files.folder(data / "models" / "broken")
    (broken / UNET).write_bytes((broken / UNET).read_bytes()[:-100])
    (broken / "vae" / "diffusion_pytorch_model.safetensors").rename(broken / "vae" / "diffusion_pytorch_model.bin")
    assert run(settings, ["check", "broken"]) == 1
    said = capsys.readouterr().out
    assert "is cut off" in said and "pickled" in said
    (broken / UNET).write_bytes((broken / "text_encoder" / "model.safetensors").read_bytes() + bytes(7))
    assert run(settings, ["check", "broken"]) == 1
    assert "7 bytes behind its last tensor" in capsys.readouterr().out
    (data / "models" / "pickle.safetensors").write_bytes(b"PK\x03\x04 and more of it")
    assert run(settings, ["check", "pickle"]) == 1
    assert "pickle" in capsys.readouterr().out


def test_a_sharded_model_lacks_the_shard_that_is_not_there(data, capsys) -> None:
    folder = weight_files.folder(data / "models" / "large")
    unet = folder / "unet"
    (folder / UNET).rename(unet / "diffusion_pytorch_model-00001-of-00002.safetensors")
    shards = {
        "a": "diffusion_pytorch_model-00001-of-00002.safetensors",
        "b": "diffusion_pytorch_model-00002-of-00002.safetensors",
    }
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert run(config(data), ["check", "large"]) == 1
    assert "lacks diffusion_pytorch_model-00002-of-00002.safetensors" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spelled", "told"),
    [
        ("diffusion_pytorch_model.fp16.safetensors", "is complete"),
        ("diffusion_pytorch_model.bf16.safetensors", "is complete"),
        ("diffusion_pytorch_model.ema.safetensors", "an unexpected name (diffusion_pytorch_model.ema"),
        ("my_unet.safetensors", "an unexpected name (my_unet.safetensors)"),
        ("diffusion_pytorch_model-00001-of-00001.safetensors", "lacks some of its shards, or their index"),
    ],
)
def test_a_folder_is_whole_when_a_worker_can_open_what_its_files_are_called(data, spelled, told, capsys) -> None:
    folder = weight_files.folder(data / "models" / "dropped")
    (folder / UNET).rename(folder / "unet" / spelled)
    assert run(config(data), ["check", "dropped"]) == (0 if told == "is complete" else 1)
    assert told in capsys.readouterr().out


def test_shards_of_any_name_count_where_the_plain_index_names_them(data) -> None:
    folder = weight_files.folder(data / "models" / "dropped")
    (folder / UNET).rename(folder / "unet" / "piece.safetensors")
    index = folder / f"{UNET}.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "piece.safetensors"}}))
    assert run(config(data), ["check", "dropped"]) == 0
    index.write_text("{}")
    assert run(config(data), ["check", "dropped"]) == 1


def test_the_list_shows_every_model_with_its_state(data, capsys) -> None:
    weight_files.checkpoint(data / "models" / "Own Mix.safetensors", width=2048)
    weight_files.lora(data / "loras" / "ink.safetensors")
    assert run(config(data, DARKROOM_MODEL="own-mix"), ["list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    assert "here, the default" in rows["own-mix"] and "sdxl" in rows["own-mix"]
    assert "here" in rows["postcard"] and "MIT" in rows["postcard"]
    assert "not downloaded, recommended for 24 GB" in rows["flux-schnell"]
    assert "ink (sd1)" in rows["LoRAs:"]


def test_a_copy_in_the_hubs_cache_counts_and_its_large_files_are_checked(tmp_path, data, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "hub" / "models--owner--mine"
    snapshot = weight_files.folder(repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (repository / "blobs").mkdir()
    blob = repository / "blobs" / ("0" * 64)
    (snapshot / UNET).rename(blob)
    (snapshot / UNET).symlink_to(blob)
    settings = config(data)
    assert run(settings, ["list"]) == 0
    assert "here" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mine"))
    assert run(settings, ["check", "mine"]) == 1
    assert "SHA-256" in capsys.readouterr().out
    (snapshot / UNET).unlink()
    assert run(settings, ["check", "mine"]) == 1
    assert "continues it" in capsys.readouterr().out


def test_what_was_noted_at_the_download_can_be_read_again_or_counts_as_nothing(tmp_path) -> None:
    home = tmp_path / "mine"
    assert hub_download.note_of(home) is None
    (tmp_path / ".mine.json").write_text("[]")
    assert hub_download.note_of(home) is None
    assert hub_download.note_of(ROOT / "models" / "postcard") is None


def test_a_model_is_found_under_whichever_name_it_was_fetched(here, data) -> None:
    """An entry that came later calls it otherwise, and it is not fetched again."""
    weight_files.folder(here.folder / "someone" / "fine")
    assert models(here, data, "add", "someone/fine") == 0
    with (data / "models.toml").open("a") as file:
        file.write('[[model]]\nname = "best"\nwhere = "someone/fine"\n')
    here.asked.clear()
    assert models(here, data, "check", "best") == 0
    assert models(here, data, "add", "best") == 0
    assert not here.asked


def test_a_folder_with_more_files_than_any_model_is_one_row_of_the_list_and_a_sentence_of_the_others(
    here, data, capsys, monkeypatch
) -> None:
    folder = weight_files.folder(data / "elsewhere")
    for number in range(30):
        (folder / f"sample{number}.png").touch()
    (data / "models.toml").write_text(f'[[model]]\nname = "mine"\nwhere = "{folder}"\n')
    monkeypatch.setattr(checkpoint_files, "MOST_FILES", 25)
    assert models(here, data, "list") == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mine"))
    assert "cannot be read (more than 25 files and folders)" in row
    assert models(here, data, "check", "mine") == 1
    assert f"WRONG {folder} cannot be read (more than 25 files and folders)." in capsys.readouterr().out
    with pytest.raises(ConfigError, match="cannot be read"):
        models(here, data, "add", "mine")
