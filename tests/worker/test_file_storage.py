"""A file of the worker's is whole or not there, whichever worker writes it."""

from pathlib import Path

import pytest

from worker.file_storage import write_atomically


def test_a_file_and_its_folder_are_made_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "counts.json"
    for text in (b"before", b"after"):
        write_atomically(path, text)
    assert path.read_bytes() == b"after"
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_put_into_its_place_is_taken_away_again(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="counts"):
        write_atomically(path, b"after")
    assert list(tmp_path.iterdir()) == [path]
