"""Ordered faults: what the bot then gets, and what nevertheless happened."""

import aiohttp
import discord
import pytest

from tests.harness.control_client import ControlRefused
from tests.harness.running_sandbox import RunningSandbox
from tests.sandbox.rest_client import RestClient
from tests.sandbox.sample_bot import SampleBot


async def contents(sandbox: RunningSandbox) -> list[str]:
    return [message["content"] for message in await sandbox.control.messages(as_="alice", channel="general")]


async def test_ordered_status_comes_as_often_as_ordered(sandbox: RunningSandbox, rest: RestClient) -> None:
    await sandbox.control.fault("POST", "/channels/*/messages", status=503, times=2)
    assert [(await rest.say(str(n))).status for n in range(3)] == [503, 503, 200]
    assert await contents(sandbox) == ["2"]


async def test_ordered_code_reaches_discord_py(sandbox: RunningSandbox, bot: SampleBot) -> None:
    await sandbox.control.fault("POST", "/channels/*/messages", status=403, code=50001)
    with pytest.raises(discord.Forbidden) as refused:
        await bot.guilds[0].text_channels[0].send("x")
    assert refused.value.code == 50001


async def test_dropped_before_nothing_happened(sandbox: RunningSandbox, rest: RestClient) -> None:
    await sandbox.control.fault("POST", "/channels/*/messages", drop="before")
    with pytest.raises(aiohttp.ClientError):
        await rest.say("lost")
    assert await contents(sandbox) == []


async def test_dropped_after_it_happened_though_nobody_was_answered(sandbox: RunningSandbox, rest: RestClient) -> None:
    await sandbox.control.fault("POST", "/channels/*/messages", drop="after")
    with pytest.raises(aiohttp.ClientError):
        await rest.say("done", nonce="7", enforce_nonce=True)
    assert await contents(sandbox) == ["done"]
    assert (await rest.say("done", nonce="7", enforce_nonce=True)).status == 200
    assert await contents(sandbox) == ["done"]


async def test_delay_holds_one_request_only(sandbox: RunningSandbox, rest: RestClient) -> None:
    await sandbox.control.fault("GET", "/users/@me", delay_ms=80)
    await rest("GET", "/users/@me")
    await rest("GET", "/users/@me")
    times = [entry["ms"] for entry in await sandbox.control.transcript() if entry.get("route") == "/users/@me"]
    assert times[0] >= 80 > times[1]


async def test_pattern_stands_for_one_part_of_the_path(sandbox: RunningSandbox, rest: RestClient) -> None:
    message = (await rest.say("x")).body
    await sandbox.control.fault("*", "/channels/*/messages", status=500)
    route = f"/channels/{message['channel_id']}/messages/{message['id']}"
    assert (await rest("PATCH", route, {"content": "y"})).status == 200
    await sandbox.control.clear_faults()
    assert (await rest.say("z")).status == 200


async def test_senseless_fault_is_refused(sandbox: RunningSandbox) -> None:
    for name, wrong in (("status", "500"), ("times", True), ("retry_after", -1), ("delay_ms", [])):
        with pytest.raises(ControlRefused, match=f"bad_{name}"):
            await sandbox.control.fault("GET", "/users/@me", **{name: wrong})
    with pytest.raises(ControlRefused, match="bad_after"):
        await sandbox.control.call("GET", "transcript", after="abc")
    with pytest.raises(ControlRefused, match="bad_drop"):
        await sandbox.control.fault("GET", "/users/@me", drop="sometimes")
    with pytest.raises(ControlRefused, match="unknown_field"):
        await sandbox.control.fault("GET", "/users/@me", statsu=500)
