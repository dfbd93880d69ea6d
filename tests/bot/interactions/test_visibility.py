"""Who may see a job, as caches and a few questions tell it: without the members intent nothing else is known."""

from dataclasses import replace

from bot.interactions import Reader
from bot.interactions.visibility import MOST_REQUESTS
from tests.harness.sandboxed_bot import sandboxed_bot

HIDDEN = {"everyone": {"deny": ["view_channel"]}}


async def member(bot, name):
    """As an interaction brings it; the cache has none."""
    guild = bot.client.guilds[0]
    people = (await bot.control.state())["guilds"][0]["members"]
    assert not [person for person in guild.members if person.id != bot.client.user.id]
    return await guild.fetch_member(int(next(person["id"] for person in people if person["name"] == name)))


async def reader(bot, name, *, direct=False):
    """Somebody who asks in the server, or in their direct messages, where nobody is a member."""
    who = await member(bot, name)
    return Reader(bot.client, who._user if direct else who, None if direct else who.guild.id)


async def asked_since(bot, before):
    """How many questions Discord was asked meanwhile."""
    return len([entry for entry in await bot.control.transcript() if entry["kind"] == "request"]) - before


async def test_a_job_is_seen_by_who_can_read_its_channel_now_and_nothing_is_asked_for_that(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        channel = await bot.control.create("channels", name="boats")
        job = await bot.job(await bot.done(await bot.imagine("a red boat", as_="bob", channel="boats"), as_="bob"))
        people = {name: await reader(bot, name) for name in ("bob", "carol", "dave")}
        before = await asked_since(bot, 0)
        assert await people["dave"].may_see(job) and await people["dave"].link(job)
        assert await asked_since(bot, before) == 0

        await bot.control.change("channels", channel["id"], permissions=HIDDEN | {"carol": {"allow": ["view_channel"]}})
        people = {name: await reader(bot, name) for name in people}
        before = await asked_since(bot, 0)
        assert not await people["dave"].may_see(job) and await people["dave"].link(job) is None
        assert await people["carol"].may_see(job) and await people["carol"].link(job)
        assert await people["bob"].may_see(job), "it is their own"
        assert await people["bob"].link(job) is None, "but they could not open its message"
        assert await asked_since(bot, before) == 0


async def test_without_the_history_of_a_channel_its_jobs_are_not_seen(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        job = await bot.job(await bot.done(await bot.imagine("a red boat", as_="bob")))
        channel = next(c for c in (await bot.control.state())["guilds"][0]["channels"] if c["name"] == "general")
        deny = {"dave": {"deny": ["read_message_history"]}}
        await bot.control.change("channels", channel["id"], permissions=deny)
        assert not await (await reader(bot, "dave")).may_see(job)


async def test_jobs_of_direct_messages_and_private_ones_are_seen_by_who_asked_and_no_link_leads_to_private_ones(
    tmp_path,
):
    async with sandboxed_bot(tmp_path) as bot:
        direct = await bot.job(await bot.done(await bot.imagine("a boat", as_="dave", channel="dm"), as_="dave"))
        seen = await bot.job(await bot.done(await bot.imagine("a red boat", as_="dave")))
        hidden = replace(seen, where=replace(seen.where, private=True))
        dave, alice = await reader(bot, "dave"), await reader(bot, "alice")
        assert await dave.may_see(direct) and await dave.may_see(hidden) and await dave.link(direct)
        assert await dave.link(hidden) is None
        assert not await alice.may_see(direct) and not await alice.may_see(hidden), "owners and moderators too"
        assert await alice.may_see(seen)


async def test_nothing_is_seen_across_servers_and_in_direct_messages_only_what_is_ones_own(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        job = await bot.job(await bot.done(await bot.imagine("a red boat", as_="bob")))
        bob, dave = await member(bot, "bob"), await member(bot, "dave")
        assert not await Reader(bot.client, dave, 12345).may_see(job)
        assert not await Reader(bot.client, bob, 12345).may_see(job), "not even their own"
        assert not await (await reader(bot, "dave", direct=True)).may_see(job)
        own = await reader(bot, "bob", direct=True)
        before = await asked_since(bot, 0)
        assert await own.may_see(job) and await own.link(job) and await own.link(job)
        assert await asked_since(bot, before) == 1, "whether they are still a member"


async def test_who_has_left_keeps_their_own_jobs_and_reads_no_channel(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        job = await bot.job(await bot.done(await bot.imagine("a red boat", as_="dave")))
        dave = await reader(bot, "dave", direct=True)
        await bot.control.remove("members", str(dave._user.id))
        assert await dave.may_see(job) and await dave.link(job) is None


async def test_what_was_in_a_deleted_channel_is_only_its_authors(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        channel = await bot.control.create("channels", name="short-lived")
        first = await bot.imagine("a red boat", as_="bob", channel="short-lived")
        job = await bot.job(await bot.done(first, as_="bob"))
        await bot.control.remove("channels", channel["id"])
        assert not await (await reader(bot, "alice")).may_see(job)
        bob = await reader(bot, "bob")
        assert await bob.may_see(job) and await bob.link(job) is None


async def test_a_private_thread_is_its_members_now_and_an_archived_thread_its_channels_readers(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        people = {"members": ["bob", "carol", "darkroom"]}
        thread = await bot.control.create("channels", type="thread", name="quiet", parent="general", **people)
        job = await bot.job(await bot.done(await bot.imagine("a boat", as_="bob", channel=thread["id"]), as_="bob"))
        carol, dave = await reader(bot, "carol"), await reader(bot, "dave")
        before = await asked_since(bot, 0)
        assert await carol.may_see(job) and await carol.may_see(job) and await carol.link(job)
        assert await asked_since(bot, before) == 1, "once for all its jobs"
        assert not await dave.may_see(job)

        await bot.control.change("channels", thread["id"], members=["dave", "bob", "darkroom"])
        assert not await (await reader(bot, "carol")).may_see(job)
        assert await (await reader(bot, "dave")).may_see(job)

        await bot.control.change("channels", thread["id"], archived=True)
        bot.client.guilds[0]._threads.clear()  # as after a start: closed threads are in no cache
        assert not await (await reader(bot, "carol")).may_see(job)
        assert await (await reader(bot, "dave")).may_see(job)


async def test_an_answer_asks_discord_a_few_times_at_most_and_what_is_unknown_is_a_no(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        job = await bot.job(await bot.done(await bot.imagine("a red boat", as_="bob")))
        dave = await reader(bot, "dave")
        before = await asked_since(bot, 0)
        for number in range(3 * MOST_REQUESTS):
            elsewhere = replace(job, where=replace(job.where, channel=str(10**17 + number)))
            assert not await dave.may_see(elsewhere)
        assert await asked_since(bot, before) == MOST_REQUESTS
        fresh, thread = await reader(bot, "dave"), replace(job, where=replace(job.where, channel=str(10**17)))
        await bot.control.fault("GET", "/channels/{channel_id}", status=500, times=20)
        assert not await fresh.may_see(thread)


async def test_where_a_picture_came_from_is_linked_for_who_can_read_that_place(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        single = await bot.done(await bot.press(grid, "U2"))
        assert "From picture 2 of https://discord.com/channels/" in await origin(bot, single)
        secret = await bot.control.create("channels", name="secret", permissions=HIDDEN)
        job = await bot.job(grid)
        async with bot.parts.services.db.transaction() as tx:
            move = "UPDATE job SET channel = :channel WHERE id = :job"
            await tx.execute(move, {"channel": secret["id"], "job": job.id})
        assert "you cannot open" in await origin(bot, single) and secret["id"] not in await origin(bot, single)
        assert f"/{secret['id']}/" in await origin(bot, single, as_="alice")


async def origin(bot, single, as_="dave"):
    """What ⓘ says to somebody."""
    return (await bot.press(single, "ⓘ", as_=as_))["content"]
