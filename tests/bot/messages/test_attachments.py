"""Files of results are made by a few threads of their own: nobody's answer waits for them, nor do pictures pile up."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.messages import ResultFiles, attachments
from core.job import Job, Kind, Source, State
from tests.harness.headless_bot import HeadlessBot, headless_bot


class Gate:
    """Stands in for the encoder, which does not come to an end until the gate is opened."""

    def __init__(self, encode: Callable[..., bytes]) -> None:
        self._encode = encode
        self.opened = threading.Event()
        self.inside = self.most = 0
        self.threads: set[str] = set()

    def __call__(self, *args: Any) -> bytes:
        self.inside += 1
        self.threads.add(threading.current_thread().name)
        self.most = max(self.most, self.inside)
        self.opened.wait(30)
        self.inside -= 1
        return self._encode(*args)


@contextmanager
def shut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(attachments.encode)
    monkeypatch.setattr(attachments, "encode", gate)
    try:
        yield gate
    finally:
        gate.opened.set()


async def size_of(files: ResultFiles, job: Job) -> int:
    async for attempt in files.tries(job):
        return attempt.size
    return 0


async def done(bot: HeadlessBot) -> Job:
    return await bot.until((await bot.imagine()).id, State.DONE)


async def test_a_first_answer_does_not_wait_for_the_files_of_forty_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with headless_bot(tmp_path) as bot:
        job, files = await done(bot), ResultFiles(bot.images)
        with shut(monkeypatch) as gate:
            made = [asyncio.create_task(size_of(files, job)) for _ in range(40)]
            await asyncio.to_thread(lambda: None)
            async with asyncio.timeout(10):
                await bot.imagine("another boat")
                source = Source(job=job.id, index=0)
                await bot.imagine("another boat", kind=Kind.VARIATION, source=source, strength=0.6)
                await bot.imagine(kind=Kind.CROP, source=source, count=1)
            assert not any(task.done() for task in made)
            gate.opened.set()
            sizes = await asyncio.gather(*made)
        assert set(sizes) == {sizes[0]} and sizes[0] > 0
        assert gate.most <= files.at_once <= 2
        assert {name.partition("_")[0] for name in gate.threads} == {"encode"}, "addresses are looked up in asyncio's"


async def test_pictures_are_read_when_their_turn_comes_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with headless_bot(tmp_path) as bot:
        job, files, read = await done(bot), ResultFiles(bot.images), 0
        really = bot.images.results

        async def results(of: Job) -> Any:
            nonlocal read
            read += 1
            return await really(of)

        monkeypatch.setattr(bot.images, "results", results)
        with shut(monkeypatch) as gate:
            made = [asyncio.create_task(size_of(files, job)) for _ in range(12)]
            while gate.inside < files.at_once:  # noqa: ASYNC110  the encoder's threads tell nobody
                await asyncio.sleep(0.01)
            assert read <= files.at_once
            gate.opened.set()
            await asyncio.gather(*made)


async def test_a_file_that_was_too_large_is_followed_by_a_smaller_one_of_the_same_pictures(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        job, sizes = await done(bot), []
        async for attempt in ResultFiles(bot.images).tries(job):
            sizes.append(attempt.size)
            attempt.refuse()
        assert len(sizes) > 1 and sizes[1] < sizes[0]
