"""Opens the database, or says what keeps it shut and the cure. Knows none of its tables."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from core.errors import ConfigError
from storage.database import FILE, Database

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@asynccontextmanager
async def database(folder: Path, *, clock: Callable[[], float]) -> AsyncIterator[Database]:
    """The one of this data folder. Raises AlreadyRunning, ConfigError."""
    async with AsyncExitStack() as stack:
        try:
            db = await stack.enter_async_context(Database.open(folder, clock=clock))
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(why(folder / FILE, error)) from error
        yield db


def is_damaged(error: BaseException) -> bool:
    """Whether the file itself is broken, which no waiting mends."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def why(path: Path, error: Exception) -> str:
    """A sentence about an error of the database."""
    if is_damaged(error):
        cure = "Put a backup in its place, or move it away: the next start makes an empty one."
        return f"The database {path} is damaged ({error}). {cure}"
    reason = getattr(error, "strerror", None) or error
    return f"The database {path} cannot be opened ({reason}). Let this user read and write it and its folder."
