"""The real bot in this process, with real discord.py, against a sandbox, with the fake worker as its own process.

async with sandboxed_bot(tmp_path) as bot:
    message = await bot.imagine("a red boat")
    message = await bot.done(message)
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.config import Config
from bot.interactions import DarkroomBot, point_at
from bot.main import Parts, build
from core.job import Job
from tests.harness.control_client import ControlClient, Json
from tests.harness.running_sandbox import RunningSandbox, running_sandbox

WAIT_MS = 15_000
#: The labels below a picture that stands by itself.
SINGLE = ["Upscale", "Vary Subtle", "Vary Strong", "♥", "More", "ⓘ"]
#: Tests edit far more often than the bot does, so this bucket is lifted unless a test is about it.
EDITS = "PATCH /webhooks/{webhook_id}/{token}/messages/{message_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxedBot:
    """A bot that is online. `control` does what a person does in the sandbox."""

    control: ControlClient
    sandbox: RunningSandbox
    client: DarkroomBot
    parts: Parts

    async def imagine(self, prompt: str, *, as_: str = "alice", channel: str = "general") -> Json:
        """The message that answers /imagine."""
        return await self.answer("imagine", as_=as_, channel=channel, prompt=prompt)

    async def answer(self, name: str, *, as_: str = "alice", channel: str = "general", **options: Any) -> Json:
        """The message that answers a slash command, with `ephemeral`."""
        return self.message(await self.control.command(as_=as_, channel=channel, name=name, options=options))

    async def answer_later(
        self, name: str, *, as_: str = "alice", channel: str = "general", content_contains: str | None = None,
        button: str | None = None, **options: Any,
    ) -> Json:  # fmt: skip
        """The message that a slash command's put-off answer becomes."""
        answered = await self.control.command(as_=as_, channel=channel, name=name, options=options)
        assert answered["response"]["kind"] == "deferred", answered["response"]
        what = {"content_contains": content_contains, "button": button}
        return await self.until(answered["response"]["message"], as_=as_, **{k: v for k, v in what.items() if v})

    async def press(self, message: Json, label: str, *, as_: str = "alice") -> Json:
        """The message that answers a press."""
        return self.message(await self.control.press(as_=as_, message=message["id"], label=label))

    def message(self, answered: Json) -> Json:
        """The message of an answered interaction."""
        response = answered["response"]
        assert response["kind"] == "message", response
        found: Json = response["message"] | {"ephemeral": response["ephemeral"]}
        return found

    async def done(self, message: Json, *, as_: str = "alice", button: str = "ⓘ") -> Json:
        """The message once it shows how its job ended."""
        return await self.control.wait(
            as_=as_, channel=message["channel_id"], message=message["id"], button=button, timeout_ms=WAIT_MS
        )

    async def until(self, message: Json, *, as_: str = "alice", **what: Any) -> Json:
        """The message once it shows something."""
        return await self.control.wait(
            as_=as_, channel=message["channel_id"], message=message["id"], timeout_ms=WAIT_MS, **what
        )

    async def job(self, message: Json) -> Job:
        """The job of a message, by its buttons (a relaxed job's message may be gone already) or by its id."""
        ids = [item["custom_id"].split(":") for row in message["components"] for item in row["components"]]
        named = [parts[1] for parts in ids if parts[2] in ("info", "cancel")]
        jobs = self.parts.services.jobs
        found = await (jobs.get(named[0]) if named else jobs.by_message(message["id"]))
        assert found is not None
        return found

    async def requests(self, method: str, part: str) -> list[Json]:
        """What the bot has asked of Discord."""
        entries = await self.control.transcript()
        return [e for e in entries if e["kind"] == "request" and e["method"] == method and part in e["route"]]

    async def posted(self, channel: str = "general", *, as_: str = "alice") -> list[Json]:
        """Finished pictures that this person sees in a channel."""
        found = await self.control.messages(as_=as_, channel=channel)
        return [m for m in found if m["attachments"] and "ⓘ" in labels(m)]


async def eventually(check: Callable[[], Awaitable[Any]], seconds: float = 15.0) -> Any:
    """What `check` answers, once that is true. For states that nobody announces."""
    async with asyncio.timeout(seconds):
        while not (found := await check()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return found


def labels(message: Json) -> list[str]:
    """The labels of a message's buttons, in order."""
    rows = message["components"]
    buttons = [item for row in rows for item in row["components"] if "options" not in item]
    return [item.get("label") or item["emoji"]["name"] for item in buttons]


def config(sandbox: RunningSandbox, data: Path, worker: str, **environment: str) -> Config:
    """A bot's configuration: quick fake worker, nothing from the environment of the tests."""
    command = f"{sys.executable} -m tests.harness.fake_worker {worker}"
    values = {"DARKROOM_DATA": str(data), "DARKROOM_WORKER_COMMAND": command, "DARKROOM_LOG": "error"}
    return Config.from_env(sandbox.environment | values | environment, data / "no.env")


@asynccontextmanager
async def running_bot(
    sandbox: RunningSandbox, data: Path, worker: str = "--step-ms 5", *, pause: float = 0.05, **environment: str
) -> AsyncIterator[SandboxedBot]:
    """A bot that joins `sandbox`; leaving the block stops it in the middle of whatever it does, as a crash would.

    `pause`: seconds between two edits of a message, short so that tests are.
    """
    environment = {"DARKROOM_EDITS_PER_SECOND": "50"} | environment
    chosen = config(sandbox, data, worker, **environment)
    point_at(chosen.api_url)
    async with build(chosen) as parts, DarkroomBot(parts.services) as bot:
        bot._connection.guild_ready_timeout = 0.05  # type: ignore[attr-defined]
        bot.editor.pause = pause
        running = [
            asyncio.create_task(parts.run()),
            asyncio.create_task(bot.background()),
            asyncio.create_task(bot.start(chosen.token)),
        ]
        try:
            await _online(bot, running)
            yield SandboxedBot(control=sandbox.control, sandbox=sandbox, client=bot, parts=parts)
        finally:
            for task in running:
                task.cancel()
            for task in running:
                with contextlib.suppress(asyncio.CancelledError):
                    await task


@asynccontextmanager
async def sandboxed_bot(
    folder: Path, worker: str = "--step-ms 5", *, pause: float = 0.05, **environment: str
) -> AsyncIterator[SandboxedBot]:
    """A sandbox and a bot in it."""
    async with (
        running_sandbox(folder / "sandbox") as sandbox,
        running_bot(sandbox, folder / "data", worker, pause=pause, **environment) as bot,
    ):
        await sandbox.control.limits(buckets={EDITS: None})
        yield bot


async def _online(bot: DarkroomBot, running: list[asyncio.Task[None]]) -> None:
    """Waits until the bot is ready. Raises what made it fail instead."""
    ready = asyncio.create_task(bot.wait_until_ready())
    done, _ = await asyncio.wait([ready, *running], timeout=20, return_when=asyncio.FIRST_COMPLETED)
    if ready not in done:
        ready.cancel()
    for task in done:
        await task
    assert ready in done, "the bot did not come online"
