"""The bot without Discord: everything below its surface, on real SQLite, with the fake worker as a process.

async with headless(tmp_path, "--die", "poison:2") as bot:
    job = await bot.imagine("a red boat")
    await bot.until(job.id, State.DONE)
"""

import asyncio
import itertools
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.admission import JobRequest, PressedButton
from bot.config import Config
from bot.event_bus import Status
from bot.main import Parts, build
from core.job import Job, Kind, Lane, Request, Source, State, Where
from storage.image_retention import ImageRetention

FAKE_WORKER = (sys.executable, "-m", "tests.harness.fake_worker")
DEADLINE_SECONDS = 60.0
_numbers = itertools.count(10**17)


def config(data: Path, *worker: str, **changes: str) -> Config:
    """A configuration of nothing but what is given; `worker`: options of the fake worker."""
    command = shlex.join([*FAKE_WORKER, "--step-ms", "5", "--heartbeat-ms", "100", *worker])
    environ = {"DARKROOM_DATA": str(data), "DARKROOM_WORKER_COMMAND": command, "DISCORD_TOKEN": "token", **changes}
    return Config.from_env(environ, data / "no.env")


def request(prompt: str = "a red boat", **changes: Any) -> Request:
    """A small grid."""
    values = {
        "width": 64,
        "height": 64,
        "seed": 7,
        "steps": 4,
        "guidance": 5.0,
        "sampler": "euler",
        "model": "postcard",
    }
    return Request(prompt=prompt, **(values | changes))


@dataclass
class HeadlessBot:
    """A running bot without a surface."""

    parts: Parts
    seen: dict[str, list[State]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.parts.services, name)

    @property
    def results(self) -> ImageRetention:
        """What is kept of finished pictures."""
        return ImageRetention(self.parts.services.db)

    async def imagine(self, prompt: str = "a red boat", *, user: str = "alice", **changes: Any) -> Job:
        """Admits a job as /imagine does."""
        return await self.admission.submit(self.job_request(prompt, user=user, **changes))

    def job_request(self, prompt: str, *, user: str = "alice", **changes: Any) -> JobRequest:
        """What a person wants."""
        kind, lane = changes.pop("kind", Kind.GRID), changes.pop("lane", Lane.FAST)
        source: Source | None = changes.pop("source", None)
        pressed: PressedButton | None = changes.pop("pressed", None)
        number = next(_numbers)
        where = Where(
            guild="1",
            channel="2",
            message=None,
            interaction=str(changes.pop("interaction", number)),
            token=f"secret-token-{number}",
            token_expires_at=time.time() + 900,
        )
        return JobRequest(
            kind=kind,
            lane=lane,
            user=user,
            account=self.admission.account(user, "1"),
            where=where,
            typed=prompt,
            request=request(prompt, **changes),
            source=source,
            pressed=pressed,
        )

    async def until(self, job: str, *states: State) -> Job:
        """Waits for the row to be in one of the states."""
        return await self.eventually(lambda: self._in(job, states), f"{job} in {states}")

    async def _in(self, job: str, states: tuple[State, ...]) -> Job | None:
        row: Job = await self.jobs.get(job)
        return row if row.state in states else None

    async def online(self) -> None:
        """Waits for a worker with its model loaded."""

        async def look() -> bool:
            return self.parts.worker_server.status is Status.ONLINE

        await self.eventually(look, "a worker")

    async def eventually(self, look: Callable[[], Any], what: str) -> Any:
        """The first true result of `look`, within the deadline."""
        until = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < until:
            if found := await look():
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"waited {DEADLINE_SECONDS:.0f} s in vain for {what}")

    async def clean(self) -> None:
        """The ledger's own examination finds nothing."""
        assert await self.ledger.audit() == []


@asynccontextmanager
async def headless_bot(
    data: Path, *worker: str, build_with: dict[str, Any] | None = None, **changes: str
) -> AsyncIterator[HeadlessBot]:
    """Builds and runs it; stops everything at the end, killing the worker."""
    async with build(config(data, *worker, **changes), **(build_with or {})) as parts:
        running = asyncio.create_task(parts.run())
        try:
            yield HeadlessBot(parts)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
