"""A model of the hub is fetched once, whoever does it: a worker takes what `models add` takes, and puts it there too.

The hub's real client against a hub on this machine, which breaks off in the middle where a test wants that.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.catalogue import cli, locations
from bot.config import ROOT, Config
from core.catalogue import SD15
from tests.harness import weight_files
from tests.harness.model_hub import REVISION, FakeHub, hub_with_a_model, try_again_at_once
from tests.worker.checkpoint import make
from tests.worker.checkpoint_variants import saved
from worker.checkpoints import ModelsFolder, load, locate
from worker.checkpoints.weight_digest import digest
from worker.device import choose_device
from worker.errors import CannotLoad

CPU = choose_device("cpu", "float32", 0)
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with hub_with_a_model(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    try_again_at_once(monkeypatch)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def models_in(data: Path, min_free_mb: int = 0) -> ModelsFolder:
    return ModelsFolder(path=data / "models", min_free_mb=min_free_mb)


def started(data: Path, model: str = "owner/mine", **how: object) -> Path:
    """Where a worker finds its first model."""
    return locate(model, folder=models_in(data), **how)


def config(data: Path, **environ: str) -> Config:
    settings = {"DARKROOM_DATA": str(data), "DARKROOM_DISK_FREE_MB": "0", **environ}
    return Config.from_env(settings, data / "no.env")


def add(data: Path, name: str = "owner/mine") -> int:
    return cli.run(config(data), ["add", name, "--yes"])


def check(data: Path, name: str, **environ: str) -> int:
    return cli.run(config(data, **environ), ["check", name])


def files_below(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def with_halves(here: FakeHub, name: str = "owner/mine") -> None:
    """As most repositories are: each network's weights twice, and more that nobody needs."""
    source = here.folder / name
    for path in source.glob("*/*.safetensors"):
        path.with_name(f"{path.stem}.fp16.safetensors").write_bytes(path.read_bytes())
    weight_files.tensors(source / "all-in-one.safetensors", {"x": [64, 64]})
    weight_files.tensors(source / "safety_checker" / "model.safetensors", {"x": [64, 64]})
    (source / "unet" / "diffusion_pytorch_model.bin").write_text("a pickle")


@pytest.mark.parametrize("model", ["owner/mine", "owner/files/Deep/One.safetensors"], ids=["folder", "file"])
def test_a_worker_fetches_what_the_owners_command_fetches_to_the_same_place(here, tmp_path, model) -> None:
    with_halves(here)
    weight_files.checkpoint(here.folder / "owner" / "files" / "Deep" / "One.safetensors")
    assert add(tmp_path / "one", model) == 0
    by_command, here.asked[:] = sorted(here.asked), []
    started(tmp_path / "two", model)
    assert sorted(here.asked) == by_command, "and no byte more"
    one, two = (files_below(tmp_path / name / "models") for name in ("one", "two"))
    assert one == two
    assert not any("safety_checker" in name or name.endswith(".bin") for name in one)


def test_what_a_worker_fetched_is_the_bots_model_and_nobody_asks_the_hub_again(here, data, capsys) -> None:
    found = started(data)
    assert found == data / "models" / "mine"
    answered = here.answered
    assert started(data) == found
    assert check(data, "mine") == 0
    assert add(data) == 0
    assert here.answered == answered
    settings = config(data, DARKROOM_MODEL="owner/mine")
    model = cli._find(settings, "mine")
    assert locations.find(model, data).path == found


def test_a_worker_opens_what_the_command_fetched_under_whichever_name(here, data) -> None:
    """`models add` calls it by its owner where the catalogue has another model of that name."""
    weight_files.folder(here.folder / "someone" / "sdxl")
    assert add(data, "someone/sdxl") == 0
    here.asked.clear()
    assert started(data, "someone/sdxl") == data / "models" / "someone-sdxl"
    assert started(data, "Someone/SDXL", name="mine") == data / "models" / "someone-sdxl"
    assert not here.asked
    assert check(data, "someone/sdxl".rpartition("/")[2], DARKROOM_MODEL="someone/sdxl") == 0, "so does the bot"


def test_the_name_in_the_catalogue_is_the_models_place(here, data) -> None:
    assert started(data, name="best") == data / "models" / "best"
    assert started(data) == data / "models" / "best", "it is there already"


def test_another_model_of_its_name_keeps_its_place(here, data) -> None:
    weight_files.folder(here.folder / "other" / "mine")
    first = started(data, "other/mine")
    second = started(data)
    assert (first.name, second.name) == ("mine", "owner-mine")
    assert (started(data, "other/mine"), started(data)) == (first, second)


@pytest.mark.parametrize("first", ["command", "worker"])
def test_a_worker_and_the_owners_command_at_once_fetch_it_once(here, data, first) -> None:
    here.holds[UNET] = threading.Event()
    environ = {**os.environ, "DARKROOM_DATA": str(data), "DARKROOM_DISK_FREE_MB": "0"}
    commands = {
        "command": [sys.executable, "bot.py", "models", "add", "owner/mine", "--yes"],
        "worker": [sys.executable, "-c", WORKER, str(data / "models")],
    }
    waiting: list[str] = []
    with subprocess.Popen(commands.pop(first), cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) as one:
        assert here.held.wait(60)
        (second,) = commands.values()
        with subprocess.Popen(second, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as other:
            for line in other.stdout:
                if "waiting" in line:
                    waiting.append(line)
                    here.holds[UNET].set()
            assert (one.wait(60), other.wait(60)) == (0, 0)
    assert len(waiting) == 1
    large = [file for file in here.files("owner/mine") if file.endswith(".safetensors")]
    assert len(large) == len(set(large)) == 3
    assert check(data, "mine") == 0


#: A worker as far as its model's place.
WORKER = """
import logging, sys
from pathlib import Path
logging.basicConfig(stream=sys.stdout, level="INFO")
from worker.checkpoints.locator import ModelsFolder, locate
locate("owner/mine", folder=ModelsFolder(path=Path(sys.argv[1]), min_free_mb=0))
"""


def test_a_line_that_breaks_in_the_middle_of_a_file_goes_on_from_there(here, data, no_waiting, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    here.breaks[UNET] = 5000
    started(data)
    assert [at for file, at in here.asked if file == UNET] == [0, 5000]
    assert check(data, "mine") == 0


def test_a_worker_that_could_not_fetch_all_says_so_and_the_next_one_goes_on(here, data, no_waiting) -> None:
    here.breaks_always[UNET] = 0
    with pytest.raises(CannotLoad, match=r"owner/mine is not here yet.*Check the network and try again"):
        started(data)
    come = {file for file in here.files("owner/mine") if file.endswith(".safetensors")} - {UNET}
    here.breaks_always.clear()
    here.asked.clear()
    started(data)
    assert come and not come & set(here.files("owner/mine"))
    assert check(data, "mine") == 0


def test_a_file_that_arrives_damaged_is_named_and_only_that_one_comes_again(here, data) -> None:
    here.spoils.add(UNET)
    with pytest.raises(CannotLoad, match=f"{UNET} arrived damaged.*the other files are kept"):
        started(data)
    assert not (data / "models" / "mine").exists(), "nobody opens a damaged model"
    here.asked.clear()
    started(data)
    assert [file for file in here.files("owner/mine") if file.endswith(".safetensors")] == [UNET]
    assert check(data, "mine") == 0


def test_a_file_of_its_own_that_went_lost_comes_again(here, data) -> None:
    home = started(data)
    (home / UNET).write_bytes(b"cut off")
    here.asked.clear()
    assert started(data) == home
    assert [file for file in here.files("owner/mine") if file.endswith(".safetensors")] == [UNET]
    assert check(data, "mine") == 0


def test_a_folder_that_somebody_made_is_used_as_it_is_and_never_changed(here, data) -> None:
    dropped = weight_files.folder(data / "models" / "mine")
    assert started(data) == dropped
    (dropped / UNET).unlink()
    before = files_below(dropped)
    with pytest.raises(CannotLoad, match="was not fetched from there"):
        started(data)
    assert files_below(dropped) == before and not here.answered


def cached(tmp_path: Path, source: Path) -> Path:
    """A copy of owner/mine as the hub's library keeps it."""
    home = tmp_path / "cache" / "hub" / "models--owner--mine"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(REVISION)
    snapshot = home / "snapshots" / REVISION
    snapshot.parent.mkdir()
    source.rename(snapshot)
    return snapshot


def test_a_full_precision_copy_in_the_hubs_cache_is_used_as_it_is(here, tmp_path, data) -> None:
    """Its digest is that of pictures that were drawn with it."""
    with_halves(here)
    source = make(tmp_path / "tiny")
    before = digest(source, source.glob("*/*.safetensors"))
    snapshot = cached(tmp_path, source)
    loaded = load("owner/mine", CPU, folder=models_in(data))
    assert (loaded.path, loaded.info.name, loaded.info.digest) == (snapshot, "mine", before)
    assert not here.answered and not data.exists()


def test_half_a_copy_in_the_hubs_cache_is_none(here, tmp_path, data) -> None:
    snapshot = cached(tmp_path, weight_files.folder(tmp_path / "copy"))
    (snapshot / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert started(data) == data / "models" / "mine"


def whole(place: Path) -> None:
    """As it came."""


def without_a_tokenizer(place: Path) -> None:
    (place / "tokenizer" / "tokenizer_config.json").unlink()


def without_weights(place: Path) -> None:
    (place / UNET).unlink()


def cut_off(place: Path) -> None:
    os.truncate(place / UNET, (place / UNET).stat().st_size - 1)


CHANGES = [None, whole, without_a_tokenizer, without_weights, cut_off]


@pytest.mark.parametrize("by_hand", [True, False], ids=["made", "fetched"])
@pytest.mark.parametrize("there", CHANGES)
@pytest.mark.parametrize("in_cache", [None, whole, without_weights, cut_off])
def test_bot_and_worker_take_the_same_copy_or_neither(here, tmp_path, data, by_hand, there, in_cache) -> None:
    home = data / "models" / "mine"
    if there is not None:
        if by_hand:
            weight_files.folder(home)
        else:
            assert add(data) == 0
        there(home)
    if in_cache is not None:
        in_cache(cached(tmp_path, weight_files.folder(tmp_path / "copy")))
    shutil.rmtree(here.folder / "owner")
    place = locations.find(replace(SD15, name="mine", path="owner/mine"), data)
    try:
        taken = started(data)
    except CannotLoad:
        taken = None
    assert taken == (place.path if place.state is locations.Availability.HERE else None)


def test_a_model_that_was_fetched_is_loaded_and_called_by_its_authors_name(here, tmp_path, data) -> None:
    """`Turbo` in it says that it takes few steps; our own names are in small letters, where it cannot be told."""
    saved(make(tmp_path / "tiny"), here.folder / "owner" / "MyTurboXL", "fp16")
    by_id = load("owner/MyTurboXL", CPU, folder=models_in(data))
    assert (by_id.info.name, by_id.info.steps, by_id.path.name) == ("myturboxl", 4, "myturboxl")
    by_path = load(str(by_id.path), CPU)
    assert by_path.info == by_id.info


def test_progress_is_told_while_a_model_comes_and_nothing_is_printed(here, data, capfd) -> None:
    told: list[int] = []
    started(data, progress=lambda: told.append(len(here.asked)))
    assert len(told) >= 9 and told[0] < told[-1]
    told.clear()
    started(data, progress=lambda: told.append(1))
    assert not told
    assert capfd.readouterr() == ("", "")


def test_too_little_room_is_said_before_anything_is_fetched(here, data) -> None:
    with pytest.raises(CannotLoad, match="Make room first"):
        locate("owner/mine", folder=models_in(data, min_free_mb=10**9))
    assert here.files("owner/mine") == ["model_index.json"] and not (data / "models" / ".mine.part").exists()


def test_size_and_licence_stand_in_the_log_before_it_is_fetched(here, data, caplog) -> None:
    with caplog.at_level("INFO"):
        started(data)
    assert f"Fetching owner/mine: 0 MB into {data / 'models' / 'mine'}. Licence: mit (https" in caplog.text


def test_what_the_hub_does_not_give_is_one_sentence_with_its_cure(here, data, monkeypatch) -> None:
    with pytest.raises(CannotLoad, match="The hub has no model nobody/nothing"):
        started(data, "nobody/nothing")
    weight_files.checkpoint(here.folder / "owner" / "files" / "one.safetensors")
    with pytest.raises(CannotLoad, match=r"has no file other\.safetensors\. It has one\.safetensors"):
        started(data, "owner/files/other.safetensors")
    with pytest.raises(CannotLoad, match=r"Perhaps you want one file of it: owner/files/one\.safetensors"):
        started(data, "owner/files")
    here.gated = True
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(CannotLoad, match=r"accept its terms.*create a token"):
        started(data)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CannotLoad, match="HF_HUB_OFFLINE is set"):
        load("owner/mine", CPU, folder=models_in(data))
    assert not list(data.rglob("*")), "nothing is left of what was not there"


def test_a_folder_that_cannot_be_written_is_said(here, data) -> None:
    data.write_text("a file")
    with pytest.raises(CannotLoad, match="cannot be fetched into"):
        started(data)
