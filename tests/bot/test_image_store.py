"""ImageStore on the disk: whole or not there, pruned by use, and a disk that fails stops nothing for good."""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.image_store import ImageStore
from bot.scheduling import job_runner
from core.errors import PicturesAway
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


async def test_a_folder_that_is_not_ours_keeps_no_half_written_picture_from_being_swept_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    half = tmp_path / "pictures" / "zz" / "zzz-0.half"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    foreign = tmp_path / "pictures" / "lost+found"
    foreign.mkdir()
    (tmp_path / "pictures" / "circle").symlink_to("circle")
    scan = os.scandir

    def forbidden(place: str | Path) -> object:
        if str(place) == str(foreign):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(place)

    monkeypatch.setattr("bot.image_store.os.scandir", forbidden)
    async with headless_bot(tmp_path, DARKROOM_WORKER="none") as bot:

        async def swept() -> bool:
            return not await asyncio.to_thread(half.exists)

        await bot.eventually(swept, "the sweep")
    assert caplog.text.count("is not looked through (Permission denied)") == 1
    assert "Housekeeping failed" not in caplog.text


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


def _refuse_reading(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> None:
    """Reading pictures fails so often with this error."""
    really, refusals = Path.read_bytes, iter(range(times))

    def read_bytes(path: Path) -> bytes:
        if path.suffix == ".png" and next(refusals, None) is not None:
            raise OSError(number, os.strerror(number), str(path))
        return really(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
async def test_a_picture_that_cannot_be_read_just_now_is_still_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        _refuse_reading(monkeypatch, number, times=1)
        with pytest.raises(PicturesAway):
            await bot.images.read(grid.id, 0)
        assert len(await bot.images.results(grid)) == 4


@pytest.mark.parametrize("remains", [False, True], ids=["folder away", "disk not mounted"])
async def test_a_folder_that_is_away_for_a_moment_loses_no_picture(tmp_path: Path, remains: bool) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        folder, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
        folder.rename(elsewhere)
        if remains:
            folder.mkdir()
        with pytest.raises(PicturesAway):
            await bot.images.read(grid.id, 0)
        if remains:
            folder.rmdir()
        elsewhere.rename(folder)
        assert len(await bot.images.results(grid)) == 4


async def test_a_file_that_comes_back_before_the_second_look_was_never_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        _refuse_reading(monkeypatch, errno.ENOENT, times=1)
        assert await bot.images.read(grid.id, 0) is not None


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\x89PNG")])
async def test_a_missing_or_damaged_picture_is_drawn_again_for_the_job_that_starts_from_it(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        source = Source(job=grid.id, index=2)
        before = await bot.images.read(grid.id, 2)
        await asyncio.to_thread(harm, tmp_path / "pictures" / (await bot.results.get(grid.id, 2)).file)
        near = await bot.imagine(kind=Kind.VARIATION, source=source, strength=0.6)
        await bot.until(near.id, State.DONE)
        assert await bot.images.read(grid.id, 2) == before


async def test_a_job_waits_for_a_disk_that_is_away_and_then_starts_from_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        await bot.scheduler.pause()
        near = await bot.imagine(kind=Kind.VARIATION, source=Source(job=grid.id, index=2), strength=0.6)
        _refuse_reading(monkeypatch, errno.EIO, times=3)
        await bot.scheduler.resume()
        done = await bot.until(near.id, State.DONE)
        assert done.attempt == 1 and len(await bot.images.results(grid)) == 4


async def test_a_job_whose_picture_stays_out_of_reach_fails_free_of_charge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "AWAY_SECONDS", 0.2)
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        await bot.scheduler.pause()
        near = await bot.imagine(kind=Kind.VARIATION, source=Source(job=grid.id, index=2), strength=0.6)
        _refuse_reading(monkeypatch, errno.EIO, times=10**6)
        await bot.scheduler.resume()
        failed = await bot.until(near.id, State.FAILED)
        assert "cannot be read" in (failed.failure or "") and failed.charged_ms == 0


async def test_a_disk_that_does_not_say_how_full_it_is_refuses_new_jobs_with_a_sentence(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_WORKER="none") as bot:
        unreachable = tmp_path / ("x" * 300)
        images = ImageStore(unreachable, bot.db, bot.results, bot.jobs, limit_bytes=1, free_bytes=1)
        with pytest.raises(PicturesAway):
            await images.check_room()


async def test_a_deleted_picture_whose_file_stays_is_shown_to_nobody_and_the_other_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith("-1.png"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        really(path, missing_ok=missing_ok)

    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", unlink)
            with pytest.raises(PermissionError):
                await bot.images.forget(grid)
        assert [await bot.images.read(grid.id, index) for index in range(4)] == [None] * 4
        assert [path.name[-6:] for path in (tmp_path / "pictures").rglob("*.png")] == ["-1.png"]
        await bot.images.forget(grid)
        assert not list((tmp_path / "pictures").rglob("*.png"))
