"""/search and /show: what members find of what they may see, and their own jobs once more, elsewhere."""

import asyncio

import pytest

from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, labels, running_bot, sandboxed_bot

MANY = {"DARKROOM_FAST_MINUTES": "1000", "DARKROOM_WAITING": "50"}


async def done(bot, prompt, as_="alice", channel="general"):
    """A grid's message."""
    return await bot.done(await bot.imagine(prompt, as_=as_, channel=channel), as_=as_)


async def settled(bot, message, as_="alice"):
    """Its job, once the bot knows that it is posted."""
    job = await bot.job(message)

    async def posted():
        return (await bot.parts.services.outbox.get(job.id)).is_posted

    await eventually(posted)
    return job


async def search(bot, words, as_="alice", channel="general", **what):
    """The answer, once it is there."""
    return await bot.answer_later("search", as_=as_, channel=channel, words=words, content_contains="🔎", **what)


async def test_ones_own_come_first_then_what_others_made_where_one_can_read(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        secret = await bot.control.create("channels", name="secret")
        mine = await done(bot, "an old boat of mine", as_="dave")
        await done(bot, "a boat of bob", as_="bob")
        await done(bot, "a secret boat", as_="bob", channel="secret")
        await done(bot, "a private boat", as_="bob", channel="dm")
        await bot.control.change("channels", secret["id"], permissions={"everyone": {"deny": ["view_channel"]}})
        told = await search(bot, "boat", as_="dave")
        assert told["flags"] & 64
        assert told["content"].split("\n")[0] == "🔎 `boat`"
        assert "1. **an old boat of mine** · yours" in told["content"] and mine["id"] in told["content"]
        assert "2. **a boat of bob** · <@" in told["content"] and "secret" not in told["content"]
        assert "private" not in told["content"] and "3." not in told["content"]
        direct = await search(bot, "boat", as_="bob", channel="dm")
        assert "a private boat" in direct["content"] and "mine" not in direct["content"]
        assert "Nothing found" in (await search(bot, "lighthouse"))["content"]


async def test_short_words_and_scripts_without_blanks_are_found_and_nothing_is_said_so(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await done(bot, "a 3d ox --seed 7")
        assert "1. **a 3d ox**" in (await search(bot, "3D"))["content"]
        refused = await bot.answer("search", words=", ``")
        assert refused["ephemeral"] and "Give a word" in refused["content"]


async def test_pages_go_on_after_a_restart(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", **MANY) as bot:
            for number in range(6):
                await done(bot, f"boat {number}")
            for number in range(6, 11):
                await done(bot, f"boat {number}", as_="bob")
            told = await search(bot, "boat")
            assert "1. **boat 5** · yours" in told["content"] and "8. **boat 9** · <@" in told["content"]
            assert labels(told)[-1:] == ["Further back ▶"]
        async with running_bot(sandbox, tmp_path / "data", **MANY) as bot:
            await bot.control.press(as_="alice", message=told["id"], label="Further back ▶")
            more = await bot.until(told, content_contains="1. **boat 8**")
            assert "3. **boat 6**" in more["content"] and labels(more)[-1:] == ["From the start"]
            await bot.control.press(as_="alice", message=told["id"], label="From the start")
            await bot.until(told, content_contains="1. **boat 5**")


async def test_a_found_picture_is_opened_from_the_list(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat", as_="bob")
        told = await search(bot, "red boat")
        select = told["components"][0]["components"][0]
        answered = await bot.control.press(
            as_="alice", message=told["id"], custom_id=select["custom_id"], values=[select["options"][0]["value"]]
        )
        opened = await bot.until(answered["response"]["message"], content_contains=f"/{grid['id']}")
        assert labels(opened) == ["Show it here, to me"]


async def test_show_posts_ones_own_job_here_and_who_reads_here_may_see_it(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        direct = await done(bot, "a red boat", as_="dave", channel="dm")
        await settled(bot, direct)
        assert "Nothing found" in (await search(bot, "red boat"))["content"]
        found = await bot.control.autocomplete(as_="dave", channel="dm", name="show", option="job_id", value="RED b")
        (choice,) = found["choices"]
        assert choice["name"].startswith("a red boat")
        shown = await bot.answer_later("show", as_="dave", channel="gallery", job_id=choice["value"], button="U1")
        assert shown["attachments"] and not shown["flags"] & 64 and "ⓘ" in labels(shown)

        async def moved():
            job = await bot.parts.services.jobs.get(choice["value"])
            return (job.where.message, job.where.channel) == (shown["id"], shown["channel_id"])

        await eventually(moved)
        assert "a red boat" in (await search(bot, "red boat", as_="bob"))["content"]
        crop = await bot.done(await bot.press(shown, "U1", as_="bob"), as_="bob")
        assert f"/{shown['id']}" in (await bot.press(crop, "ⓘ", as_="bob"))["content"]
        about = await bot.press(shown, "ⓘ", as_="dave")
        await bot.control.press(as_="dave", message=about["id"], label="Delete")
        await bot.until(shown, deleted=True)
        await bot.until(direct, as_="dave", deleted=True)


@pytest.mark.parametrize("lost", [True, False])
async def test_a_lost_result_is_recovered_and_not_posted_twice(tmp_path, lost):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat")
        await settled(bot, grid)
        if lost:
            await bot.control.delete(as_="alice", message=grid["id"])
        link = f"https://discord.com/channels/1/{grid['channel_id']}/{grid['id']}"
        shown = await bot.answer_later("show", job_id=link, button="U1")
        assert shown["attachments"] and len(await bot.posted()) == 2 - lost


async def test_what_cannot_be_shown_is_refused_with_the_reason(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 100") as bot:
        running = await bot.imagine("a red boat --steps 100", as_="bob")
        job = await bot.job(running)
        await bot.until(running, as_="bob", content_contains="%")
        told = await bot.answer("show", as_="bob", job_id=job.id)
        assert told["ephemeral"] and "still being made" in told["content"] and running["id"] in told["content"]
        assert "somebody else's" in (await bot.answer("show", as_="dave", job_id=job.id))["content"]
        assert "no such job" in (await bot.answer("show", as_="dave", job_id="nothing"))["content"]
        await bot.parts.services.scheduler.cancel(job.id)
        await bot.until(running, content_contains="Cancelled")
        assert "was not made" in (await bot.answer("show", as_="bob", job_id=job.id))["content"]
        private = await bot.imagine("a boat --steps 1", as_="bob", channel="dm")
        secret = await bot.job(private)
        assert "no such job" in (await bot.answer("show", as_="dave", job_id=secret.id))["content"]
        async with bot.parts.services.db.transaction() as tx:
            await tx.execute("UPDATE job SET guild = '12345' WHERE id = :job", {"job": job.id})
        assert "another server" in (await bot.answer("show", as_="bob", job_id=job.id))["content"]


async def test_what_was_shown_while_the_bot_died_is_deleted_with_the_rest(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat")
        job = await settled(bot, grid)
        history, reached, over = bot.parts.services.history, asyncio.Event(), asyncio.Event()

        async def killed(*_, **__):
            reached.set()
            return await over.wait()

        history.moved = killed
        shown = await bot.answer_later("show", channel="gallery", job_id=job.id, button="U1")
        await reached.wait()
        about = await bot.press(grid, "ⓘ")
        await bot.control.press(as_="alice", message=about["id"], label="Delete")
        await bot.until(shown, deleted=True)
        await bot.until(grid, deleted=True)
        over.set()


async def test_a_job_that_is_deleted_while_it_is_shown_again_is_taken_away_there(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat")
        job = await settled(bot, grid)
        history = bot.parts.services.history
        really = history.moved

        async def later(*args, **named):
            await history.delete(job.id, by_moderator=False)
            return await really(*args, **named)

        history.moved = later
        shown = await bot.answer_later("show", channel="gallery", job_id=job.id)
        await bot.until(shown, deleted=True)


async def test_a_full_page_of_long_prompts_is_what_a_message_takes(tmp_path):
    async with sandboxed_bot(tmp_path, **MANY) as bot:
        for number in range(9):
            await done(bot, f"boat {number} " + "*" * 300, as_="bob" if number < 4 else "alice")
        told = await search(bot, "boat " + "*" * 90)
        assert told["content"].count("https://discord.com/channels/") == 8 and len(told["content"]) < 2000
        listed = await bot.answer("history")
        assert listed["content"].count("**boat") == 5
