"""How often each shape was asked for, kept on disk, so that the most used one is compiled first.

Knows nothing of tensors or of compiling.
"""

import contextlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path

from worker.compiling import batch_buckets
from worker.file_storage import write_atomically

#: Shapes remembered; the least used goes first.
KEPT = 64


@dataclass(frozen=True, slots=True, order=True)
class Wish:
    """A forward that was asked for: rows in it, and the text of its arguments (`shapes.Call.shape`)."""

    bucket: int
    shape: str


class Tally:
    """Counts. Written by the loop, read by the thread that compiles; `path` None keeps nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._counts: dict[Wish, float] = {}
        self._news = threading.Event()
        # What was asked for before this start counts half: habits change.
        for shape, bucket, count in _rows(path):
            self._counts[Wish(bucket, shape)] = count / 2

    def count(self, rows: int, shape: str) -> None:
        """So many rows were asked for at once."""
        with self._lock:
            for piece in batch_buckets.pieces(rows):
                wish = Wish(piece.bucket, shape)
                if wish not in self._counts:
                    self._news.set()
                self._counts[wish] = self._counts.get(wish, 0) + 1
            while len(self._counts) > KEPT:
                del self._counts[min(self._counts, key=self._counts.__getitem__)]

    def wishes(self) -> list[Wish]:
        """The most used first."""
        with self._lock:
            return sorted(self._counts, key=lambda wish: (-self._counts[wish], wish))

    def wait(self, seconds: float) -> None:
        """Until something new was asked for, or so long."""
        self._news.wait(seconds)
        self._news.clear()

    def wake(self) -> None:
        """Ends the waiting."""
        self._news.set()

    def save(self) -> None:
        """To disk. What cannot be written is only forgotten at the next start."""
        if self._path is None:
            return
        with self._lock:
            rows = [[wish.shape, wish.bucket, count] for wish, count in self._counts.items()]
        with contextlib.suppress(OSError):
            write_atomically(self._path, json.dumps(rows).encode())


def _rows(path: Path | None) -> list[tuple[str, int, float]]:
    """What stands on disk; nothing when that is not a tally."""
    try:
        rows = json.loads(path.read_text("utf-8")) if path else []
        return [(str(shape), int(bucket), float(count)) for shape, bucket, count in rows]
    except (OSError, ValueError, TypeError):
        return []
