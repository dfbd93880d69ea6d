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
MAX_SHAPES = 64


@dataclass(frozen=True, slots=True, order=True)
class ShapeRequest:
    """A forward that was asked for: rows in it, and the text of its arguments (`call_signature.Call.shape`)."""

    bucket: int
    shape: str


class ShapeCounts:
    """The counts. Written by the loop, read by the thread that compiles; `path` None keeps nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._counts: dict[ShapeRequest, float] = {}
        self._news = threading.Event()
        # What was asked for before this start counts half: habits change.
        for shape, bucket, count in _rows(path):
            self._counts[ShapeRequest(bucket, shape)] = count / 2

    def count(self, rows: int, shape: str) -> None:
        """So many rows were asked for at once."""
        with self._lock:
            for piece in batch_buckets.pieces(rows):
                request = ShapeRequest(piece.bucket, shape)
                if request not in self._counts:
                    self._news.set()
                self._counts[request] = self._counts.get(request, 0) + 1
            while len(self._counts) > MAX_SHAPES:
                del self._counts[min(self._counts, key=self._counts.__getitem__)]

    def most_used(self) -> list[ShapeRequest]:
        """The most used first."""
        with self._lock:
            return sorted(self._counts, key=lambda request: (-self._counts[request], request))

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
            rows = [[request.shape, request.bucket, count] for request, count in self._counts.items()]
        with contextlib.suppress(OSError):
            write_atomically(self._path, json.dumps(rows).encode())


def _rows(path: Path | None) -> list[tuple[str, int, float]]:
    """What stands on disk; nothing when those are no counts."""
    try:
        rows = json.loads(path.read_text("utf-8")) if path else []
        return [(str(shape), int(bucket), float(count)) for shape, bucket, count in rows]
    except (OSError, ValueError, TypeError):
        return []
