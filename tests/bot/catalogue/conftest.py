"""A hub on this machine with a model of its own, and a data folder whose catalogue names it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import weight_files
from tests.harness.model_hub import FakeHub, hub, reachable


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with hub(tmp_path / "hub") as found:
        reachable(monkeypatch, found, tmp_path / "cache")
        weight_files.folder(found.folder / "owner" / "mine")
        yield found


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library rests between its tries."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "models.toml").write_text(
        '[[model]]\nname = "mine"\nwhere = "owner/mine"\nlicence = "OpenRAIL"\nlicence_url = "https://a.example"\n'
        '[[model]]\nname = "one"\nwhere = "owner/files/one.safetensors"\n'
        '[[model]]\nname = "local"\nwhere = "./elsewhere"\n'
    )
    return folder
