"""Carries news of jobs to whoever watches. Memory only, never blocks; knows nothing of Discord, SQLite or workers.

Newest wins: a slow watcher sees fewer steps of a job, but always its last state.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from core.events import Progress
from core.job import Job


class Status(StrEnum):
    """How the GPU's side stands, apart from being paused."""

    ONLINE = "online"  # a worker has its model loaded
    LOADING = "loading"  # a worker is there and loads its model
    AWAY = "away"  # no worker


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """`since`: seconds since the epoch at which `status` began. `sentence`: why it is away, when that is known.

    `stopping`: the bot itself is about to end.
    """

    status: Status
    paused: bool
    since: float
    sentence: str = ""
    stopping: bool = False


News = Job | Progress | WorkerState


class EventBus:
    """`changed`, `progress` and `worker` are called by those who decide; everybody else watches."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._latest: dict[str, Progress] = {}

    def changed(self, job: Job) -> None:
        """The job's row is this now."""
        if job.is_final or job.started_at is None:
            self._latest.pop(job.id, None)
        self._tell(job.id, job)

    def progress(self, event: Progress) -> None:
        """A step of a running job. A preview stays until the next one of the same attempt."""
        before = self._latest.get(event.job)
        if not event.preview and before is not None and before.attempt == event.attempt:
            event = replace(event, preview=before.preview)
        self._latest[event.job] = event
        self._tell(event.job, event)

    def worker(self, state: WorkerState) -> None:
        """The GPU came, went, was paused or resumed."""
        self._tell(None, state)

    def latest(self, job_id: str) -> Progress | None:
        """The last step told of a job that is running; None before the first and after the end."""
        return self._latest.get(job_id)

    @contextmanager
    def watch(self, job_id: str | None = None) -> Iterator["Watch"]:
        """News of one job (and of the worker), or of all: `with bus.watch() as news: async for item in news: …`."""
        watch = Watch(job_id)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def _tell(self, job_id: str | None, item: News) -> None:
        for watch in self._watches:
            if watch.job_id is None or job_id is None or watch.job_id == job_id:
                watch.put(job_id, item)


class Watch:
    """One watcher's pending news: at most one Job and one Progress a job, one WorkerState, oldest first."""

    def __init__(self, job_id: str | None) -> None:
        self.job_id = job_id
        self._pending: dict[tuple[type[News], str | None], News] = {}
        self._there = asyncio.Event()

    def put(self, job_id: str | None, item: News) -> None:
        """Replaces what was pending of the same sort."""
        if isinstance(item, Job):
            self._pending.pop((Progress, job_id), None)
        self._pending[type(item), job_id] = item
        self._there.set()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> News:
        while not self._pending:
            self._there.clear()
            await self._there.wait()
        key = next(iter(self._pending))
        return self._pending.pop(key)
