"""Runs a sandbox for a test: in this process on a free port, or as a process of its own that can be killed.

async with running_sandbox(tmp_path / "sandbox") as sandbox:
    await sandbox.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a red boat"})
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.app import running
from sandbox.sandbox import Sandbox
from tests.harness.control_client import ControlClient

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSandbox:
    """A sandbox that answers at `url`. `inside` is the object itself; prefer `control`."""

    url: str
    control: ControlClient
    inside: Sandbox | None = None
    process: asyncio.subprocess.Process | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a bot's process needs to join."""
        return {"DISCORD_API_URL": self.url, "DISCORD_TOKEN": TOKEN}


@asynccontextmanager
async def running_sandbox(data: Path, *, port: int = 0, **config: Any) -> AsyncIterator[RunningSandbox]:
    """A sandbox in this process."""
    async with running(data, port=port, **config) as inside, ControlClient(inside.config.base) as control:
        yield RunningSandbox(url=inside.config.base, control=control, inside=inside)


@asynccontextmanager
async def sandbox_process(data: Path, *, port: int = 0, wait_seconds: float = 20) -> AsyncIterator[RunningSandbox]:
    """A sandbox as a process of its own; kill it with `kill(running)`, start it again with the same data and port."""
    arguments = ["-m", "sandbox", "--port", str(port), "--data", str(data)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        url = await asyncio.wait_for(_address(process), wait_seconds)
        async with ControlClient(url) as control:
            yield RunningSandbox(url=url, control=control, process=process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def kill(running: RunningSandbox) -> None:
    """Kills it with SIGKILL and waits for its end."""
    assert running.process is not None
    if running.process.returncode is None:
        running.process.send_signal(signal.SIGKILL)
    await running.process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        if found := re.search(r"at (http://\S+?)/?\s", line.decode()):
            return found[1]
    raise AssertionError("the sandbox ended before it told its address")
