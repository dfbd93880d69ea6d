"""What is tidied by itself while the bot runs."""

import asyncio
import time
from pathlib import Path

import pytest

from bot.scheduling import housekeeping
from core.job import State
from tests.harness.headless_bot import headless_bot


async def test_the_token_of_an_interaction_leaves_the_database_once_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "HOUSEKEEPING_SECONDS", 0.05)
    monkeypatch.setattr(housekeeping, "_TOKENS_AT_ONCE", 2)
    later = {"now": 0.0}
    async with headless_bot(tmp_path, build_with={"clock": lambda: time.time() + later["now"]}) as bot:
        jobs = [await bot.imagine(f"a red boat {number}") for number in range(3)]
        await bot.until(jobs[-1].id, State.DONE)
        assert all([(await bot.jobs.get(job.id)).where.token for job in jobs])
        later["now"] = 1000.0

        async def forgotten() -> bool:
            return not any([(await bot.jobs.get(job.id)).where.token for job in jobs])

        await bot.eventually(forgotten, "the tokens' end")


async def test_each_round_tidies_pictures_tokens_accounts_and_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "HOUSEKEEPING_SECONDS", 0.01)
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
