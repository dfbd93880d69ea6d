"""/queue as members use it: their own jobs, privately, and a way to be rid of them."""

import asyncio

from bot.messages import Button, Card, ComponentId
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, labels, running_bot, sandboxed_bot

STUCK = "--load-seconds 60"
MANY = {"DARKROOM_WAITING": "50", "DARKROOM_FAST_MINUTES": "100"}


async def pressed(bot, message, label, as_="alice"):
    """The list as a press leaves it."""
    answered = await bot.control.press(as_=as_, message=message["id"], label=label)
    assert answered["response"]["kind"] in ("update", "deferred_update"), answered["response"]
    return await bot.until(message, as_=as_)


async def test_the_queue_is_private_and_shows_place_time_lane_and_link_of_ones_own_jobs(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 200") as bot:
        assert "`/imagine` starts one" in (await bot.answer("queue"))["content"]
        first = await bot.imagine("a red boat --steps 100")
        await bot.until(first, content_contains="%")
        await bot.answer("worker pause", as_="alice")
        second = await bot.imagine("a blue *boat* --relax")
        await bot.imagine("somebody else's", as_="dave")
        told = await bot.answer("queue")
        assert told["ephemeral"] and "**Your jobs** 1 running, 1 waiting" in told["content"]
        assert "1. **a red boat** · fast · running" in told["content"] and first["id"] in told["content"]
        assert "2. **a blue \\*boat\\*** · relax · " in told["content"] and "in line" in told["content"]
        assert second["id"] in told["content"] and "somebody" not in told["content"]
        assert labels(told) == ["Cancel 1", "Cancel 2", "🔄", "Cancel all waiting"]


async def test_any_job_is_cancelled_from_the_list_also_after_a_restart(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", STUCK) as bot:
            first, second = await bot.imagine("a red boat"), await bot.imagine("a blue boat")
            told = await bot.answer("queue")
        async with running_bot(sandbox, tmp_path / "data", STUCK) as bot:
            after = await pressed(bot, told, "Cancel 2")
            assert after["content"].startswith("Cancelled.\n") and "a blue boat" not in after["content"]
            await bot.until(second, content_contains="Cancelled")
            assert (await bot.job(first)).state == "queued"
            empty = await pressed(bot, told, "Cancel 1")
            assert "no jobs" in empty["content"] and labels(empty) == []


async def test_a_running_job_is_stopped_from_the_list(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 100") as bot:
        first = await bot.imagine("a red boat --steps 100")
        await bot.until(first, content_contains="%")
        told = await bot.answer("queue")
        assert "stops at its next step" in (await pressed(bot, told, "Cancel 1"))["content"]
        await bot.until(first, content_contains="Cancelled")


async def test_a_long_queue_has_pages_and_all_that_waits_goes_at_once_while_what_runs_goes_on(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 300", DARKROOM_RUNNING="1", **MANY) as bot:
        first = await bot.imagine("boat 0 --steps 100")
        await bot.until(first, content_contains="%")
        for number in range(1, 19):
            await bot.imagine(f"boat {number}")
        told = await bot.answer("queue")
        assert "1 running, 18 waiting" in told["content"] and "page 1 of 3" in told["content"]
        assert labels(told)[-3:] == ["🔄", "▶", "Cancel all waiting"]
        second = await pressed(bot, told, "▶")
        assert "9. **boat 8**" in second["content"] and labels(second)[8:11] == ["◀", "🔄", "▶"]
        third = await pressed(bot, second, "▶")
        assert "19. **boat 18**" in third["content"]
        after = await pressed(bot, await pressed(bot, third, "Cancel 19"), "🔄")
        assert "18. **boat 17**" in after["content"] and "page 3 of 3" in after["content"]
        await pressed(bot, after, "Cancel all waiting")
        gone = await bot.until(after, content_contains="17 waiting jobs cancelled")
        assert "1 running, 0 waiting" in gone["content"] and "Cancel all waiting" not in labels(gone)
        assert (await bot.job(first)).state == "running"


async def test_a_queue_in_direct_messages_has_the_jobs_of_every_place(tmp_path):
    async with sandboxed_bot(tmp_path, STUCK) as bot:
        await bot.imagine("in the server", as_="dave")
        await bot.imagine("in private", as_="dave", channel="dm")
        told = await bot.answer("queue", as_="dave", channel="dm")
        assert "in the server" in told["content"] and "in private" in told["content"]


async def test_a_list_with_cancel_buttons_is_not_taken_for_a_jobs_message_after_a_crash(tmp_path):
    """The list is private; also the same buttons in public are not what a bot looks for that has lost a message."""
    async with sandboxed_bot(tmp_path, STUCK) as bot:
        first = await bot.imagine("a red boat")
        job = await bot.job(first)
        told = await bot.answer("queue")
        ids = [ComponentId.parse(item["custom_id"]) for row in told["components"] for item in row["components"]]
        assert job.id in [one.job for one in ids]
        async with bot.parts.services.db.transaction() as tx:
            await tx.execute("UPDATE job SET message = NULL")
        channel = bot.client.get_partial_messageable(int(first["channel_id"]))
        buttons = tuple(Button(id=one, label="x") for one in ids)
        public = await channel.send("a list", view=bot.client.view_of(Card(content="", rows=(buttons,))))
        found = await bot.client.message_api.look(await bot.parts.services.jobs.get(job.id))
        assert (found.progress, found.result) == (first["id"], None) and found.progress != str(public.id)


async def test_two_presses_at_once_cancel_a_job_once(tmp_path):
    async with sandboxed_bot(tmp_path, STUCK) as bot:
        first = await bot.imagine("a red boat")
        told = await bot.answer("queue")
        name = next(i["custom_id"] for i in told["components"][0]["components"])
        press = {"as_": "alice", "message": told["id"], "custom_id": name}
        both = await asyncio.gather(*[bot.control.press(**press) for _ in range(2)], return_exceptions=True)
        assert any(not isinstance(one, Exception) for one in both)

        async def ended():
            return (await bot.job(first)).state == "cancelled"

        await eventually(ended)


async def test_a_full_page_of_long_prompts_is_what_a_message_takes(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 500", DARKROOM_RUNNING="1", **MANY) as bot:
        for number in range(10):
            await bot.imagine(f"boat {number} " + "*" * 300 + " --turbo")
        await bot.until(await bot.imagine("the last one"), button="Cancel")
        told = await bot.answer("queue")
        assert told["content"].count("https://discord.com/channels/") == 8 and 1200 < len(told["content"]) < 1900
