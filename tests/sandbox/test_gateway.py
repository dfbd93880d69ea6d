"""Login, sessions, resume and their breaking, by real discord.py."""

import asyncio
import time

import aiohttp
import discord
import pytest

from tests.harness.running_sandbox import RunningSandbox
from tests.sandbox.sample_bot import SampleBot, joined


async def test_bot_logs_in_sees_its_guild_and_its_commands_are_listed(sandbox: RunningSandbox, bot: SampleBot) -> None:
    state = await sandbox.control.state()
    assert state["application"]["online"]
    assert {c["name"] for c in state["commands"]} >= {"imagine", "prefer", "Cancel Job"}
    guild = bot.guilds[0]
    assert [channel.name for channel in guild.text_channels] == ["general", "gallery", "nsfw"]
    assert guild.me.guild_permissions.send_messages
    assert bot.application_id == int(state["application"]["id"])


async def test_wrong_token_is_refused(sandbox: RunningSandbox) -> None:
    bot = SampleBot()
    before = discord.http.Route.BASE
    discord.http.Route.BASE = f"{sandbox.url}/api/v10"
    try:
        with pytest.raises(discord.LoginFailure):
            await bot.login("wrong")
    finally:
        await bot.close()
        discord.http.Route.BASE = before


async def test_privileged_intents_are_refused(sandbox: RunningSandbox) -> None:
    with pytest.raises(discord.PrivilegedIntentsRequired):
        async with joined(sandbox.url, SampleBot(intents=discord.Intents.all())):
            pass


async def test_events_missed_while_disconnected_are_replayed_on_resume(sandbox: RunningSandbox, bot: SampleBot) -> None:
    await sandbox.control.gateway("disconnect")
    await sandbox.control.say(as_="alice", channel="dm", content="while you were away")
    await bot.until(lambda: bot.resumes == 1)
    await bot.until(lambda: bot.read)
    assert (bot.read[0].content, bot.readies) == ("while you were away", 1)


async def test_asked_to_reconnect_the_bot_resumes(sandbox: RunningSandbox, bot: SampleBot) -> None:
    await sandbox.control.gateway("reconnect")
    await bot.until(lambda: bot.resumes == 1)


@pytest.mark.parametrize("action", ["second_ready", "invalid_session"])
async def test_lost_session_ends_in_a_second_ready(sandbox: RunningSandbox, action: str, bot: SampleBot) -> None:
    await sandbox.control.gateway(action)
    await bot.until(lambda: bot.readies == 2)
    answer = await sandbox.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a boat"})
    assert answer["response"]["kind"] == "message"


async def test_silent_gateway_is_left_after_the_heartbeat_timeout(sandbox: RunningSandbox) -> None:
    await sandbox.control.limits(heartbeat_ms=100)
    async with joined(sandbox.url, SampleBot(heartbeat_timeout=0.5)) as bot:
        await sandbox.control.gateway("silence")
        await sandbox.control.say(as_="alice", channel="dm", content="in the silence")
        await bot.until(lambda: bot.resumes == 1 and bot.read, 20)
        assert bot.read[0].content == "in the silence"


async def test_interaction_for_a_bot_that_is_away_is_not_answered(sandbox: RunningSandbox) -> None:
    async with joined(sandbox.url):
        pass
    await sandbox.control.limits(ack_ms=50)
    answer = await sandbox.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "x"})
    assert answer["response"]["kind"] == "none"


async def test_removed_bot_is_told_and_can_come_back(sandbox: RunningSandbox, bot: SampleBot) -> None:
    name = (await sandbox.control.state())["application"]["name"]
    guild = bot.guilds[0].id
    await sandbox.control.remove("members", name)
    await bot.until(lambda: bot.left == [guild])
    joined = asyncio.create_task(bot.wait_for("guild_join", timeout=5))
    await asyncio.sleep(0)
    await sandbox.control.create("members", name=name)
    assert (await joined).id == guild


async def test_new_guild_is_joined_and_its_members_can_use_commands(sandbox: RunningSandbox, bot: SampleBot) -> None:
    joined = asyncio.create_task(bot.wait_for("guild_join", timeout=5))
    await asyncio.sleep(0)
    guild = await sandbox.control.create("guilds", name="Second")
    assert (await joined).id == int(guild["id"])
    channel = guild["channels"][0]["id"]
    answer = await sandbox.control.command(as_="bob", channel=channel, name="imagine", options={"prompt": "a boat"})
    assert answer["response"]["kind"] == "message"


async def test_changed_channels_and_roles_reach_the_cache(sandbox: RunningSandbox, bot: SampleBot) -> None:
    created = asyncio.create_task(bot.wait_for("guild_channel_create", timeout=5))
    await asyncio.sleep(0)
    made = await sandbox.control.create("channels", name="new")
    assert (await created).id == int(made["id"])
    updated = asyncio.create_task(bot.wait_for("guild_role_update", timeout=5))
    await asyncio.sleep(0)
    await sandbox.control.change("roles", "booster", permissions=["manage_messages"])
    assert (await updated)[1].permissions.manage_messages


async def test_thread_is_made_and_written_in(sandbox: RunningSandbox, bot: SampleBot) -> None:
    channel = bot.guilds[0].text_channels[0]
    message = await channel.send("start")
    thread = await message.create_thread(name="Boats")
    await thread.send("inside")
    await sandbox.control.wait(as_="alice", channel="Boats", content_contains="inside")


async def test_reset_brings_the_starting_world_and_a_new_ready(sandbox: RunningSandbox, bot: SampleBot) -> None:
    await sandbox.control.say(as_="alice", channel="general", content="gone soon")
    await sandbox.control.reset()
    await bot.until(lambda: bot.readies == 2)
    assert await sandbox.control.messages(as_="alice", channel="general") == []
    answer = await sandbox.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a boat"})
    assert answer["response"]["kind"] == "message"


async def test_heartbeat_is_answered_only_after_discord_py_has_noted_that_it_asked(sandbox: RunningSandbox) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{sandbox.url}/gateway") as socket:
        assert (await socket.receive_json())["op"] == 10
        asked = time.monotonic()
        await socket.send_json({"op": 1, "d": None})
        assert (await socket.receive_json())["op"] == 11
        assert 0.03 < time.monotonic() - asked < 5
