"""What lies in the models folder and in the hub's cache may be anything: a worker looks at it and goes on."""

import os
from pathlib import Path

import pytest

from tests.harness import weight_files
from tests.harness.time_limit import no_longer_than
from worker.checkpoint_formats import read_header, read_model_index
from worker.checkpoints import locator
from worker.errors import CannotLoad


@pytest.mark.parametrize("text", [b"\xff\xfe", b"a\0b", b"x" * 5000, None], ids=["bytes", "zero", "long", "pipe"])
def test_a_hub_cache_that_says_something_odd_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes | None
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    refs = tmp_path / "models--owner--mine" / "refs"
    refs.mkdir(parents=True)
    if text is None:
        os.mkfifo(refs / "main")
    else:
        (refs / "main").write_bytes(text)
    with no_longer_than(20):
        assert locator._snapshot("owner/mine") is None


@pytest.mark.parametrize("text", ["[" * 100_000, None], ids=["brackets", "pipe"])
def test_a_note_that_nobody_wrote_is_none(tmp_path: Path, text: str | None) -> None:
    weight_files.folder(tmp_path / "mine")
    if text is None:
        os.mkfifo(tmp_path / ".mine.json")
    else:
        (tmp_path / ".mine.json").write_text(text)
    with no_longer_than(20):
        assert locator.note_of(tmp_path / "mine") is None
        assert locator._find("owner/mine", "", "mine", tmp_path) == tmp_path / "mine"


@pytest.mark.parametrize("text", ["[" * 100_000, None], ids=["brackets", "pipe"])
def test_an_index_that_is_none_is_said(tmp_path: Path, text: str | None) -> None:
    folder = weight_files.folder(tmp_path / "mine")
    (folder / "model_index.json").unlink()
    if text is None:
        os.mkfifo(folder / "model_index.json")
    else:
        (folder / "model_index.json").write_text(text)
    with no_longer_than(20):
        assert not locator._is_whole(folder, {})
        with pytest.raises(CannotLoad, match=r"model_index\.json"):
            read_model_index(folder, "mine")


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.safetensors")
    with no_longer_than(20), pytest.raises(CannotLoad, match="is not a file"):
        read_header(tmp_path / "mine.safetensors")
