"""Clocks, buckets, sizes: that they bite, and that discord.py honours them."""

import asyncio
import time

import discord
import pytest

from tests.harness.control_client import ControlRefused
from tests.harness.running_sandbox import RunningSandbox
from tests.sandbox.rest_client import IMAGINE, RestClient
from tests.sandbox.sample_bot import SampleBot, picture


async def test_sixth_message_in_five_seconds_is_429_with_all_that_a_client_needs(rest: RestClient) -> None:
    answers = [await rest.say(str(number)) for number in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    first, last = answers[0], answers[-1]
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("5", "4")
    assert first.headers["X-RateLimit-Bucket"] == answers[4].headers["X-RateLimit-Bucket"]
    assert last.headers["Via"]
    assert 4 < last.body["retry_after"] <= 5
    assert last.body["global"] is False
    assert (await rest.say("elsewhere", channel="gallery")).status == 200


async def test_discord_py_waits_for_its_bucket_and_loses_nothing(sandbox: RunningSandbox, bot: SampleBot) -> None:
    route = "POST /channels/{channel_id}/messages"
    await sandbox.control.limits(buckets={route: [2, 0.3]})
    channel = bot.guilds[0].text_channels[0]
    started = time.monotonic()
    await asyncio.gather(*(channel.send(str(number)) for number in range(7)))
    assert time.monotonic() - started > 0.8
    assert len(await sandbox.control.messages(as_="alice", channel="general")) == 7


async def test_discord_py_waits_out_a_429_and_sends_again(sandbox: RunningSandbox, bot: SampleBot) -> None:
    await sandbox.control.fault("POST", "/channels/*/messages", status=429, retry_after=0.2)
    await bot.guilds[0].text_channels[0].send("after all")
    assert len(await sandbox.control.messages(as_="alice", channel="general")) == 1


async def test_global_limit_spares_interactions(sandbox: RunningSandbox, rest: RestClient) -> None:
    await sandbox.control.limits(global_per_second=2)
    answers = [await rest("GET", "/users/@me") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].body["global"] is True
    assert answers[2].headers["X-RateLimit-Scope"] == "global"
    assert (await rest("GET", "/webhooks/1/x/messages/@original")).code == 10015


async def test_limit_can_be_lifted_and_unknown_ones_are_refused(sandbox: RunningSandbox, rest: RestClient) -> None:
    await sandbox.control.limits(buckets={"POST /channels/*/messages": None})
    assert {(await rest.say("x")).status for _ in range(12)} == {200}
    with pytest.raises(ControlRefused, match="unknown_limit"):
        await sandbox.control.limits(speed=3)


async def test_first_answer_after_its_clock_is_unknown_interaction(sandbox: RunningSandbox, rest: RestClient) -> None:
    await rest.register(IMAGINE)
    await sandbox.control.limits(ack_ms=50)
    asked = await rest.asked()
    assert (await asked.waiting)["response"]["kind"] == "none"
    late = await rest("POST", asked.callback, {"type": 4, "data": {"content": "late"}})
    assert (late.status, late.code) == (404, 10062)
    assert (await rest("POST", asked.webhook, {"content": "late"})).code == 10015


async def test_second_first_answer_is_already_acknowledged(rest: RestClient) -> None:
    await rest.register(IMAGINE)
    asked = await rest.asked()
    assert (await rest("POST", asked.callback, {"type": 5})).status == 204
    assert (await rest("POST", asked.callback, {"type": 5})).code == 40060
    assert (await asked.waiting)["response"]["kind"] == "deferred"


async def test_token_ends_and_the_channel_goes_on(sandbox: RunningSandbox, rest: RestClient) -> None:
    await rest.register(IMAGINE)
    asked = await rest.asked()
    route = f"{asked.callback}?with_response=true"
    made = (await rest("POST", route, {"type": 4, "data": {"content": "x"}})).body
    await asked.waiting
    await sandbox.control.limits(token_seconds=0)
    ended = await rest("PATCH", f"{asked.webhook}/messages/@original", {"content": "y"})
    assert (ended.status, ended.code) == (401, 50027)
    message = made["resource"]["message"]
    edited = await rest("PATCH", f"/channels/{message['channel_id']}/messages/{message['id']}", {"content": "y"})
    assert edited.body["content"] == "y"


async def test_old_messages_take_few_edits(sandbox: RunningSandbox, rest: RestClient) -> None:
    message = (await rest.say("old")).body
    await sandbox.control.limits(
        edit_window_seconds=0, old_edits=[2, 60], buckets={"PATCH /channels/*/messages/*": None}
    )
    route = f"/channels/{message['channel_id']}/messages/{message['id']}"
    answers = [await rest("PATCH", route, {"content": str(number)}) for number in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].code == 30046


async def test_file_beyond_the_limit_is_too_large_and_a_smaller_one_goes_through(
    sandbox: RunningSandbox, bot: SampleBot
) -> None:
    await sandbox.control.limits(upload_bytes=1000)
    channel = bot.guilds[0].text_channels[0]
    with pytest.raises(discord.HTTPException) as refused:
        await channel.send(file=picture(data=b"x" * 1001))
    assert (refused.value.status, refused.value.code) == (413, 40005)
    await channel.send(file=picture(data=b"x" * 1000))


async def test_interaction_says_how_large_a_file_may_be(sandbox: RunningSandbox, rest: RestClient) -> None:
    await rest.register(IMAGINE)
    await sandbox.control.limits(upload_bytes=1234, ack_ms=50)
    asked = await rest.asked()
    assert asked.interaction["attachment_size_limit"] == 1234
    await asked.waiting


async def test_same_nonce_answers_the_message_that_is_there(sandbox: RunningSandbox, rest: RestClient) -> None:
    first = await rest.say("once", nonce="job-7", enforce_nonce=True)
    again = await rest.say("once", nonce="job-7", enforce_nonce=True)
    assert first.body["id"] == again.body["id"]
    assert len(await sandbox.control.messages(as_="alice", channel="general")) == 1
    other = await rest.say("twice", nonce="job-7")
    assert other.body["id"] != first.body["id"]
