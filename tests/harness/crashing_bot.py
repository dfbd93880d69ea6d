"""The real bot as a forked process that kills itself at a chosen point, as a power cut would.

A point is a write statement (COMMIT included) or a request to Discord, counted from the first interaction on; SIGKILL
comes just before or just after it. Processes are forked from a server that has imported everything once.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
#: Everything that a run imports, so that no run has to: there are a thousand of them.
CONTEXT.set_forkserver_preload(
    [
        "tests.harness.crashing_bot", "tests.harness.killable_sandbox", "bot.main", "bot.interactions.client",
        "bot.interactions.api_endpoint", "cogs.lanes", "cogs.help", "cogs.imagine", "PIL.BmpImagePlugin",
        "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.PpmImagePlugin",
        "concurrent.futures.thread",
    ]
)  # fmt: skip
_LIFE = ("/interactions/", "/webhooks/", "/channels/")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashPoint:
    """Point `number` (from 1) of a sort: "statement" or "request"; `when`: "before" or "after"."""

    sort: str
    number: int
    when: str

    def __str__(self) -> str:
        return f"{self.when} {self.sort} {self.number}"


class CrashPoints:
    """Counts, notes and, at the chosen one, kills."""

    def __init__(self, crash: CrashPoint | None, tally: str | None) -> None:
        self.crash = crash
        self.armed = False
        self._counts = {"statement": 0, "request": 0}
        self._tally = Path(tally).open("a", buffering=1, encoding="utf-8") if tally else None  # noqa: SIM115

    def statement(self, sql: str, when: str) -> None:
        """A write statement, as `Database.trace` tells of it."""
        self.pass_("statement", " ".join(sql.split())[:100], when)

    def pass_(self, sort: str, what: str, when: str) -> None:
        """One side of a point is passed: counts it, and kills the process where it is the chosen one."""
        if not self.armed:
            return
        if when == "before":
            self._counts[sort] += 1
            if self._tally:
                self._tally.write(f"{sort}\t{what}\n")
        if self.crash == CrashPoint(sort=sort, number=self._counts[sort], when=when):
            os.kill(os.getpid(), signal.SIGKILL)


def install(points: CrashPoints) -> None:
    """Puts the points into the database, aiohttp and discord.py of this process."""
    import aiohttp
    import discord

    from storage.database import Database

    opened, requested = Database.open, aiohttp.ClientSession._request
    interaction_came = discord.state.ConnectionState.parse_interaction_create

    @asynccontextmanager
    async def open_(folder: Path, **more: Any) -> AsyncIterator[Database]:
        async with opened(folder, **more) as db:
            db.trace = points.statement
            yield db

    async def request(self: aiohttp.ClientSession, method: str, url: Any, **more: Any) -> Any:
        path = str(url)
        if not any(part in path for part in _LIFE):
            return await requested(self, method, url, **more)
        points.pass_("request", f"{method} {path}", "before")
        response = await requested(self, method, url, **more)
        points.pass_("request", f"{method} {path}", "after")
        return response

    def came(self: Any, data: Any) -> None:
        points.armed = True
        interaction_came(self, data)

    Database.open = open_  # type: ignore[method-assign,assignment]
    aiohttp.ClientSession._request = request  # type: ignore[method-assign]
    discord.state.ConnectionState.parse_interaction_create = came  # type: ignore[method-assign]


def reconnect_quickly() -> None:
    """Reconnects soon: discord.py waits up to minutes after some failures, and tests have none to spare."""
    from discord.backoff import ExponentialBackoff

    ExponentialBackoff.delay = lambda self: 0.05  # type: ignore[method-assign,assignment,return-value]


def run_bot(environ: Mapping[str, str], log: str, crash: CrashPoint | None, tally: str | None) -> None:
    """The process: `bot.main.serve` with this environment, and nothing inherited but imports."""
    from bot import log_setup
    from bot.config import Config
    from bot.main import serve

    gc.freeze()  # else a collection looks at all that was imported, and with that copies it
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    config = Config.from_env(environ, Path("/nonexistent"))
    log_setup.set_up("info", config.secrets(), sys.stderr)
    reconnect_quickly()
    points = CrashPoints(crash, tally)
    if crash or tally:
        install(points)
    asyncio.run(serve(config))


class ForkedProcess:
    """A forked process. `await process.end(signal.SIGTERM)` ends it; `await process.over()` waits for its own end."""

    def __init__(self, target: Any, *arguments: Any) -> None:
        # Not as a daemon: those may have no children, and a bot has a worker.
        self._process = CONTEXT.Process(target=target, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """None while it runs."""
        return self._process.exitcode

    async def over(self) -> None:
        """Returns when the process has ended."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(self._process.sentinel, lambda: ended.done() or ended.set_result(None))
        try:
            await ended
        finally:
            loop.remove_reader(self._process.sentinel)

    async def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 25.0) -> int | None:
        """Sends a signal and waits; SIGKILL after `seconds`."""
        if self._process.exitcode is None and self._process.pid is not None:
            os.kill(self._process.pid, number)
        try:
            async with asyncio.timeout(seconds):
                await self.over()
        except TimeoutError:
            self._process.kill()
            await self.over()
        # It has ended, so this does not wait. Not in a thread: another run's start asks as well how this one ended,
        # and only one of two is told.
        self._process.join()
        return self._process.exitcode


class ForkedBot(ForkedProcess):
    """The bot as a forked process."""

    def __init__(
        self, environ: Mapping[str, str], log: Path, crash: CrashPoint | None = None, tally: Path | None = None
    ):
        super().__init__(run_bot, dict(environ), str(log), crash, str(tally) if tally else None)

    def children(self) -> list[int]:
        """Processes that it started: its worker."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]
