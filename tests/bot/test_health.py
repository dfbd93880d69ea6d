"""The sign of life goes when the bot goes, also where its last writing is still under way."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from bot import health


async def test_after_a_clean_stop_nothing_says_that_a_bot_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, write = asyncio.Event(), threading.Event(), health._write
    loop = asyncio.get_running_loop()

    def slowly(folder: Path, said: dict) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(20)
        write(folder, said)

    monkeypatch.setattr(health, "_write", slowly)
    keeping = asyncio.create_task(health.keep_writing(tmp_path, lambda: {"connected": True, "worker": "online"}))
    await begun.wait()
    keeping.cancel()
    loop.call_soon(go_on.set)
    await asyncio.wait([keeping])
    assert keeping.cancelled()
    assert health.check(tmp_path, time.time()) == (False, f"No bot is running on {tmp_path}.")
