"""A sandbox and a bot as processes of their own, and the control interface. Knows nothing of what is measured."""

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0

Json = dict[str, Any]


@dataclass(slots=True)
class Server:
    """One guild with the bot in it. `started_seconds`: from the bot's start until its commands could be used."""

    base: str
    session: aiohttp.ClientSession
    sandbox_pid: int
    bot_pid: int
    log: Path
    started_seconds: float = 0.0

    async def post(self, call: str, body: Json) -> Json:
        """A control call; raises RuntimeError with the sandbox's sentence when it refuses."""
        async with self.session.post(f"{self.base}/control/{call}", json=body) as answer:
            return _checked(await answer.json())

    async def get(self, call: str, **query: str | int) -> Any:
        """The same for calls that only read."""
        async with self.session.get(f"{self.base}/control/{call}", params=query) as answer:
            return _checked(await answer.json())

    def cpu_seconds(self) -> dict[str, float]:
        """What each process has used of a core so far; empty where the system does not tell."""
        used = {"bot": _cpu(self.bot_pid), "sandbox": _cpu(self.sandbox_pid)}
        return {name: seconds for name, seconds in used.items() if seconds is not None}


def _checked(answer: Any) -> Any:
    if isinstance(answer, dict) and "error" in answer:
        raise RuntimeError(f"the sandbox: {answer['error']['sentence']}")
    return answer


def _cpu(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def serving(folder: Path, *, fake_worker: str, settings: dict[str, str]) -> AsyncIterator[Server]:
    """Both processes until the block ends; `fake_worker` are the options of one, empty = the real worker."""
    port = _free_port()
    base = f"http://127.0.0.1:{port}"
    environment = _environment(folder, base, fake_worker) | settings
    log = folder / "log"
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout, connector=connector))
        sandbox = await _start(["-m", "sandbox", "--port", str(port)], environment, log)
        stack.push_async_callback(_stop, sandbox)
        server = Server(base=base, session=session, sandbox_pid=sandbox.pid, bot_pid=0, log=log)
        await _until(server, lambda state: True)
        began = time.monotonic()
        bot = await _start(["bot.py"], environment, log)
        stack.push_async_callback(_stop, bot)
        server.bot_pid = bot.pid
        await _until(server, lambda state: state["application"]["online"] and state["commands"])
        server.started_seconds = time.monotonic() - began
        yield server


def _environment(folder: Path, base: str, fake_worker: str) -> dict[str, str]:
    """What both processes find; the folder is there afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {**os.environ, "DARKROOM_DATA": str(folder), "DISCORD_TOKEN": "sandbox", "DISCORD_API_URL": base}
    if fake_worker:
        command = [sys.executable, "-m", "tests.harness.fake_worker", *shlex.split(fake_worker)]
        found["DARKROOM_WORKER_COMMAND"] = shlex.join(command)
    return found


async def _start(arguments: list[str], environment: dict[str, str], log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(40):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _until(server: Server, there: Any) -> None:
    """Asks for the state until `there` says yes; the log's end is the reason when it never does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientError):
            if there(await server.get("state")):
                return
        await asyncio.sleep(0.05)
    raise RuntimeError("It did not start. The end of its log:\n" + server.log.read_text("utf-8", "replace")[-2000:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
