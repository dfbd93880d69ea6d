"""ImageStore on the disk: whole or not there, pruned by use, and a disk that fails stops nothing for good."""

import asyncio
import errno
import sqlite3
from pathlib import Path

import pytest

from core.job import Kind, Source, State
from tests.harness.headless_bot import headless_bot


async def test_the_longest_unused_pictures_go_first_when_the_limit_is_reached(tmp_path: Path) -> None:
    now = [1.8e9]
    async with headless_bot(tmp_path, build_with={"clock": lambda: now[0]}) as bot:
        jobs = []
        for number in range(3):
            now[0] += 1
            job = await bot.until((await bot.imagine(f"boat {number}")).id, State.DONE)
            await bot.outbox.posted(job.id, "1")
            jobs.append(job)
        now[0] += 1
        await bot.images.use(jobs[0].id, 0)
        total = await bot.results.total_bytes()
        bot.images._limit_bytes = total // 2
        assert await bot.images.prune() > 0
        assert await bot.results.total_bytes() <= total // 2
        assert await bot.images.read(jobs[0].id, 0) is not None
        assert await bot.images.read(jobs[0].id, 1) is None
        kept = {path.name for path in (tmp_path / "pictures").rglob("*.png")}
        rows = {Path(row.file).name for job in jobs for row in await bot.results.of(job.id) if not row.pruned}
        assert kept == rows


async def test_a_deleted_picture_that_is_drawn_again_for_another_job_does_not_stay(tmp_path: Path) -> None:
    now = [1.8e9]
    async with headless_bot(tmp_path, build_with={"clock": lambda: now[0]}) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        await bot.outbox.posted(grid.id, "1")
        await bot.images.forget(grid)
        source = Source(job=grid.id, index=2)
        near = await bot.until((await bot.imagine(kind=Kind.VARIATION, source=source, strength=0.6)).id, State.DONE)
        await bot.outbox.posted(near.id, "2")
        assert await bot.images.prune() == 0
        assert await bot.images.read(grid.id, 2) is not None, "it may be used again in a moment"
        now[0] += 3700
        assert await bot.images.prune() == 1
        assert await bot.images.read(grid.id, 2) is None and await bot.images.results(near) is not None


async def test_a_result_that_is_not_posted_yet_is_never_pruned(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        job = await bot.until((await bot.imagine()).id, State.DONE)
        bot.images._limit_bytes = 0
        assert await bot.images.prune() == 0
        assert await bot.images.results(job) is not None


async def test_a_half_written_picture_is_swept_away_at_start(tmp_path: Path) -> None:
    half = tmp_path / "pictures" / "ab" / "abc-0.half"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    async with headless_bot(tmp_path, DARKROOM_WORKER="none") as bot:

        async def swept() -> bool:
            return not await asyncio.to_thread(half.exists)

        await bot.eventually(swept, "the sweep")


async def test_a_disk_that_is_full_for_a_while_delays_a_job_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot import image_store

    really, refusals = image_store._write, iter(range(3))

    def full(path: Path, png: bytes) -> str:
        if next(refusals, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(path, png)

    monkeypatch.setattr(image_store, "_write", full)
    async with headless_bot(tmp_path) as bot:
        done = await bot.until((await bot.imagine()).id, State.DONE)
        assert done.attempt == 1
        assert len(await bot.images.results(done)) == 4


async def test_a_locked_database_stops_the_scheduler_only_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with headless_bot(tmp_path) as bot:
        await bot.online()
        for name in ("claim", "started", "finish"):
            _fail_twice(monkeypatch, bot.jobs, name)
        done = await bot.until((await bot.imagine()).id, State.DONE)
        assert done.attempt == 1
        await bot.clean()


def _fail_twice(monkeypatch: pytest.MonkeyPatch, jobs: object, name: str) -> None:
    really, failures = getattr(jobs, name), iter(range(2))

    async def fails(*args: object, **more: object) -> object:
        if next(failures, None) is not None:
            raise sqlite3.OperationalError("database is locked")
        return await really(*args, **more)

    monkeypatch.setattr(jobs, name, fails)


async def test_a_crop_of_a_crop_shows_the_picture_itself(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        crop = await bot.imagine(kind=Kind.CROP, source=Source(job=grid.id, index=2), count=1)
        again = await bot.imagine(kind=Kind.CROP, source=Source(job=crop.id, index=0), count=1)
        assert again.source == Source(job=grid.id, index=2)
        assert await bot.images.results(again) == await bot.images.results(crop)
