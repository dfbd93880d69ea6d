"""Which server pays for a direct message: that of a member, also where one of several servers does not answer."""

import asyncio

import pytest

from bot.interactions import home_server
from tests.harness.sandboxed_bot import eventually, sandboxed_bot

ASKED = "/guilds/{}/members/*"


async def second_server(bot):
    """Another server that the bot and dave are in; (the id of the first, that of this)."""
    first = (await bot.control.state())["guilds"][0]["id"]
    joined = asyncio.create_task(bot.client.wait_for("guild_join", timeout=30))
    await asyncio.sleep(0)  # it listens before anything can happen
    second = await bot.control.create("guilds", name="elsewhere", owner="alice")
    await joined
    return first, second["id"]


async def test_of_two_servers_the_older_one_pays(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        first, _ = await second_server(bot)
        message = await bot.imagine("a red boat", as_="dave", channel="dm")
        assert (await bot.job(message)).account.server == first


@pytest.mark.parametrize("fault", [{"status": 403, "code": 50001}, {"status": 500}, {"delay_ms": 5000}], ids=str)
async def test_a_server_that_does_not_answer_refuses_no_member_of_another(tmp_path, fault):
    async with sandboxed_bot(tmp_path) as bot:
        first, second = await second_server(bot)
        await bot.control.fault("GET", ASKED.format(first), times=20, **fault)
        message = await bot.imagine("a red boat", as_="dave", channel="dm")
        assert (await bot.job(message)).account.server == second


async def test_while_the_only_server_does_not_answer_nobody_is_called_a_stranger(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        first = (await bot.control.state())["guilds"][0]["id"]
        await bot.control.fault("GET", ASKED.format(first), times=20, status=500)
        refused = await bot.imagine("a red boat", as_="dave", channel="dm")
        assert refused["ephemeral"] and "Please try again" in refused["content"]
        await bot.control.clear_faults()

        async def served():
            answer = await bot.imagine("a red boat", as_="dave", channel="dm")
            return not answer["ephemeral"]

        await eventually(served)


async def test_a_member_of_the_newest_of_many_servers_is_served(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        for number in range(25):
            newest = await bot.control.create("guilds", name=f"club {number}")
        await bot.control.create("members", name="zoe", guild=newest["id"])

        async def there():
            return len(bot.client.guilds) == 26

        await eventually(there)
        message = await bot.imagine("a red boat", as_="zoe", channel="dm")
        assert (await bot.job(message)).account.server == newest["id"]


async def many_servers(bot, number):
    """The id of the newest of so many servers; zoe is in that one alone."""
    for count in range(number):
        newest = await bot.control.create("guilds", name=f"club {count}")
    await bot.control.create("members", name="zoe", guild=newest["id"])

    async def there():
        return len(bot.client.guilds) == number + 1

    await eventually(there)
    return newest["id"]


async def test_servers_that_take_longer_than_a_first_answer_may_are_got_through_in_several(tmp_path, monkeypatch):
    monkeypatch.setattr(home_server, "_ASK_SECONDS", 0.15)
    async with sandboxed_bot(tmp_path) as bot:
        newest = await many_servers(bot, 40)
        await bot.control.fault("GET", "/guilds/*/members/*", times=10_000, delay_ms=100)
        refused = await bot.imagine("a red boat", as_="zoe", channel="dm")
        assert refused["ephemeral"] and "try again in a few seconds" in refused["content"]

        async def served():
            answer = await bot.imagine("a red boat", as_="zoe", channel="dm")
            return None if answer["ephemeral"] else answer

        message = await eventually(served)
        assert (await bot.job(message)).account.server == newest
        asked = await bot.requests("GET", "/members/")
        assert len(asked) <= 41, "nobody is asked twice"


async def test_a_home_that_was_found_is_looked_up_again_with_one_question(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        newest = await many_servers(bot, 5)
        await bot.imagine("a red boat", as_="zoe", channel="dm")
        before = len(await bot.requests("GET", "/members/"))
        now = bot.client.home_servers._monotonic()
        bot.client.home_servers._monotonic = lambda: now + 700.0
        message = await bot.imagine("a blue boat", as_="zoe", channel="dm")
        assert (await bot.job(message)).account.server == newest
        assert len(await bot.requests("GET", "/members/")) == before + 1


async def test_two_direct_messages_at_once_find_the_same_home(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        newest = await many_servers(bot, 5)
        both = [bot.imagine(f"a boat {number}", as_="zoe", channel="dm") for number in range(2)]
        found = [(await bot.job(message)).account.server for message in await asyncio.gather(*both)]
        assert found == [newest, newest]
