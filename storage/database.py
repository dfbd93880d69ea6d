"""Opens the one database of a data folder and gives out transactions and reads. Knows no table.

One process at a time (a lock file), one writing connection, one reading connection, and one for housekeeping, whose
long looks delay nobody's answer. `transaction()` is the only way to write: tasks that share a connection without it
lose acknowledged writes in each other's rollbacks.
"""

import asyncio
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import aiosqlite

from core.errors import AlreadyRunning, ConfigError, DiskFull

SCHEMA = Path(__file__).parent / "schema"
FILE = "darkroom.sqlite3"
LOCK = "darkroom.lock"
NEEDED = (3, 37, 0)  # STRICT tables

Params = Mapping[str, Any]
Trace = Callable[[str, Literal["before", "after"]], None]
_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|COMMIT)\b", re.IGNORECASE)


class Tx:
    """The writing connection while a transaction is open."""

    def __init__(self, connection: aiosqlite.Connection, trace: Trace | None) -> None:
        self._connection = connection
        self._trace = trace

    async def execute(self, sql: str, params: Params | None = None) -> list[sqlite3.Row]:
        """Runs one statement and returns its rows (those of RETURNING, for a write)."""
        traced = self._trace if _WRITES.match(sql) else None
        if traced:
            traced(sql, "before")
        rows = await self._connection.execute_fetchall(sql, params or {})
        if traced:
            traced(sql, "after")
        return list(rows)

    async def one(self, sql: str, params: Params | None = None) -> sqlite3.Row | None:
        """The first row, or None."""
        rows = await self.execute(sql, params)
        return rows[0] if rows else None


class Database:
    """See the module. `trace`, when set, is called before and after every write statement and COMMIT."""

    def __init__(self, path: Path, clock: Callable[[], float], writer: aiosqlite.Connection,
                 reader: aiosqlite.Connection, surveyor: aiosqlite.Connection) -> None:  # fmt: skip
        self.path = path
        self.clock = clock
        self.trace: Trace | None = None
        self._writer = writer
        self._reader = reader
        self._surveyor = surveyor
        self._lock = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, *, clock: Callable[[], float] = time.time) -> AsyncIterator[Self]:
        """Opens, and makes where needed, the database of a data folder. Raises AlreadyRunning, ConfigError."""
        _make(folder)
        with _only_process(folder):
            path = folder / FILE
            path.touch(mode=0o600)  # prompts and tokens are nobody else's; -wal and -shm inherit this
            _migrate(path)
            async with _connect(path) as writer, _connect(path) as reader, _connect(path) as surveyor:
                for connection in (reader, surveyor):
                    await connection.execute_fetchall("PRAGMA query_only = ON")
                yield cls(path, clock, writer, reader, surveyor)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """One write transaction: all of the block, or nothing of it, also when the task is cancelled at any await.

        Does not nest. No network and no sleep inside. A full disk raises DiskFull; everything is rolled back then.
        """
        if self._owner is asyncio.current_task():
            raise RuntimeError("A transaction inside a transaction would wait for itself.")
        async with self._lock:
            self._owner = asyncio.current_task()
            try:
                # A cancelled BEGIN may still have begun in the connection's thread, so it stands inside the try.
                await self._writer.execute_fetchall("BEGIN IMMEDIATE")
                tx = Tx(self._writer, self.trace)
                yield tx
                await _to_the_end(tx.execute("COMMIT"))
            except BaseException as error:
                await _to_the_end(self._writer.rollback())
                if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
                    raise DiskFull("The disk is full, so nothing new can be saved. Free some space, then try again."
                                   ) from error  # fmt: skip
                raise
            finally:
                self._owner = None

    async def read(self, sql: str, params: Params | None = None) -> list[sqlite3.Row]:
        """Rows as of the last commit, without waiting for writers. First answers wait for it, so it has to be quick."""
        return list(await self._reader.execute_fetchall(sql, params or {}))

    async def survey(self, sql: str, params: Params | None = None) -> list[sqlite3.Row]:
        """The same for housekeeping: it may take long, and nobody's answer waits behind it."""
        return list(await self._surveyor.execute_fetchall(sql, params or {}))


def _make(folder: Path) -> None:
    """Makes the data folder where needed. Raises ConfigError when it cannot be one."""
    reason = None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    if reason is None and not os.access(folder, os.W_OK | os.X_OK):
        reason = "it cannot be written to"
    if reason is not None:
        raise ConfigError(f"{folder} cannot hold Darkroom's data ({reason}). Set DARKROOM_DATA to one that you own.")


async def _to_the_end(work: Awaitable[Any]) -> None:
    """Awaits the work even when this task is cancelled meanwhile, and lets the cancellation through afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: S110  raised by task.result() below
            pass
    task.result()
    if cancelled is not None:
        raise cancelled


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the kernel lets go of it however this process ends."""
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(
                f"Darkroom is already running on {folder} (process {file.read().strip() or 'unknown'}). "
                "Stop that one first, or set DARKROOM_DATA to another folder."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@asynccontextmanager
async def _connect(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        connection.row_factory = sqlite3.Row
        # Inner pages of large trees stay in memory: 32 MiB, taken as they are read.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000",
                       "cache_size = -32768"):  # fmt: skip
            await connection.execute_fetchall(f"PRAGMA {pragma}")
        yield connection


def migrations(folder: Path = SCHEMA) -> list[Path]:
    """The numbered files in order. Raises ConfigError when one is missing."""
    found = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    numbers = [int(file.name[:4]) for file in found]
    if numbers != list(range(1, len(found) + 1)):
        raise ConfigError(f"The migrations in {folder} are not numbered one by one: {numbers}. Install Darkroom again.")
    return found


def _migrate(path: Path) -> None:
    """Brings the schema up to this program's, one migration a transaction; refuses a newer one."""
    if sqlite3.sqlite_version_info < NEEDED:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed. Use a newer Python.")
    files = migrations()
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        if not connection.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()[0]:
            raise ConfigError("This SQLite has no full-text search (FTS5). Use another build of Python or of SQLite.")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(files):
            raise ConfigError(
                f"{path} was written by a newer Darkroom (schema {version}, this program knows {len(files)}). "
                "Update Darkroom, or set DARKROOM_DATA to another folder."
            )
        for number, file in enumerate(files[version:], start=version + 1):
            connection.executescript(f"BEGIN IMMEDIATE;\n{file.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;")
    finally:
        connection.close()
