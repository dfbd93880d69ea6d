"""What no worker of ours says: it ends its own connection with one line in the log, and takes nobody's job along."""

import asyncio
import contextlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bot.workers.server import MAX_WAITING
from core import events, wire
from core.job import Lane, MadeWith
from core.wire import PREFIX
from tests.bot.workers.worker_by_hand import KEY, MODEL, alone, caller, picture, png, rubbish
from tests.harness.headless_bot import headless_bot


@pytest.mark.parametrize(
    "nonsense",
    [
        events.OverheadTime(cause="load", gpu_ms=10**30),
        events.Done(job="a", attempt=1, gpu_ms=-1),
        events.Ready(model=replace(MODEL, native=0), load_ms=1),
    ],
)
async def test_a_worker_that_tells_what_cannot_be_loses_its_connection(
    tmp_path: Path, nonsense: events.Message
) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(nonsense)
        assert await worker.hear() is None
        await bot.imagine()


@pytest.mark.parametrize(
    ("index", "data", "size"),
    [
        (0, b"<html>", {}),
        (0, png()[:-20], {}),
        (0, rubbish(), {}),
        (0, png(announced=(30_000, 30_000)), {}),
        (0, png(4096, 2), {"width": 4096, "height": 2}),
        (0, png(32, 32), {"width": 32, "height": 32}),
        (0, png(32, 32), {}),
        (99, png(), {}),
    ],
    ids=["no picture", "torn", "rubbish", "announces gigabytes", "too wide", "small", "small in secret", "not ordered"],
)
async def test_a_picture_that_is_none_ends_its_worker_with_a_line_and_a_second_one_its_job_free_of_charge(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, index: int, data: bytes, size: dict[str, int]
) -> None:
    async with alone(tmp_path) as bot:
        job = await bot.imagine(count=1)
        for attempt in (1, 2):
            async with caller(tmp_path) as worker:
                await worker.greet()
                await worker.say(events.Ready(model=MODEL, load_ms=1))
                assert isinstance(await worker.hear(), events.Submit)
                caplog.clear()
                bad = picture(job.id, index, data, attempt=attempt, **size)
                with contextlib.suppress(ConnectionError):
                    await worker.say(bad, events.Done(job=job.id, attempt=attempt, gpu_ms=5))
                    assert await worker.hear() is None
                row = await bot.until(job.id, "queued" if attempt == 1 else "failed")
            dropped = [record for record in caplog.records if "is dropped" in record.getMessage()]
            assert len(dropped) == 1 and dropped[0].exc_info is None
        assert (row.charged_ms, row.strikes) == (0, 0) and "damaged or of another size" in row.failure
        assert not list((tmp_path / "pictures").rglob("*.png"))
        await bot.clean()


async def test_other_jobs_of_a_worker_that_sent_a_bad_picture_are_made_by_the_next_one(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot:
        bad, good = await bot.imagine(count=1), await bot.imagine(count=1, user="bob")
        async with caller(tmp_path) as worker:
            await worker.greet()
            await worker.say(events.Ready(model=MODEL, load_ms=1))
            await worker.hear()
            await worker.hear()
            await worker.say(picture(bad.id, data=rubbish()))
            assert await worker.hear() is None
        async with caller(tmp_path) as worker:
            await worker.greet()
            await worker.say(events.Ready(model=MODEL, load_ms=1))
            for _ in (bad, good):
                submit = await worker.hear()
                await worker.say(
                    picture(submit.job, attempt=2), events.Done(job=submit.job, attempt=submit.attempt, gpu_ms=5)
                )
            done = [await bot.until(job.id, "done") for job in (bad, good)]
        assert [(job.strikes, job.attempt) for job in done] == [(0, 2), (0, 2)]
        await bot.clean()


@pytest.mark.parametrize("preview", [b"<html>", png()], ids=["no picture", "no JPEG"])
async def test_a_preview_that_cannot_be_shown_ends_its_worker(tmp_path: Path, preview: bytes) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        job = await bot.imagine()
        await worker.hear()
        await worker.say(events.Progress(job=job.id, attempt=1, step=1, steps=4, gpu_ms=1, preview=preview))
        assert await worker.hear() is None


async def test_pictures_that_the_disk_does_not_take_wait_at_the_worker_which_is_not_taken_for_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.workers.server.MAX_UNSTORED", 200_000)
    options = {"silent_seconds": 0.3}
    there = asyncio.Event()
    async with headless_bot(tmp_path, DARKROOM_WORKER="none", DARKROOM_WORKER_KEY=KEY, build_with=options) as bot:
        await bot.eventually(lambda: asyncio.to_thread((tmp_path / "worker.sock").exists), "the door")
        write = bot.images.write

        async def blocked(*args: object) -> object:
            await there.wait()
            return await write(*args)

        monkeypatch.setattr(bot.images, "write", blocked)
        async with caller(tmp_path) as worker:
            await worker.greet()
            await worker.say(events.Ready(model=MODEL, load_ms=1))
            job = await bot.imagine()
            await worker.hear()
            for n in range(50):
                await worker.say(picture(job.id, n % 4))
            await worker.say(events.Done(job=job.id, attempt=1, gpu_ms=5))
            (connection,) = bot.parts.worker_server.connections.values()

            async def waits() -> bool:
                return not connection.is_read

            await bot.eventually(waits, "the reader to wait")
            listener = bot.parts.worker_server.listener
            unstored = listener.unstored(connection)
            assert 200_000 < unstored < 300_000 and not connection.why_closed
            connection.heard_at -= 3600
            assert bot.parts.worker_server._hung(connection, connection.heard_at + 3600) == ""
            there.set()
            assert len(await bot.results.of((await bot.until(job.id, "done")).id)) == 4


@pytest.mark.parametrize("size", [5000, 1 << 20])
async def test_before_its_proof_a_connection_may_say_little(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    async with alone(tmp_path), caller(tmp_path) as worker:
        await worker.hear()
        worker.writer.write(PREFIX.pack(b"DR", events.PROTOCOL, 0, size, 0) + b" " * 4090)
        assert await worker.hear() is None
    assert [record.levelname for record in caplog.records if "was refused" in record.getMessage()] == ["WARNING"]
    assert "error of our own" not in caplog.text


async def test_of_many_that_wait_to_prove_the_key_the_oldest_go_and_the_right_one_is_let_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with alone(tmp_path) as bot, contextlib.AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(caller(tmp_path)) for _ in range(MAX_WAITING + 12)]
        for one in idle:
            await one.hear()
        for gone in idle[:12]:
            assert await gone.hear() is None
        worker = await stack.enter_async_context(caller(tmp_path))
        assert isinstance(await worker.greet(), events.Welcome)
        assert len(bot.parts.worker_server._unproven[True]) == MAX_WAITING - 1
    assert caplog.text.count("connections wait to prove the key") == 1


async def test_what_cannot_be_kept_of_a_workers_word_ends_neither_it_nor_the_bot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:

        async def breaks(*_: object) -> None:
            raise ValueError("no such thing")

        monkeypatch.setattr(bot.model_registry, "told", breaks)
        await worker.greet()
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        await bot.online()

        async def said() -> bool:
            return "could not be kept" in caplog.text

        await bot.eventually(said, "the line")
        await bot.imagine()
        assert isinstance(await worker.hear(), events.Submit)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "\ud800"},
        {"guidance": float("nan")},
        {"steps": 10**400},
        {"name": "a\nb"},
        {"native": 8, "multiple": 16},
    ],
    ids="-".join,
)
async def test_a_model_that_cannot_be_is_told_to_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, object]
) -> None:
    frame = wire.encode(events.Ready(model=MODEL, load_ms=1))
    header = json.loads(frame[PREFIX.size :])
    header["model"] |= changes
    text = json.dumps(header).encode()
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        worker.writer.write(PREFIX.pack(b"DR", events.PROTOCOL, 0, len(text), 0) + text)
        assert await worker.hear() is None
        assert set(bot.model_registry.choices.models) == {"postcard"}
        await bot.imagine()
    assert [record.getMessage().isprintable() for record in caplog.records if "is dropped" in record.msg] == [True]


def frame(kind: str, **fields: object) -> bytes:
    """As nobody's encoder writes it."""
    text = json.dumps({"type": kind, **fields}).encode()
    return PREFIX.pack(b"DR", events.PROTOCOL, 0, len(text), 0) + text


@pytest.mark.parametrize(
    "many",
    [
        frame("Heartbeat", phase="idle", phase_seconds=0, jobs=[["a", 1]] * 5000),
        frame("Heartbeat", phase="idle", phase_seconds=0, computing=["a"] * 5000),
        frame("Models", loaded=["a"] * 1001, known=[]),
        frame("Models", loaded=[], known=[{}] * 1001),
    ],
    ids=["jobs", "computing", "loaded", "known"],
)
async def test_more_than_any_worker_has_ends_its_connection_before_it_is_looked_at(tmp_path: Path, many: bytes) -> None:
    async with alone(tmp_path), caller(tmp_path) as worker:
        await worker.greet()
        worker.writer.write(many)
        assert await worker.hear() is None


async def test_a_worker_that_loads_models_without_end_loses_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_MODELS", 5)
    async with alone(tmp_path), caller(tmp_path) as worker:
        await worker.greet()
        for number in range(6):
            await worker.say(events.Ready(model=replace(MODEL, name=f"m{number}"), load_ms=1))
        assert await worker.hear() is None


async def test_between_two_words_of_a_worker_that_says_thousands_the_others_have_their_turn(tmp_path: Path) -> None:
    turns, at = 0, []
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        server = bot.parts.worker_server
        received = server._received
        server._received = lambda *said: (at.append(turns), received(*said))
        await worker.greet()
        running = asyncio.create_task(others())
        await worker.say(*[events.OverheadTime(cause=f"c{number}", gpu_ms=1) for number in range(500)])

        async def all_there() -> bool:
            return len(at) == 500

        await bot.eventually(all_there, "all of them")
        running.cancel()
    assert all(later > sooner for sooner, later in itertools.pairwise(at))


async def test_more_gpu_time_than_has_passed_is_nobodys_price(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    year = 366 * 86_400_000
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        job = await bot.imagine(count=1)
        await worker.hear()
        made = MadeWith(model="postcard", digest="0", dtype="float32", device="fake", engine="1")
        await worker.say(
            events.Started(job=job.id, attempt=1, made_with=made),
            events.Progress(job=job.id, attempt=1, step=1, steps=4, gpu_ms=year),
            picture(job.id),
            events.Done(job=job.id, attempt=1, gpu_ms=year),
        )
        await bot.until(job.id, "done")

        async def learned() -> int:
            return bot.admission._costs._learned.get("postcard") is not None

        await bot.eventually(learned, "what was learned")
        assert await bot.admission.price_ms(job.request, Lane.FAST) < 700_000
        await bot.clean()
    assert "which cannot be" in caplog.text


async def test_what_a_listener_makes_a_mistake_with_ends_neither_the_connection_nor_the_bot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        server = bot.parts.worker_server
        listener = server.listener

        class Breaks:
            def __getattr__(self, name: str) -> object:
                return getattr(listener, name)

            def received(self, connection: object, event: events.Message) -> None:
                if isinstance(event, events.OverheadTime):
                    raise ValueError("no such thing")
                listener.received(connection, event)

        server.listener = Breaks()
        await worker.greet()
        await worker.say(events.OverheadTime(cause="load", gpu_ms=1), events.Ready(model=MODEL, load_ms=1))
        async with asyncio.timeout(20):
            await bot.online()
    assert "could not be handled (received)" in caplog.text
