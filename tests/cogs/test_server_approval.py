"""Whose servers are served: those that an owner answers for, and nobody gains a quota by adding the bot to another."""

import asyncio

import pytest

from tests.harness.control_client import ControlRefused
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, running_bot, sandboxed_bot

NOT_YET = "does not work in this server yet"


async def server_of(bot, owner, name="elsewhere"):
    """A server of this person that the bot was added to; its channel."""
    joined = asyncio.create_task(bot.client.wait_for("guild_join", timeout=30))
    await asyncio.sleep(0)  # it listens before anything can happen
    made = await bot.control.create("guilds", name=name, owner=owner)
    await joined
    return made["id"], made["channels"][0]["id"]


async def question(bot, number=1):
    """The owner's last direct message, once there are so many."""

    async def there():
        found = await bot.control.messages(as_="alice", channel="dm")
        return found[-1] if len(found) >= number else None

    return await eventually(there)


async def accounts(bot):
    return {row["server"] for row in await bot.parts.services.db.read("SELECT server FROM account")}


async def test_a_strangers_server_is_served_once_an_owner_has_approved_it_and_no_sooner(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        guild, channel = await server_of(bot, "dave")
        for command in ({"name": "imagine", "prompt": "a red boat"}, {"name": "info"}, {"name": "turbo"}):
            refused = await bot.answer(as_="dave", channel=channel, **command)
            assert refused["ephemeral"] and NOT_YET in refused["content"]
        asked = await question(bot)
        assert "elsewhere" in asked["content"] and guild in asked["content"]
        assert guild not in await accounts(bot)
        served = await bot.control.press(as_="alice", message=asked["id"], label="Serve this server")
        assert "elsewhere** is served" in served["response"]["message"]["content"]
        done = await bot.done(await bot.imagine("a red boat", as_="dave", channel=channel), as_="dave")
        assert (await bot.job(done)).account.server == guild
        assert len(await bot.control.messages(as_="alice", channel="dm")) == 1, "one question for each server"


async def test_an_approval_outlives_a_restart_and_so_does_the_question(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data") as bot:
            _, channel = await server_of(bot, "dave")
            await bot.imagine("a red boat", as_="dave", channel=channel)
            asked = await question(bot)
        async with running_bot(sandbox, tmp_path / "data") as again:
            assert NOT_YET in (await again.imagine("a red boat", as_="dave", channel=channel))["content"]
            await again.control.press(as_="alice", message=asked["id"], label="Serve this server")
        async with running_bot(sandbox, tmp_path / "data") as last:
            assert not (await last.imagine("a red boat", as_="dave", channel=channel))["ephemeral"]
            assert len(await last.control.messages(as_="alice", channel="dm")) == 1


async def test_a_member_of_strangers_servers_alone_is_a_stranger_in_direct_messages(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        guild, channel = await server_of(bot, "dave")
        await bot.control.create("members", name="zoe", guild=guild)

        async def known():
            return bot.client.served_servers.is_served(bot.client.get_guild(int(guild))) is not None

        await eventually(known)
        refused = await bot.imagine("a red boat", as_="zoe", channel="dm")
        assert refused["ephemeral"] and "members of the servers that I serve" in refused["content"]
        assert NOT_YET in (await bot.imagine("a red boat", as_="zoe", channel=channel))["content"]
        await bot.control.press(as_="alice", message=(await question(bot))["id"], label="Serve this server")
        bot.client.home_servers._known.clear()
        message = await bot.imagine("a red boat", as_="zoe", channel="dm")
        assert (await bot.job(message)).account.server == guild


async def test_the_first_server_and_every_other_of_an_owner_are_served_without_a_word(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        _, channel = await server_of(bot, "alice")
        for where in ("general", channel):
            assert not (await bot.imagine("a red boat", as_="bob", channel=where))["ephemeral"]
        assert await bot.control.messages(as_="alice", channel="dm") == []


async def test_a_server_that_an_owner_may_manage_is_served_without_a_word(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        guild, channel = await server_of(bot, "dave")
        role = await bot.control.create("roles", guild=guild, name="keeper", permissions=["manage_guild"])
        await bot.control.change("members", "alice", guild=guild, roles=["keeper"])

        async def knows():
            there = bot.client.get_guild(int(guild))
            return there.get_role(int(role["id"])) and bot.client.served_servers.is_served(there) is not None

        await eventually(knows)
        bot.client.served_servers._managed.clear()  # half a minute later
        assert not (await bot.imagine("a red boat", as_="bob", channel=channel))["ephemeral"]


async def test_while_discord_does_not_say_who_manages_a_server_nobody_is_called_a_stranger(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        guild, channel = await server_of(bot, "dave")
        bot.client.served_servers._managed.clear()
        await bot.control.fault("GET", f"/guilds/{guild}/members/*", times=20, status=500)
        refused = await bot.imagine("a red boat", as_="dave", channel=channel)
        assert refused["ephemeral"] and "Please try again" in refused["content"]
        assert await bot.control.messages(as_="alice", channel="dm") == []


async def test_an_owner_is_served_everywhere(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        _, channel = await server_of(bot, "dave")
        assert not (await bot.imagine("a red boat", as_="alice", channel=channel))["ephemeral"]


async def test_named_servers_are_served_and_no_others_and_nobody_is_asked(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data") as bot:
            first = (await bot.control.state())["guilds"][0]["id"]
            guild, channel = await server_of(bot, "dave")
            await bot.parts.services.settings.set_server(first, "served", "approved")
        async with running_bot(sandbox, tmp_path / "data", DARKROOM_GUILDS=guild) as named:
            assert not (await named.imagine("a red boat", as_="dave", channel=channel))["ephemeral"]
            refused = await named.imagine("a red boat", as_="bob")
            assert refused["ephemeral"] and "The bot's owner can add it" in refused["content"]
            assert await named.control.messages(as_="alice", channel="dm") == []


async def test_ten_servers_in_a_day_are_asked_about_and_no_more(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        services = bot.parts.services
        await services.settings.put_state("servers:asked", [services.clock()] * 9)
        channels = [(await server_of(bot, "dave", f"club {number}"))[1] for number in range(2)]

        async def ten():
            return len(await services.settings.state("servers:asked")) == 10

        for channel in channels:
            assert NOT_YET in (await bot.imagine("a red boat", as_="dave", channel=channel))["content"]
            await eventually(ten)
        assert len(await bot.control.messages(as_="alice", channel="dm")) == 1


async def test_nobody_but_an_owner_can_press_the_button(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        guild, channel = await server_of(bot, "dave")
        await bot.imagine("a red boat", as_="dave", channel=channel)
        asked = await question(bot)
        with pytest.raises(ControlRefused):
            await bot.control.press(as_="dave", message=asked["id"], label="Serve this server")
        bot.client.services.owners.clear()
        told = await bot.control.press(as_="alice", message=asked["id"], label="Serve this server")
        assert "Only the bot's owners" in told["response"]["message"]["content"]
        assert not bot.client.served_servers.is_served(bot.client.get_guild(int(guild)))


async def test_a_question_that_the_stop_cuts_off_is_no_mistake_in_the_log(tmp_path, caplog, monkeypatch):
    async with sandboxed_bot(tmp_path) as bot:
        begun, stopped, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def closed(*_args):
            begun.set()
            await stopped.wait()
            ended.set()
            raise ValueError("no active connection")

        monkeypatch.setattr(bot.parts.services.settings, "state", closed)
        bot.client.dispatch("unserved_server", bot.client.guilds[0])
        await begun.wait()
        await bot.client.close()
        stopped.set()
        await ended.wait()
    assert not [record for record in caplog.records if record.exc_info]
