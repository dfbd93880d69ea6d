"""Who may do what, for the bot and for people."""

import asyncio
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sandbox import permissions
from tests.harness.control_client import ControlRefused
from tests.harness.running_sandbox import RunningSandbox
from tests.sandbox.rest_client import RestClient
from tests.sandbox.sample_bot import SampleBot, picture


async def test_bot_that_may_not_send_gets_missing_permissions_and_sees_it_in_its_cache(
    sandbox: RunningSandbox, bot: SampleBot
) -> None:
    name = (await sandbox.control.state())["application"]["name"]
    updated = asyncio.create_task(bot.wait_for("guild_channel_update", timeout=5))
    await asyncio.sleep(0)
    await sandbox.control.change("channels", "general", permissions={name: {"deny": ["send_messages"]}})
    await updated
    channel = bot.guilds[0].text_channels[0]
    assert not channel.permissions_for(bot.guilds[0].me).send_messages
    with pytest.raises(discord.Forbidden) as refused:
        await channel.send("x")
    assert refused.value.code == 50013
    await sandbox.control.change("channels", "general", permissions={name: None})
    await channel.send("again")


async def test_bot_that_cannot_see_a_channel_gets_missing_access(sandbox: RunningSandbox, bot: SampleBot) -> None:
    channel = bot.guilds[0].text_channels[0]
    message = await channel.send("mine")
    await sandbox.control.change("members", bot.user.name if bot.user else "", permissions=[])
    for attempt in (channel.send("x"), message.edit(content="y")):
        with pytest.raises(discord.Forbidden) as refused:
            await attempt
        assert refused.value.code == 50001


async def test_file_needs_its_own_permission(sandbox: RunningSandbox, bot: SampleBot) -> None:
    name = (await sandbox.control.state())["application"]["name"]
    await sandbox.control.change("channels", "general", permissions={name: {"deny": ["attach_files"]}})
    channel = bot.guilds[0].text_channels[0]
    await channel.send("words")
    with pytest.raises(discord.Forbidden) as refused:
        await channel.send(file=picture())
    assert refused.value.code == 50013


async def test_closed_direct_messages_are_refused(sandbox: RunningSandbox, bot: SampleBot) -> None:
    await sandbox.control.change("members", "dave", dms_open=False)
    dave = next(m for m in (await sandbox.control.state())["guilds"][0]["members"] if m["name"] == "dave")
    user = await bot.fetch_user(int(dave["id"]))
    with pytest.raises(discord.Forbidden) as refused:
        await user.send("x")
    assert refused.value.code == 50007
    await sandbox.control.change("members", "dave", dms_open=True)
    await user.send("hello")
    assert (await sandbox.control.messages(as_="dave", channel="dm"))[0]["content"] == "hello"


async def test_message_of_another_cannot_be_edited_and_deleted_only_with_permission(
    sandbox: RunningSandbox, rest: RestClient
) -> None:
    said = await sandbox.control.say(as_="alice", channel="general", content="mine")
    route = f"/channels/{said['channel_id']}/messages/{said['id']}"
    assert (await rest("PATCH", route, {"content": "yours"})).code == 50005
    assert (await rest("DELETE", route)).code == 50013
    name = (await sandbox.control.state())["application"]["name"]
    await sandbox.control.change("channels", "general", permissions={name: {"allow": ["manage_messages"]}})
    assert (await rest("DELETE", route)).status == 204


async def test_deleted_channel_and_message_are_unknown(sandbox: RunningSandbox, rest: RestClient) -> None:
    message = (await rest.say("x")).body
    route = f"/channels/{message['channel_id']}/messages"
    await sandbox.control.delete(as_="alice", message=message["id"])
    assert (await rest("PATCH", f"{route}/{message['id']}", {"content": "y"})).code == 10008
    await sandbox.control.remove("channels", "general")
    assert (await rest("POST", route, {"content": "y"})).code == 10003


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("not_permitted", {"as_": "dave", "channel": "general", "name": "pause"}),
    ("age_limit", {"as_": "dave", "channel": "general", "name": "adult"}),
    ("wrong_context", {"as_": "dave", "channel": "dm", "name": "here", "options": {"where": "general", "who": "bob"}}),
    ("not_installed", {"as_": "dave", "channel": "general", "name": "think", "install": "user"}),
    ("missing_option", {"as_": "dave", "channel": "general", "name": "imagine"}),
    ("bad_option", {"as_": "dave", "channel": "general", "name": "style", "options": {"name": "x", "strength": 11}}),
    ("bad_option", {"as_": "dave", "channel": "general", "name": "style", "options": {"name": "x", "strength": "5"}}),
    ("bad_option", {"as_": "dave", "channel": "general", "name": "think", "options": {"private": "yes"}}),
    ("unknown_option", {"as_": "dave", "channel": "general", "name": "think", "options": {"loud": True}}),
    ("unknown_command", {"as_": "dave", "channel": "general", "name": "prefer"}),
    ("unknown_command", {"as_": "dave", "channel": "general", "name": "imagin"}),
    ("unknown_member", {"as_": "eve", "channel": "general", "name": "think"}),
]


@pytest.mark.parametrize(("code", "call"), REFUSED)
async def test_client_does_not_send_what_a_person_may_not(
    sandbox: RunningSandbox, bot: SampleBot, code: str, call: dict[str, Any]
) -> None:
    with pytest.raises(ControlRefused) as refused:
        await sandbox.control.command(**call)
    assert refused.value.code == code


async def test_moderator_may_and_the_age_restricted_channel_shows_it(sandbox: RunningSandbox, bot: SampleBot) -> None:
    answer = await sandbox.control.command(as_="bob", channel="general", name="pause")
    assert answer["response"]["message"]["content"] == "paused"
    answer = await sandbox.control.command(as_="dave", channel="nsfw", name="adult")
    assert answer["response"]["message"]["content"] == "fine"


async def test_hidden_channel_is_hidden_from_its_person(sandbox: RunningSandbox) -> None:
    await sandbox.control.change("channels", "gallery", permissions={"everyone": {"deny": ["view_channel"]}})
    with pytest.raises(ControlRefused, match="hidden_channel"):
        await sandbox.control.say(as_="dave", channel="gallery", content="x")
    await sandbox.control.change("channels", "gallery", permissions={"booster": {"allow": ["view_channel"]}})
    await sandbox.control.say(as_="carol", channel="gallery", content="x")


@given(bits=some.integers(0, permissions.ALL), deny=some.integers(0, permissions.ALL))
def test_denied_bits_are_gone_and_without_sight_nothing_is_left(bits: int, deny: int) -> None:
    guild = {"id": "1", "owner_id": "9"}
    member = {"user_id": "2", "roles": []}
    roles = [{"id": "1", "permissions": str(bits & ~permissions.BIT["administrator"])}]
    channel = {"overwrites": [{"id": "2", "type": 1, "allow": "0", "deny": str(deny)}]}
    found = permissions.in_channel(guild, member, roles, channel)
    assert not found & deny or found == permissions.ALL
    assert not found or found & permissions.BIT["view_channel"]
