"""What is tidied each minute is all tidied, and one thing that fails for a moment keeps no other from it."""

import asyncio
from pathlib import Path

import pytest

from bot.scheduling import housekeeping as module
from tests.harness.headless_bot import headless_bot


async def test_each_round_tidies_pictures_tokens_accounts_and_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOUSEKEEPING_SECONDS", 0.01)
    done: set[str] = set()
    all_done = asyncio.Event()

    def fails(owner: object, name: str) -> None:
        async def work(*_: object) -> None:
            done.add(name)
            if done == {"sweep", "prune", "forget_tokens", "expire", "tidy_counters"}:
                all_done.set()
            raise OSError("not just now")

        monkeypatch.setattr(owner, name, work)

    async with headless_bot(tmp_path, DARKROOM_WORKER="none") as bot:
        for owner, name in (
            (bot.images, "sweep"),
            (bot.images, "prune"),
            (bot.jobs, "forget_tokens"),
            (bot.ledger, "expire"),
            (bot.jobs, "tidy_counters"),
        ):
            fails(owner, name)
        async with asyncio.timeout(20):
            await all_done.wait()
        monkeypatch.undo()
