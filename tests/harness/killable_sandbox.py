"""The sandbox as a forked process that is killed and started again on the same data and port."""

import asyncio
import gc
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from sandbox.app import running
from tests.harness.control_client import ControlClient
from tests.harness.running_sandbox import TOKEN


def run_sandbox(data: str, port: int) -> None:
    async def serve() -> None:
        async with running(Path(data), port=port):
            await asyncio.Event().wait()

    gc.freeze()  # else a collection looks at all that was imported, and with that copies it
    asyncio.run(serve())


class KillableSandbox:
    """`async with MortalSandbox(folder) as sandbox: … await sandbox.kill(); await sandbox.start()`."""

    def __init__(self, data: Path) -> None:
        self._data = data
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.control = ControlClient(self.url)
        self._process: Any = None

    @property
    def environment(self) -> dict[str, str]:
        """What a bot's process needs to join."""
        return {"DISCORD_API_URL": self.url, "DISCORD_TOKEN": TOKEN}

    async def start(self) -> None:
        """Returns when it answers."""
        from tests.harness.crashing_bot import ForkedProcess

        self._process = ForkedProcess(run_sandbox, str(self._data), self._port)
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.control.state()
                    return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.01)

    async def kill(self) -> None:
        await self._process.end(signal.SIGKILL)

    async def __aenter__(self) -> Self:
        await self.control.__aenter__()
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()
        await self.control.__aexit__(kind, error, trace)
