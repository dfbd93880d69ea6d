"""The doctor says what the worker will not have, and never finds all in place where nothing can be drawn."""

from pathlib import Path

import pytest

from bot import doctor
from bot.catalogue import checkpoint_files
from bot.config import Config
from tests.harness import weight_files


def config(data: Path, **environ: str) -> Config:
    told = {"DARKROOM_DATA": str(data), "DARKROOM_WORKER": "local", **environ}
    return Config.from_env(told, data / "no.env")


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(("setting", "command"), [("sdxl", "models add sdxl"), ("some/model", "models add some/model")])
def test_a_usual_model_that_is_not_here_is_wrong_and_its_command_is_said(
    tmp_path: Path, setting: str, command: str
) -> None:
    found = doctor._model(config(tmp_path, DARKROOM_MODEL=setting))
    assert found.ok is False
    assert "is not here (not downloaded)" in found.sentence and f"`python bot.py {command}`" in found.sentence
    model, why = doctor._at_hand(config(tmp_path, DARKROOM_MODEL=setting))
    assert model == "postcard" and "tried with postcard instead" in why


def test_a_bot_without_a_worker_of_its_own_asks_for_no_model_here(tmp_path: Path) -> None:
    assert doctor._model(config(tmp_path, DARKROOM_MODEL="sdxl", DARKROOM_WORKER="none")).ok is True


def test_a_single_file_is_tried_as_the_worker_would_use_it(tmp_path: Path) -> None:
    path = weight_files.checkpoint(tmp_path / "models" / "mine.safetensors")
    assert doctor._at_hand(config(tmp_path, DARKROOM_MODEL="mine")) == (str(path), "")
    assert doctor._model(config(tmp_path, DARKROOM_MODEL="mine")).ok is True


def test_a_usual_model_whose_folder_cannot_be_gone_through_is_wrong_in_one_sentence(
    tmp_path: Path, monkeypatch
) -> None:
    folder = weight_files.folder(tmp_path / "elsewhere")
    for number in range(30):
        (folder / "unet" / f"sample{number}.png").touch()
    monkeypatch.setattr(checkpoint_files, "MOST_FILES", 25)
    found = doctor._model(config(tmp_path, DARKROOM_MODEL=str(folder)))
    assert found.ok is False and "cannot be read (more than 25 files and folders)" in found.sentence
