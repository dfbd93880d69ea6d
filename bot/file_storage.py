"""Files on the bot's disk: whole or not there, and how much room is left. Knows not what is in them.

Slow, so callers run it in a thread.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

#: Ending of a file that is still being written; a killed process may leave one.
UNFINISHED = ".half"


def write_atomically(path: Path, data: bytes, *, to_disk: bool = True) -> None:
    """Written beside its place, synced, renamed. Raises OSError, and then leaves nothing behind.

    `to_disk`: False for what need not outlive a power cut. The name outlives one after `sync_folders`.
    """
    unfinished = path.with_suffix(UNFINISHED)
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            if to_disk:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def sync_folders(folders: Iterable[Path]) -> None:
    """Until its folder is synced, a power cut may take a new file's name with it."""
    for folder in folders:
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def nearest_folder(path: Path) -> Path:
    """The path itself, or the first folder above it that is there."""
    while not path.exists():
        path = path.parent
    return path


def free_bytes(path: Path) -> int:
    """Room on the disk of a path, which need not be there yet."""
    return shutil.disk_usage(nearest_folder(path)).free


def is_file(path: Path) -> bool:
    """Whether it is a file or a link to one, and no pipe or device; False where nothing can be there.

    Raises OSError where the disk does not say: that is no word about what is there.
    """
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def is_folder(path: Path) -> bool:
    """Whether it is a folder or a link to one; False, and raises, as `is_file` does."""
    try:
        return path.is_dir()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
