"""Keeps objects on disk: one table, one transaction per change of the world. Knows nothing of what the objects mean.

WAL with synchronous=NORMAL: a committed change outlives a SIGKILL of this process, which is the promise; it may be lost
when the whole machine loses power, which a sandbox does not promise against.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from sandbox.value_types import Json

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS objects(kind TEXT, id TEXT, json TEXT NOT NULL, PRIMARY KEY(kind, id)) WITHOUT ROWID"
)


class ObjectStore:
    """The file `world.sqlite3` in the data folder."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
        try:
            self._begin()
        except BaseException:
            self._db.close()
            raise

    def _begin(self) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "locking_mode=EXCLUSIVE"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute("BEGIN EXCLUSIVE")
        self._db.execute(SCHEMA)
        self._db.execute("COMMIT")

    def load(self) -> Iterator[tuple[str, str, str]]:
        """Every object as (kind, id, JSON text), in the order of their ids."""
        yield from self._db.execute("SELECT kind, id, json FROM objects ORDER BY kind, length(id), id")

    def write(self, changes: Iterable[tuple[str, str, Json | None]]) -> None:
        """Put (or, with None, remove) objects, all or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for kind, key, value in changes:
                if value is None:
                    self._db.execute("DELETE FROM objects WHERE kind=? AND id=?", (kind, key))
                else:
                    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
                    self._db.execute("INSERT OR REPLACE INTO objects VALUES(?, ?, ?)", (kind, key, text))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()
