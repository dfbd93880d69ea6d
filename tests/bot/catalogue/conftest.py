"""A hub on this machine with a model of its own, and a data folder whose catalogue names it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.model_hub import FakeHub, hub_with_a_model, try_again_at_once


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with hub_with_a_model(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    try_again_at_once(monkeypatch)


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
