"""One attempt of one job on a worker: what was ordered, what came back. Decides nothing and stores nothing."""

import asyncio
from dataclasses import dataclass, field

from bot.scheduling.render_stages import Stage
from bot.workers import WorkerConnection
from core import events
from core.job import Job

#: A worker that does not list a job in this long does not have it.
LEASE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The worker will not finish this attempt. `strike`: it died while computing this job alone."""

    strike: bool = False
    solo: bool = False
    why: str = ""


#: What an event counts for in memory beside its picture.
EVENT_BYTES = 1 << 16

Outcome = events.Done | events.Failed | events.Cancelled | Lost
AttemptEvent = events.Started | events.Picture | Outcome


@dataclass(slots=True, eq=False)
class Attempt:
    """A running job. All moments are monotonic seconds."""

    job: Job
    connection: WorkerConnection
    lease_until: float
    unstored: int = 0  # bytes of what waits in the inbox
    stage: Stage | None = None
    ordered: bool = False  # the worker has an order of it that it has not answered
    ordered_at: float = 0.0
    over: bool = False  # no further order will follow: its end is being written down
    stopped: bool = False  # takes no further order: the bot stops, or the queue is paused
    taken_back: str = ""  # why it was admitted in vain: it ends as failed, free of charge
    cancel_until: float | None = None  # told to stop; ends here even without an answer
    paused: bool = False  # its rows wait in the worker's memory
    paused_at: float = 0.0  # since when
    pause_told: bool = False  # whether that was shown
    off_gpu: bool = False  # paused, and a heartbeat later than that did not name it as computed
    displaced: bool = False  # paused for another job of its own lane
    progress: events.Progress | None = None
    stage_ms: int = 0  # told in this stage
    restored_ms: int = 0  # of stages that were an ancestor's
    _inbox: asyncio.Queue[AttemptEvent] = field(default_factory=asyncio.Queue)

    @property
    def id(self) -> str:
        """The id of its job."""
        return self.job.id

    @property
    def own_ms(self) -> int:
        """GPU time of the job itself in this attempt, as far as told."""
        return self.stage_ms if self.stage is not None and self.stage.own else 0

    @property
    def fraction(self) -> float:
        """How much of it is done, 0 … 1."""
        return self.progress.step / max(1, self.progress.steps) if self.progress else 0.0

    def put(self, event: AttemptEvent) -> None:
        """What has to be stored, in order; never waits."""
        self.unstored += _bytes_of(event)
        self._inbox.put_nowait(event)

    async def take(self) -> AttemptEvent:
        """The next one that was put."""
        event = await self._inbox.get()
        self.unstored -= _bytes_of(event)
        self.connection.stored()
        return event

    def concerns(self, event: events.JobEvent) -> bool:
        """False for what an earlier attempt left behind."""
        return event.attempt == self.job.attempt

    def renew(self, now: float) -> None:
        """The worker has it."""
        self.lease_until = now + LEASE_SECONDS

    def order(self, stage: Stage, source: bytes, pictures: tuple[bytes, ...], now: float) -> None:
        """Sends the worker to work on a stage. `pictures`: those of its request's inputs."""
        self.stage, self.ordered, self.stage_ms, self.progress = stage, True, 0, None
        self.ordered_at = now
        self.off_gpu = False
        self.renew(now)
        self.connection.send(
            events.Submit(
                job=self.id,
                attempt=self.job.attempt,
                request=stage.of.request,
                indices=stage.indices,
                previews=stage.own,
                source=source,
                pictures=pictures,
                kind=stage.of.kind,
            )
        )
        if self.paused:
            self.connection.send(events.Pause(job=self.id, attempt=self.job.attempt))

    def hold(self, now: float) -> None:
        """Its rows wait from the next step on."""
        if not self.paused:
            self.paused, self.paused_at, self.pause_told, self.off_gpu = True, now, False, False
            if self.ordered:
                self.connection.send(events.Pause(job=self.id, attempt=self.job.attempt))

    def go_on(self) -> None:
        """Its rows take their steps again."""
        if self.paused:
            self.paused = self.off_gpu = self.displaced = False
            if self.ordered:
                self.connection.send(events.Resume(job=self.id, attempt=self.job.attempt))

    def recall(self) -> None:
        """Tells the worker to drop it."""
        self.connection.send(events.Cancel(job=self.id, attempt=self.job.attempt))


def _bytes_of(event: AttemptEvent) -> int:
    return EVENT_BYTES + (len(event.png) if isinstance(event, events.Picture) else 0)
