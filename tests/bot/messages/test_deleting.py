"""What somebody deletes goes wherever its result is on its way at that moment, and nothing of it comes afterwards."""

import asyncio

import pytest

from bot.messages import JobButton, Verb
from core.job import State
from tests.bot.messages.refused_channels import hidden, late, told_at_once
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, running_bot, sandboxed_bot

ALWAYS_NEW = {"DARKROOM_NEW_MESSAGE_AFTER": "0"}


async def test_delete_takes_the_result_away_while_its_progress_message_goes(tmp_path):
    async with sandboxed_bot(tmp_path, **ALWAYS_NEW) as bot:
        await bot.control.fault("DELETE", "/webhooks/**", delay_ms=4000, drop="before", times=1)
        first = await bot.imagine("a red boat")
        await bot.control.wait(as_="alice", channel="general", button="ⓘ", timeout_ms=15_000)
        (new,) = await bot.posted()
        job = await bot.job(new)

        async def noted():
            return (await bot.parts.services.outbox.get(job.id)).message == new["id"]

        await eventually(noted, seconds=3.0)
        about = await bot.press(new, "ⓘ")
        await bot.control.press(as_="alice", message=about["id"], label="Delete")
        await bot.until(new, deleted=True)
        await bot.until(first, deleted=True)


async def test_a_result_that_arrives_while_its_job_is_deleted_is_taken_away(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 20", **ALWAYS_NEW) as bot:
        await bot.control.fault("POST", "/channels/*/messages", delay_ms=1000, times=1)
        job = await bot.job(await bot.imagine("a red boat"))

        async def on_its_way():
            delivery = await bot.parts.services.outbox.get(job.id)
            return delivery is not None and delivery.tries

        await eventually(on_its_way)
        await bot.parts.services.outbox.deleted(job.id)

        async def asked():
            return [r for r in await bot.requests("DELETE", "/") if r["status"] == 204]

        await eventually(asked)
        assert await bot.posted() == []


async def test_a_direct_message_that_arrives_while_its_job_is_deleted_is_taken_away(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50", **ALWAYS_NEW) as bot:
        told_at_once(bot)
        direct = await bot.control.create("channels", type="dm", name="dave")
        await bot.control.fault("POST", f"/channels/{direct['id']}/messages", delay_ms=1500, times=1)
        _, job = await hidden(bot, "a red boat")
        await late(bot, job)
        await bot.parts.services.outbox.deleted(job.id)

        async def gone():
            return [r for r in await bot.requests("DELETE", "/channels/") if r["status"] == 204]

        await eventually(gone)
        assert await bot.posted("dm", as_="dave") == []


async def test_deleting_a_job_that_runs_waits_for_its_end_and_leaves_nothing_of_it(tmp_path, monkeypatch):
    async with sandboxed_bot(tmp_path) as bot:
        services = bot.parts.services
        running = frozenset({State.RUNNING})
        bot.client.cards.add(JobButton(verb=Verb.INFO, states=running, row=0, order=9, label="ⓘ"))
        writing, there, write = asyncio.Event(), asyncio.Event(), services.images.write

        async def slow(*picture):
            writing.set()  # the worker has drawn it: it is too late to stop it
            await there.wait()
            return await write(*picture)

        monkeypatch.setattr(services.images, "write", slow)
        first = await bot.imagine("a red boat")
        job = await bot.job(first)
        shown = await bot.until(first, button="ⓘ")
        about = await bot.press(shown, "ⓘ")
        await writing.wait()
        await bot.control.press(as_="alice", message=about["id"], label="Delete")

        async def stopping():
            return (await services.jobs.get(job.id)).cancel_requested

        await eventually(stopping)
        there.set()
        await bot.until(about, content_contains="Deleted.")

        async def settled():
            return (await services.jobs.get(job.id)).is_final and not await services.outbox.undelivered(1e12)

        await eventually(settled)
        assert await bot.control.messages(as_="bob", channel="general") == []
        assert not list((tmp_path / "data" / "pictures").rglob("*.png"))


@pytest.mark.parametrize("killed", [False, True], ids=["lives", "killed"])
async def test_a_result_that_got_through_without_a_word_is_found_and_removed_once_its_job_is_deleted(tmp_path, killed):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", **ALWAYS_NEW) as bot:
            await sandbox.control.fault("POST", "/channels/*/messages", delay_ms=300, drop="after", times=1)
            job = await bot.job(await bot.imagine("a red boat"))

            async def on_its_way():
                delivery = await bot.parts.services.outbox.get(job.id)
                return delivery is not None and delivery.tries

            await eventually(on_its_way)
            if killed:
                bot.client.delivery._remove = lambda *_: asyncio.Event().wait()
            await bot.parts.services.outbox.deleted(job.id)
            if not killed:
                await removed(bot, job)
                return
            await sandbox.control.wait(as_="alice", channel="general", button="ⓘ", timeout_ms=15_000)
        async with running_bot(sandbox, tmp_path / "data") as bot:
            await removed(bot, job)


async def removed(bot, job):
    async def settled():
        return (await bot.parts.services.outbox.get(job.id)).state == "undeliverable"

    await eventually(settled)
    assert await bot.posted() == [] and (await bot.requests("DELETE", "/channels/"))[-1]["status"] == 204
