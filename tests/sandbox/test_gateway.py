"""Login, sessions, resume and their breaking, by real discord.py."""

import asyncio
import time

import aiohttp
import discord
import pytest

from sandbox.permissions import ALL
from tests.harness.control_client import ControlRefused
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
    assert thread.id == message.id  # so that a bot finds it again
    read = await channel.fetch_message(message.id)
    assert read.flags.has_thread and read.thread is not None and read.thread.name == "Boats"
    with pytest.raises(discord.HTTPException) as refused:
        await message.create_thread(name="Boats again")
    assert refused.value.code == 160004


async def test_private_thread_is_seen_by_its_members_and_by_who_manages_threads(
    sandbox: RunningSandbox, bot: SampleBot
) -> None:
    thread = await bot.guilds[0].text_channels[0].create_thread(name="Room")
    await thread.send("inside")
    members = {m["name"]: int(m["id"]) for m in (await sandbox.control.state())["guilds"][0]["members"]}
    await thread.add_user(discord.Object(members["bob"]))
    assert {member.id for member in await thread.fetch_members()} == {thread.owner_id, members["bob"]}
    assert (await thread.fetch_member(members["bob"])).id == members["bob"]
    for name in ("bob", "alice"):
        assert len(await sandbox.control.messages(as_=name, channel="Room")) == 1
    await thread.remove_user(discord.Object(members["bob"]))
    with pytest.raises(discord.NotFound):
        await thread.fetch_member(members["bob"])
    for name in ("bob", "dave"):
        with pytest.raises(ControlRefused, match="cannot see"):
            await sandbox.control.messages(as_=name, channel="Room")
    made = await sandbox.control.create("channels", name="Den", type="thread", parent="general", private=True)
    await sandbox.control.change("channels", made["id"], members=["dave"])
    assert await sandbox.control.messages(as_="dave", channel="Den") == []
    with pytest.raises(discord.Forbidden):
        await bot.fetch_channel(int(made["id"]))


async def test_reactions_are_heard_one_by_one_and_cleared_at_once(sandbox: RunningSandbox, bot: SampleBot) -> None:
    heard: list[str] = []

    @bot.event
    async def on_socket_event_type(name: str) -> None:
        if name.startswith("MESSAGE_REACTION"):
            heard.append(name.removeprefix("MESSAGE_REACTION_"))
            bot.changed.set()

    for place in ("general", "dm"):
        message = await sandbox.control.say(as_="alice", channel=place, content="look")
        for emoji in ("⭐", "✉️"):
            await sandbox.control.react(as_="alice", message=message["id"], emoji=emoji)
        await sandbox.control.react(as_="alice", message=message["id"], emoji="⭐", remove=True)
    await bot.until(lambda: len(heard) == 6)
    assert heard == ["ADD", "ADD", "REMOVE"] * 2
    sent = await bot.guilds[0].text_channels[0].send("mine")
    for emoji in ("⭐", "✉️", "❌"):
        await sandbox.control.react(as_="bob", message=str(sent.id), emoji=emoji)
    await bot.until(lambda: len(heard) == 9)
    heard.clear()
    await sandbox.control.change("members", bot.user.name if bot.user else "", permissions=ALL)
    await sent.clear_reaction("⭐")
    await sent.clear_reactions()
    await bot.until(lambda: heard == ["REMOVE_EMOJI", "REMOVE_ALL"])
    assert "reactions" not in (await sandbox.control.messages(as_="bob", channel="general"))[-1]
    route = "PUT /channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me"
    await sandbox.control.limits(buckets={route: None})
    for emoji in (chr(0x1F400 + number) for number in range(20)):
        await sent.add_reaction(emoji)
    with pytest.raises(discord.HTTPException) as refused:
        await sent.add_reaction("⭐")
    assert refused.value.code == 30010
    with pytest.raises(discord.HTTPException) as unknown:
        await sent.add_reaction("star")
    assert unknown.value.code == 10014


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
