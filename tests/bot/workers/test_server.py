"""The server that workers dial: who is let in, and that nobody who was can take the bot down."""

import asyncio
import os
import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from bot.event_bus import Status
from core import events
from core.wire import MAX_HEADER, PREFIX
from tests.bot.workers.worker_by_hand import KEY, MODEL, alone, caller, picture
from tests.harness import weight_files
from tests.harness.headless_bot import HeadlessBot, headless_bot


async def test_who_knows_the_key_is_welcome(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        assert isinstance(await worker.greet(), events.Welcome)
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        await bot.online()


async def test_a_worker_that_stays_without_its_first_model_is_given_jobs_of_the_others(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(events.LoadFailed(sentence="It is not here.", stays=True), events.Models(loaded=(), known=()))
        await bot.online()
        job = await bot.imagine()
        order = await worker.hear()
        assert isinstance(order, events.Submit) and order.job == job.id


async def test_a_worker_that_goes_without_its_first_model_is_given_none(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(
            events.LoadFailed(sentence="It is not here."),
            events.Heartbeat(phase=events.Phase.LOADING, phase_seconds=1.0),
        )
        (connection,) = bot.parts.worker_server.connections.values()

        async def heard() -> bool:
            return connection.beat.phase_seconds == 1.0

        await bot.eventually(heard, "what it said last")
        assert not connection.ready and bot.parts.worker_server.status is Status.LOADING


async def test_workers_that_come_and_go_without_a_model_begin_no_new_absence(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot:
        server = bot.parts.worker_server

        async def away() -> bool:
            return server.status is Status.AWAY

        async def loading() -> bool:
            return server.status is Status.LOADING

        gone = server.since
        async with caller(tmp_path) as worker:
            await worker.greet()
            await bot.eventually(loading, "its first words")
        await bot.eventually(away, "its end")
        assert server.since == gone
        async with caller(tmp_path) as worker:
            await worker.greet()
            await worker.say(events.Ready(model=MODEL, load_ms=1))
            await bot.online()
        await bot.eventually(away, "the end of one that was ready")
        assert server.since > gone


async def test_a_worker_says_which_models_are_loaded_and_the_first_one_counts(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        await bot.online()
        connection = next(iter(bot.parts.worker_server.connections.values()))
        assert connection.loaded == ("postcard",)
        await worker.say(events.Models(loaded=("postcard", "other"), known=(MODEL,)))

        async def heard() -> bool:
            return connection.loaded == ("postcard", "other")

        await bot.eventually(heard, "the second model")


async def test_a_worker_is_told_the_catalogue_behind_its_welcome_and_again_when_it_changes(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        await bot.online()
        job = await bot.imagine()
        assert isinstance(await worker.hear(), events.Submit)
        first = worker.catalogue
        assert first is not None
        assert (first.default, [model.name for model in first.models]) == ("postcard", ["postcard"])
        weight_files.checkpoint(tmp_path / "models" / "mine.safetensors")
        os.utime(tmp_path / "models" / "mine.safetensors", (1, 1))
        await bot.model_registry.look()
        await bot.scheduler.cancel(job.id)
        assert isinstance(await worker.hear(), events.Cancel)
        assert [model.name for model in worker.catalogue.models] == ["postcard", "mine"]


async def test_what_a_worker_says_of_several_models_is_kept_by_name(tmp_path: Path) -> None:
    other = replace(MODEL, name="other", digest="o", edits=("tile",))
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        await worker.say(events.Models(loaded=("other",), known=(MODEL, other)))

        async def known() -> bool:
            return bot.model_registry.get("other") is not None

        await bot.eventually(known, "the other model")
        assert (bot.model_registry.get("other").digest, bot.model_registry.get("other").edits) == ("o", ("tile",))
        await worker.say(events.Models(loaded=(), known=(replace(MODEL, native=-1),)))
        assert await worker.hear() is None


@pytest.mark.parametrize(("key", "protocol"), [("wrong", events.PROTOCOL), (KEY, events.PROTOCOL + 1)])
async def test_a_wrong_key_or_another_version_is_turned_away(tmp_path: Path, key: str, protocol: int) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        assert await worker.greet(key, protocol) is None
        assert not bot.parts.worker_server.connections


async def test_no_order_reaches_who_did_not_prove_the_key(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await bot.imagine()
        await worker.hear()
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        assert await worker.hear() is None


@pytest.mark.parametrize("seed", range(8))
async def test_garbage_ends_its_own_connection_and_nothing_else(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    huge = PREFIX.pack(b"DR", events.PROTOCOL, 0, MAX_HEADER + 1, 0)
    broken = PREFIX.pack(b"DR", events.PROTOCOL, 0, 4, 0) + b"{{{{"
    nested = PREFIX.pack(b"DR", events.PROTOCOL, 0, 20_000, 0) + b"[" * 20_000
    garbage = [huge, broken, nested, dice.randbytes(500)][seed % 4]
    async with alone(tmp_path) as bot, caller(tmp_path) as good:
        await good.greet()
        await good.say(events.Ready(model=MODEL, load_ms=1))
        async with caller(tmp_path) as bad:
            if seed < 4:
                await bad.greet()
            bad.writer.write(garbage)
            while await bad.hear() is not None:
                pass
        job = await bot.imagine()
        submit = await good.hear()
        assert isinstance(submit, events.Submit)
        assert submit.job == job.id


async def test_events_of_jobs_that_a_worker_was_never_given_change_nothing(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        job = await bot.imagine()
        await worker.say(
            events.Done(job=job.id, attempt=0, gpu_ms=1),
            events.Done(job="nosuchjob", attempt=1, gpu_ms=1),
            picture(job.id, data=b"too early"),
            events.Welcome(worker="nonsense"),
            events.Ready(model=MODEL, load_ms=1),
        )
        submit = await worker.hear()
        assert isinstance(submit, events.Submit)
        await worker.say(picture(job.id, data=b"too late", attempt=7), events.Done(job=job.id, attempt=2, gpu_ms=1))
        assert (await bot.jobs.get(job.id)).state == "running"


async def test_pictures_that_are_missing_at_the_end_fail_the_job_free_of_charge(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        job = await bot.imagine()
        await worker.hear()
        await worker.say(picture(job.id), events.Done(job=job.id, attempt=1, gpu_ms=5))
        failed = await bot.until(job.id, "failed")
        assert "all the pictures" in failed.failure
        assert failed.charged_ms == 0
        assert not list((tmp_path / "pictures").rglob("*.png"))
        await bot.clean()


@pytest.mark.parametrize(
    ("heard", "last", "paid"), [([5000], 300, 300), ([5000], 0, 5000), ([5000, 0], 0, 0)],
    ids=["forgiven", "not known any more", "forgiven before"],
)  # fmt: skip
async def test_a_member_pays_what_the_last_word_says_though_more_was_heard_before_it(
    tmp_path: Path, heard: list[int], last: int, paid: int
) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        job = await bot.imagine()
        await worker.hear()
        with bot.bus.watch(job.id) as news:
            for step, gpu_ms in enumerate(heard, start=1):
                await worker.say(events.Progress(job=job.id, attempt=1, step=step, steps=20, gpu_ms=gpu_ms))
            async for item in news:
                if getattr(item, "step", 0) == len(heard):
                    break
        await bot.scheduler.cancel(job.id)
        while not isinstance(await worker.hear(), events.Cancel):
            pass
        await worker.say(events.Cancelled(job=job.id, attempt=1, gpu_ms=last))
        assert (await bot.until(job.id, "cancelled")).gpu_ms == paid


async def test_time_that_no_job_pays_is_booked_as_overhead(tmp_path: Path) -> None:
    async with alone(tmp_path) as bot, caller(tmp_path) as worker:
        await worker.greet()
        for _ in range(3):
            await worker.say(events.OverheadTime(cause="warmup", gpu_ms=40))
        await worker.say(events.Ready(model=MODEL, load_ms=1))
        await bot.online()
        await bot.parts.drain(0.0)
        (row,) = await bot.db.read("SELECT payer, cause, sum(gpu_ms) AS ms FROM usage")
        assert (row["payer"], row["cause"], row["ms"]) == ("house", "warmup", 120)
        assert isinstance(await worker.hear(), events.Shutdown)


async def test_a_far_workers_lost_connection_counts_as_no_death(tmp_path: Path) -> None:
    async with alone(tmp_path, DARKROOM_WORKER_LISTEN="127.0.0.1:0") as bot:
        async with caller(await _port(bot)) as worker:
            await worker.greet()
            await worker.say(events.Ready(model=MODEL, load_ms=1))
            job = await bot.imagine()
            await worker.hear()
        waiting = await bot.until(job.id, "queued")
        assert (waiting.strikes, waiting.solo) == (0, True)


async def _port(bot: HeadlessBot) -> int:
    async def look() -> int:
        return bot.parts.worker_server.port or 0

    return int(await bot.eventually(look, "the port"))


async def test_the_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        async with headless_bot(tmp_path, DARKROOM_WORKER="none") as bot:
            await bot.eventually(lambda: asyncio.to_thread((tmp_path / "worker.key").exists), "the key")
            keys.append((tmp_path / "worker.key").read_text())
    assert keys[0] == keys[1]
    assert len(keys[0]) == 64
    assert stat.S_IMODE((tmp_path / "worker.key").stat().st_mode) == 0o600


async def test_a_data_folder_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    async with headless_bot(data) as bot:
        await bot.online()
        assert not (data / "worker.sock").exists()


async def test_a_worker_that_cannot_be_started_is_said_and_tried_again(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_WORKER_COMMAND="/nonexistent/worker") as bot:

        async def sentence() -> bool:
            return "cannot be started" in bot.scheduler.worker_state().sentence

        await bot.eventually(sentence, "the sentence")
        assert bot.scheduler.worker_state().status is Status.AWAY


async def test_the_worker_dies_with_its_bot_and_gets_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "very-secret-token")
    async with headless_bot(tmp_path) as bot:
        await bot.online()
        pid = bot.parts.worker_server.local.pid
        assert b"very-secret" not in await asyncio.to_thread(Path(f"/proc/{pid}/environ").read_bytes)
        worker = Path(f"/proc/{pid}")

    async def gone() -> bool:
        return not await asyncio.to_thread(worker.exists)

    await bot.eventually(gone, "the worker's end")
