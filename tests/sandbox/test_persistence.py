"""The world outlives its process: a real one, killed with SIGKILL, started again on the same data."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.harness.running_sandbox import kill, running_sandbox, sandbox_process
from tests.sandbox.rest_client import IMAGINE, RestClient
from tests.sandbox.sample_bot import PNG, joined


@pytest.mark.crash
async def test_buttons_tokens_files_and_commands_work_after_the_sandbox_was_killed(tmp_path: Path) -> None:
    data = tmp_path / "sandbox"
    async with sandbox_process(data) as first, joined(first.url):
        await first.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a boat"})
        message = await first.control.wait(as_="alice", channel="general", button="U2")
        await first.control.change("channels", "gallery", name="wall")
        await kill(first)
    async with sandbox_process(data) as second:
        state = await second.control.state()
        assert "imagine" in [command["name"] for command in state["commands"]]
        assert "wall" in [channel["name"] for channel in state["guilds"][0]["channels"]]
        again = (await second.control.messages(as_="alice", channel="general"))[0]
        assert (again["id"], again["content"], again["edits"]) == (message["id"], message["content"], 3)
        assert await second.control.download(again["attachments"][0]["url"]) == PNG
        async with joined(second.url):
            answer = await second.control.press(as_="bob", message=message["id"], label="U2")
            assert answer["response"]["kind"] == "update"


async def test_bot_comes_back_by_itself_when_its_sandbox_is_started_again(tmp_path: Path) -> None:
    data = tmp_path / "sandbox"
    async with AsyncExitStack() as stack:
        async with running_sandbox(data) as first:
            port = urlsplit(first.url).port or 0
            bot = await stack.enter_async_context(joined(first.url))
        async with running_sandbox(data, port=port) as second:
            await bot.until(lambda: bot.readies == 2, 60)
            answer = await second.control.command(as_="alice", channel="general", name="think")
            assert answer["response"]["kind"] == "deferred"
            await second.control.wait(as_="alice", channel="general", content_contains="one more")


@pytest.mark.crash
async def test_token_works_after_the_sandbox_was_killed_and_no_acknowledged_edit_is_lost(tmp_path: Path) -> None:
    data = tmp_path / "sandbox"
    async with sandbox_process(data) as first:
        port = urlsplit(first.url).port or 0
        await first.control.limits(buckets={"PATCH /webhooks/*/*/messages/*": None})
        async with RestClient(first) as rest:
            await rest.register(IMAGINE)
            asked = await rest.asked()
            await rest("POST", asked.callback, {"type": 4, "data": {"content": "0"}})
            await asked.waiting
            acknowledged = await edit_until_killed(rest, asked.webhook, first.process)
        async with sandbox_process(data, port=port) as second, RestClient(second) as rest:
            now = await rest("GET", f"{asked.webhook}/messages/@original")
            assert int(now.body["content"]) in (acknowledged, acknowledged + 1)
            edited = await rest("PATCH", f"{asked.webhook}/messages/@original", {"content": "back"})
            assert edited.status == 200


@pytest.mark.crash
async def test_message_sent_again_by_its_nonce_after_a_kill_is_there_once(tmp_path: Path) -> None:
    data = tmp_path / "sandbox"
    async with sandbox_process(data) as first:
        port = urlsplit(first.url).port or 0
        await first.control.limits(buckets={"POST /channels/*/messages": None})
        async with RestClient(first) as rest:
            route = f"/channels/{await rest.channel()}/messages"
            await first.control.fault("POST", "/channels/*/messages", drop="after", times=3)
            for number in range(3):
                with pytest.raises(aiohttp.ClientError):
                    await rest("POST", route, nonced(number), files={"a.png": PNG})
            await kill(first)
    async with sandbox_process(data, port=port) as second, RestClient(second) as rest:
        for number in range(3):
            assert (await rest("POST", route, nonced(number), files={"a.png": PNG})).status == 200
        seen = await second.control.messages(as_="alice", channel="general")
        assert [message["content"] for message in seen] == ["job 0", "job 1", "job 2"]
        assert {len(message["attachments"]) for message in seen} == {1}


def nonced(number: int) -> dict[str, object]:
    return {"content": f"job {number}", "nonce": f"job-{number}", "enforce_nonce": True}


async def edit_until_killed(rest: RestClient, webhook: str, process: asyncio.subprocess.Process | None) -> int:
    """Edit as fast as it goes; kill the sandbox meanwhile. The last edit that was answered."""
    assert process is not None
    last = 0
    for number in range(1, 10_000):
        if number == 60:
            process.kill()
        try:
            answer = await rest("PATCH", f"{webhook}/messages/@original", {"content": str(number)})
        except (OSError, aiohttp.ClientConnectionError):  # a kill shows as either, by its moment
            break
        assert answer.status == 200
        last = number
    await process.wait()
    return last


async def test_second_sandbox_on_the_same_data_says_so_and_stops(tmp_path: Path) -> None:
    data = tmp_path / "sandbox"
    async with running_sandbox(data):
        with pytest.raises(AssertionError, match="ended before"):
            async with sandbox_process(data):
                pass


async def test_moved_sandbox_serves_its_files_under_its_new_address(tmp_path: Path) -> None:
    data = tmp_path / "sandbox"
    async with running_sandbox(data) as first, RestClient(first) as rest:
        await rest("POST", f"/channels/{await rest.channel()}/messages", {}, files={"a.png": PNG})
    async with running_sandbox(data) as second:
        assert second.url != first.url
        message = (await second.control.messages(as_="alice", channel="general"))[0]
        assert message["attachments"][0]["url"].startswith(second.url)
        assert await second.control.download(message["attachments"][0]["url"]) == PNG
