"""What models of the hub are called here, and what stays known of them: no name twice, the same again, the licence."""

import json
from pathlib import Path

import pytest

from bot.catalogue import locations
from core.errors import ConfigError
from tests.bot.catalogue.models_command import UNET, models
from tests.harness import weight_files
from tests.harness.model_hub import FakeHub


def row(capsys: pytest.CaptureFixture[str], here: FakeHub, data: Path, name: str) -> str:
    capsys.readouterr()
    assert models(here, data, "list") == 0
    return next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == [name])


@pytest.mark.parametrize("name", ["sdxl", "postcard", "local"])
def test_a_model_does_not_take_the_name_of_a_catalogues_entry(here, data, capsys, name) -> None:
    weight_files.folder(here.folder / "someone" / name)
    assert models(here, data, "add", f"someone/{name}") == 0
    said = capsys.readouterr().out
    assert f"Another model is already called {name}, so this one is called someone-{name}." in said
    assert f"--model someone-{name}" in said
    assert not (data / "models" / name).exists()
    assert "here" in row(capsys, here, data, f"someone-{name}")
    assert models(here, data, "check", f"someone-{name}") == 0


def test_two_repositories_of_one_name_are_two_models(here, data, capsys) -> None:
    for owner in ("a", "b", "x-a"):
        weight_files.folder(here.folder / owner / "mix")
        assert models(here, data, "add", f"{owner}/mix") == 0
    weight_files.checkpoint(here.folder / "x" / "files" / "a-mix.safetensors")
    assert models(here, data, "add", "x/files/a-mix.safetensors") == 0
    homes = sorted(path.name for path in (data / "models").iterdir() if not path.name.startswith("."))
    assert homes == ["a-mix.safetensors", "b-mix", "mix", "x-a-mix"]


def test_a_number_tells_apart_what_owner_and_name_do_not(here, data) -> None:
    for owner in ("a", "b"):
        weight_files.folder(here.folder / owner / "mix")
    weight_files.folder(data / "models" / "mix")
    weight_files.folder(data / "models" / "a-mix")
    assert models(here, data, "add", "a/mix") == 0
    assert (data / "models" / "a-mix-2").is_dir()


def test_adding_the_same_repository_again_is_the_same_model(here, data, capsys) -> None:
    weight_files.folder(here.folder / "someone" / "sdxl")
    weight_files.checkpoint(here.folder / "someone" / "sdxl" / "one.safetensors")
    for _ in range(2):
        assert models(here, data, "add", "someone/sdxl") == 0
        assert models(here, data, "add", "someone/sdxl/one.safetensors") == 0
    assert models(here, data, "add", "Someone/SDXL") == 0
    assert "someone-sdxl is already here" in capsys.readouterr().out
    homes = sorted(path.name for path in (data / "models").iterdir() if not path.name.startswith("."))
    assert homes == ["someone-one.safetensors", "someone-sdxl"]


def test_a_broken_download_keeps_its_name_and_can_go_on_by_it(here, data, capsys, no_waiting) -> None:
    weight_files.folder(here.folder / "someone" / "sdxl")
    home = data / "models" / "someone-sdxl"
    here.breaks_always[UNET] = 0
    with pytest.raises(ConfigError, match="try again"):
        models(here, data, "add", "someone/sdxl")
    here.breaks_always.clear()
    assert locations.part_of(home).is_dir() and not home.exists()
    assert models(here, data, "check", "someone-sdxl") == 1
    assert "python bot.py models add someone-sdxl" in capsys.readouterr().out
    weight_files.folder(here.folder / "other" / "someone-sdxl")
    assert models(here, data, "add", "other/someone-sdxl") == 0
    assert (data / "models" / "other-someone-sdxl").is_dir()
    assert models(here, data, "add", "someone-sdxl") == 0
    assert home.is_dir() and models(here, data, "check", "someone-sdxl") == 0


def test_a_damaged_model_of_the_hub_is_mended_by_its_name(here, data, capsys) -> None:
    weight_files.folder(here.folder / "someone" / "new")
    assert models(here, data, "add", "someone/new") == 0
    (data / "models" / "new" / UNET).unlink()
    assert models(here, data, "check", "new") == 1
    assert "python bot.py models add new" in capsys.readouterr().out
    assert models(here, data, "add", "new", answer="n") == 1
    assert (data / "models" / "new").is_dir(), "who says no keeps what there is"
    assert models(here, data, "add", "new") == 0
    assert models(here, data, "check", "new") == 0


def test_an_entry_does_not_pass_off_anothers_model_as_its_own(here, data, capsys) -> None:
    weight_files.folder(here.folder / "someone" / "later")
    assert models(here, data, "add", "someone/later") == 0
    with (data / "models.toml").open("a") as file:
        file.write('[[model]]\nname = "later"\nwhere = "other/later"\n')
    with pytest.raises(ConfigError, match=r"someone/later is there\. Move it out of that folder, or give the entry"):
        models(here, data, "add", "later")
    assert models(here, data, "add", "someone/later") == 0
    assert "later is already here" in capsys.readouterr().out


def test_files_of_another_revision_are_not_used_again(here, data) -> None:
    """Although they are as long as the new ones."""
    source = weight_files.folder(here.folder / "owner" / "mine")
    config_file = source / "unet" / "config.json"
    assert models(here, data, "add", "mine") == 0
    config_file.write_text(config_file.read_text().replace("64", "32"))
    home = data / "models" / "mine"
    (home / UNET).unlink()
    assert models(here, data, "add", "mine") == 0
    assert (home / "unet" / "config.json").read_text() == config_file.read_text()
    assert models(here, data, "check", "mine") == 0


def test_the_licence_that_the_hub_stated_stays_in_the_list(here, data, capsys) -> None:
    here.licence = "openrail++"
    weight_files.folder(here.folder / "someone" / "new")
    weight_files.checkpoint(here.folder / "owner" / "files" / "one.safetensors")
    for name in ("someone/new", "one", "mine"):
        assert models(here, data, "add", name) == 0
    assert "openrail++" in row(capsys, here, data, "new")
    assert "openrail++" in row(capsys, here, data, "one"), "the entry states none"
    assert "OpenRAIL" in row(capsys, here, data, "mine"), "the entry's word goes first"
    note = data / "models" / ".new.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "licence": ""}))
    assert " – " in row(capsys, here, data, "new")
