"""A file of the bot's is whole or not there, and room on a disk is known before its folder is."""

from pathlib import Path

import pytest

from bot.file_storage import UNFINISHED, free_bytes, sync_folders, write_atomically


@pytest.mark.parametrize("to_disk", [True, False])
def test_a_file_takes_the_place_of_the_one_before_and_leaves_nothing_beside_it(tmp_path: Path, to_disk: bool) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"before")
    write_atomically(path, b"after", to_disk=to_disk)
    sync_folders([tmp_path])
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_put_into_its_place_is_taken_away_again(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()
    with pytest.raises(OSError, match="state"):
        write_atomically(path, b"after")
    assert not path.with_suffix(UNFINISHED).exists()


def test_room_is_told_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0
