"""Writes and reads the sign of life that a container's health check looks at. Knows nothing of what the bot does."""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bot.file_storage import write_atomically

log = logging.getLogger(__name__)

_EVERY_SECONDS, _STALE_SECONDS = 5.0, 30.0


def _path(folder: Path) -> Path:
    return folder / "health.json"


async def keep_writing(folder: Path, look: Callable[[], Mapping[str, Any]]) -> None:
    """Writes what `look` says every few seconds, until cancelled; then nothing says any more that a bot lives."""
    try:
        while True:
            try:
                await _to_its_end(_write, folder, {**look(), "pid": os.getpid(), "at": time.time()})
            except OSError as error:
                log.warning("The bot's heartbeat could not be written (%s).", error)
            await asyncio.sleep(_EVERY_SECONDS)
    finally:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(_path(folder).unlink, missing_ok=True)


async def _to_its_end(write: Callable[..., None], *arguments: Any) -> None:
    """In a thread, and waits for it when cancelled too: a late write would bring the sign back."""
    writing = asyncio.ensure_future(asyncio.to_thread(write, *arguments))
    try:
        await asyncio.shield(writing)
    finally:
        await asyncio.wait([writing])


def check(folder: Path, now: float) -> tuple[bool, str]:
    """Whether a bot on this data folder lives and is connected, and a sentence about it."""
    try:
        said = json.loads(_path(folder).read_text(encoding="utf-8"))
        age = abs(now - float(said["at"]))
        connected, worker = bool(said["connected"]), str(said["worker"])
    except FileNotFoundError:
        return False, f"No bot is running on {folder}."
    except (OSError, ValueError, KeyError, TypeError) as error:
        return False, f"The bot's heartbeat in {folder} cannot be read ({error})."
    if age > _STALE_SECONDS:
        return False, f"The last heartbeat of the bot on {folder} was {age:.0f} s ago."
    if not connected:
        return False, "The bot is running, but Discord does not answer it."
    return True, f"The bot is running and connected; its worker is {worker}."


def _write(folder: Path, said: Mapping[str, Any]) -> None:
    write_atomically(_path(folder), json.dumps(said).encode(), to_disk=False)
