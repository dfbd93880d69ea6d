"""What crash tests run in: a sandbox, one fake worker that serves run after run of the bot, and the rows as they are.

The data folder of every run lies at the same place and is put there from a snapshot, so that hundreds of runs cost
hundreds of starts and not hundreds of histories.
"""

import asyncio
import os
import shlex
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from storage.database import Database
from storage.ledger import Ledger
from tests.harness.crashing_bot import CrashPoint, ForkedBot
from tests.harness.killable_sandbox import KillableSandbox
from tests.harness.running_sandbox import RunningSandbox, running_sandbox

KEY = "0123456789abcdef"
FINAL = ("done", "failed", "cancelled")
_SECONDS = 60.0


@dataclass
class CrashEnvironment:
    """Where a bot is run again and again. `folder`/data is the bot's; `log` what all runs wrote."""

    folder: Path
    sandbox: RunningSandbox | KillableSandbox
    changes: dict[str, str]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "bots.log"

    def bot(self, crash: CrashPoint | None = None, tally: Path | None = None) -> ForkedBot:
        """Starts the bot; it kills itself at `crash`, and writes the points that it passes to `tally`."""
        return ForkedBot(self.environ, self.log, crash, tally)

    @property
    def environ(self) -> dict[str, str]:
        """The settings that the bot is run with."""
        return {
            **self.sandbox.environment,
            "DARKROOM_DATA": str(self.data),
            "DARKROOM_WORKER": "none",
            "DARKROOM_WORKER_KEY": KEY,
            "DARKROOM_EDITS_PER_SECOND": "50",
            **self.changes,
        }

    async def ready(self) -> None:
        """Waits for the bot to be on the gateway with a worker connected."""

        async def look() -> bool:
            with suppress(aiohttp.ClientError):
                state = await self.sandbox.control.state()
                return bool(state["application"]["online"])
            return False

        await until(look, "the bot online")

    def keep(self, name: str) -> None:
        """Takes a snapshot of the data folder; no bot may run."""
        shutil.copytree(self.data, self.folder / name, ignore=shutil.ignore_patterns("*.sock"))

    def put_back(self, name: str) -> None:
        """Makes the data folder what it was at that snapshot."""
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self.folder / name, self.data)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """What the database holds right now; nothing when there is none."""
        try:
            with closing(sqlite3.connect(f"file:{self.data}/darkroom.sqlite3?mode=ro", uri=True, timeout=5)) as db:
                db.row_factory = sqlite3.Row
                return [dict(row) for row in db.execute(sql)]
        except sqlite3.OperationalError:
            return []

    def unsettled(self) -> list[dict[str, Any]]:
        """Jobs that are not over, or not told."""
        return self.rows(
            "SELECT job.id, job.state, delivery.state AS told FROM job LEFT JOIN delivery ON delivery.job = job.id"
            f" WHERE job.state NOT IN {FINAL} OR delivery.state = 'pending'"
        )

    async def settled(self) -> None:
        """Waits until every job is over and told."""

        async def look() -> bool:
            return not self.unsettled()

        await until(look, "every job over and told", said=lambda: f"{self.unsettled()}\n{self.tail()}")

    async def audit(self) -> list[str]:
        """The ledger's own examination; no bot may run."""
        async with Database.open(self.data) as db:
            return await Ledger(db).audit()

    async def messages(self, after: str | None = None) -> list[dict[str, Any]]:
        """What everybody sees in #general."""
        return await self.sandbox.control.messages(as_="alice", channel="general", after=after)

    def tail(self, lines: int = 60) -> str:
        """The end of the bots' log."""
        return "\n".join(self.log.read_text().splitlines()[-lines:]) if self.log.exists() else ""


async def until(look: Callable[[], Awaitable[Any]], what: str, *, said: Callable[[], str] = str) -> Any:
    """The first true result of `look`."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if found := await look():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited {_SECONDS:.0f} s in vain for {what}\n{said()}")


def about(job: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages that show a job: by their buttons or files."""
    return [
        message
        for message in messages
        if any(job in item.get("custom_id", "") for row in message["components"] for item in row["components"])
        or any(job in file["filename"] for file in message["attachments"])
    ]


@asynccontextmanager
async def crash_environment(folder: Path, *worker: str, **changes: str) -> AsyncIterator[CrashEnvironment]:
    """A sandbox and a worker that redials; no bot yet."""
    async with running_sandbox(folder / "sandbox") as sandbox:
        env = CrashEnvironment(folder, sandbox, changes)
        command = [sys.executable, "-m", "tests.harness.fake_worker", "--local", "--redial", "--step-ms", "5", *worker]
        command += ["--connect", f"unix:{env.data}/worker.sock"]
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, "DARKROOM_WORKER_KEY": KEY}, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            yield env
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()


@asynccontextmanager
async def killable_environment(folder: Path, *worker: str, **changes: str) -> AsyncIterator[CrashEnvironment]:
    """A sandbox that can be killed too; the bot starts its worker itself."""
    command = [sys.executable, "-m", "tests.harness.fake_worker", *worker]
    local = {"DARKROOM_WORKER": "local", "DARKROOM_WORKER_COMMAND": shlex.join(command)}
    async with KillableSandbox(folder / "sandbox") as sandbox:
        yield CrashEnvironment(folder, sandbox, local | changes)
