"""Files on the worker's disk: whole or not there, also after a power cut. Knows not what is in them."""

import contextlib
import os
import uuid
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Written beside its place, synced, renamed. Raises OSError, and then leaves nothing behind."""
    # Several workers may keep their files in one folder.
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.write_bytes(data)
        sync(unfinished)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """A file's bytes, or the names in a folder, are on the disk itself: a name may outlive a power cut without them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
