"""Reactions under jobs, and the message apps DM Results and Cancel Job."""

import pytest

from tests.harness.sandboxed_bot import eventually, sandboxed_bot


async def done(bot, prompt, as_="alice", channel="general"):
    """A grid's message, once the bot knows that it is posted."""
    message = await bot.done(await bot.imagine(prompt, as_=as_, channel=channel), as_=as_)
    job = await bot.job(message)

    async def posted():
        return (await bot.parts.services.outbox.get(job.id)).is_posted

    await eventually(posted)
    return message


async def app(bot, name, message, as_="alice"):
    """What a message app answers."""
    return await bot.control.context_menu(as_=as_, channel=message["channel_id"], name=name, message=message["id"])


async def files(bot, as_):
    """Messages with files in somebody's direct messages."""
    return [m for m in await bot.control.messages(as_=as_, channel="dm") if m["attachments"]]


async def test_dm_results_sends_separate_files_with_id_and_seed_to_who_asked(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat --seed 7", as_="dave")
        answered = await app(bot, "DM Results", grid, as_="dave")
        await bot.until(answered["response"]["message"], as_="dave", content_contains="Sent as a direct message")
        (sent,) = await files(bot, "dave")
        job = await bot.job(grid)
        assert len(sent["attachments"]) == 4 and sent["attachments"][0]["filename"].endswith("-1.png")
        assert f"`{job.id}`" in sent["content"] and "**Seed** 7, one more" in sent["content"]
        other = (await app(bot, "DM Results", grid, as_="bob"))["response"]
        assert other["ephemeral"] and "Only whoever asked" in other["message"]["content"]
        said = await bot.control.say(as_="dave", channel="general", content="hello")
        nothing = (await app(bot, "DM Results", said, as_="dave"))["response"]
        assert "no job in that message" in nothing["message"]["content"]


async def test_closed_direct_messages_are_said_with_the_cure(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat", as_="dave")
        dave = next(m["id"] for m in (await bot.control.state())["guilds"][0]["members"] if m["name"] == "dave")
        await bot.control.change("members", dave, dms_open=False)
        answered = await app(bot, "DM Results", grid, as_="dave")
        await bot.until(answered["response"]["message"], as_="dave", content_contains="Allow them from members")


@pytest.mark.parametrize("channel", ["general", "dm"])
async def test_an_envelope_sends_ones_own_pictures_and_nobody_elses(tmp_path, channel):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat", as_="dave", channel=channel)
        before = len(await files(bot, "dave"))
        if channel == "general":
            await bot.control.react(as_="bob", message=grid["id"], emoji="✉️")
        await bot.control.react(as_="dave", message=grid["id"], emoji="✉️")

        async def sent():
            return len(await files(bot, "dave")) == before + 1

        await eventually(sent)
        assert await files(bot, "bob") == []


async def test_a_cross_cancels_and_deletes_ones_own_jobs_only(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50") as bot:
        first = await bot.imagine("a red boat --steps 100", as_="dave")
        await bot.until(first, content_contains="%")
        await bot.control.react(as_="bob", message=first["id"], emoji="❌")
        await bot.control.react(as_="dave", message=first["id"], emoji="❌")
        await bot.until(first, content_contains="Cancelled")
        grid = await done(bot, "a blue boat --steps 2", as_="dave")
        await bot.control.react(as_="bob", message=grid["id"], emoji="❌")
        await bot.control.react(as_="dave", message=grid["id"], emoji="❌")
        await bot.until(grid, deleted=True)
        job = await bot.job(grid)
        assert await bot.parts.services.history.take_back(job.id, job.user) is not None


async def test_a_star_is_a_favourite_until_it_is_taken_away(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat", as_="dave")
        job, history = await bot.job(grid), bot.parts.services.history
        await bot.control.react(as_="dave", message=grid["id"], emoji="⭐")

        async def liked():
            return await history.likes(job.user, [job]) == {job.id}

        await eventually(liked)
        await bot.control.react(as_="dave", message=grid["id"], emoji="⭐", remove=True)

        async def not_any_more():
            return not await history.likes(job.user, [job])

        await eventually(not_any_more)


async def test_a_report_reaches_the_owner_once_who_can_delete_it_for_good(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat", as_="bob")
        opened = await app(bot, "Report", grid, as_="dave")
        assert opened["response"]["kind"] == "modal"
        sent = await bot.control.submit(
            as_="dave", interaction=opened["interaction"], values={"reason": "it is *rude*"}
        )
        await bot.until(sent["response"]["message"], as_="dave", content_contains="the bot's owners have it")
        (told,) = await bot.control.messages(as_="alice", channel="dm")
        assert "it is \\*rude\\*" in told["content"] and grid["id"] in told["content"]
        again = await app(bot, "Report", grid, as_="dave")
        sent = await bot.control.submit(as_="dave", interaction=again["interaction"], values={"reason": "still"})
        assert "already" in sent["response"]["message"]["content"]
        job = await bot.job(grid)
        await bot.control.press(as_="alice", message=told["id"], label="Delete")
        await bot.until(grid, deleted=True)
        assert await bot.parts.services.history.take_back(job.id, job.user) is None


async def test_in_direct_messages_there_is_nothing_to_report(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        mine = await done(bot, "a red boat", as_="dave", channel="dm")
        answered = (await app(bot, "Report", mine, as_="dave"))["response"]
        assert answered["ephemeral"] and "in servers" in answered["message"]["content"]
