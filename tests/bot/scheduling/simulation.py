"""One worker in virtual time under the real policy, lanes, hearing and storage: nothing here depends on a clock.

The worker computes a step of up to eight rows in a time that grows with the rows, and does what it is told.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from unittest.mock import create_autospec

from bot.event_bus import EventBus
from bot.scheduling import CostEstimator
from bot.scheduling.attempt import Attempt
from bot.scheduling.lane_control import LaneControl
from bot.scheduling.overhead_usage import OverheadUsage
from bot.scheduling.render_stages import Stage
from bot.scheduling.running_jobs import RunningJobs
from bot.scheduling.worker_events import WorkerEventHandler
from bot.workers import WorkerConnection, WorkerServer
from core import events
from core.job import Job, Lane
from tests.harness.opened_storage import OpenedStorage

ROWS = 8
ROW_MS = 5  # a row's step
STEPS = 20  # of a grid of four, as tests/harness/opened_storage.py makes them
GRID_MS = 4 * STEPS * ROW_MS


@dataclass(slots=True)
class Task:
    """A job in the worker's memory."""

    order: events.Submit
    step: int = 0
    gpu_ms: int = 0
    paused: bool = False


async def nobody(*_: object) -> None:
    """Who is told of models."""


class Worker(WorkerConnection):
    """Both ends of the wire: orders go in by `send`, `step` computes and says what came of it."""

    def __init__(self, name: str, loaded: tuple[str, ...]) -> None:
        self.id, self.local, self.loaded, self.why_closed, self.culprit, self.is_read = name, True, loaded, "", "", True
        self.model = create_autospec(events.ModelInfo, instance=True)
        self.hello = None
        self.tasks: deque[Task] = deque()
        self.most_paused = 0
        self.swaps = 0  # of the one model that its memory holds

    def stored(self) -> None:
        """Nothing waits for it here."""

    def send(self, order: events.Order) -> None:
        """Obeys at once: it is between two steps."""
        mine = [task for task in self.tasks if task.order.job == getattr(order, "job", None)]
        if isinstance(order, events.Submit):
            self.tasks.append(Task(order))
        elif isinstance(order, events.Pause | events.Resume):
            for task in mine:
                task.paused = isinstance(order, events.Pause)
        self.most_paused = max(self.most_paused, sum(len(t.order.indices) for t in self.tasks if t.paused))

    def step(self) -> tuple[int, list[events.Progress | events.Done]]:
        """One forward: what it took, and what is said after it. Those that waited longest come first."""
        batch: list[Task] = []
        for task in self.tasks:
            fits = sum(len(other.order.indices) for other in (*batch, task)) <= ROWS
            if not task.paused and fits and all(model_of(other) == model_of(task) for other in batch):
                batch.append(task)
        if batch and model_of(batch[0]) not in self.loaded:
            self.loaded, self.swaps = (model_of(batch[0]),), self.swaps + 1
        said: list[events.Progress | events.Done] = []
        for task in batch:
            self.tasks.remove(task)
            job, attempt, steps = task.order.job, task.order.attempt, task.order.request.steps
            task.step += 1
            task.gpu_ms += len(task.order.indices) * ROW_MS
            said.append(events.Progress(job=job, attempt=attempt, step=task.step, steps=steps, gpu_ms=task.gpu_ms))
            if task.step == steps:
                said.append(events.Done(job=job, attempt=attempt, gpu_ms=task.gpu_ms))
            else:
                self.tasks.append(task)
        return sum(len(task.order.indices) * ROW_MS for task in batch), said


def model_of(task: Task) -> str:
    return task.order.request.model


@dataclass
class Simulation:
    """A bot's lanes over a store, and its worker. `now` is virtual milliseconds."""

    store: OpenedStorage
    share: float = 0.1
    running: int = 3
    loaded: tuple[str, ...] = ("postcard",)
    now: int = 0
    idle_ms: int = 0  # that the worker waited for though there was work
    began: dict[str, int] = field(default_factory=dict)
    took: dict[str, int] = field(default_factory=dict)  # by job, from being asked for to its end
    by_lane: Counter[Lane] = field(default_factory=Counter)
    by_user: Counter[str] = field(default_factory=Counter)
    heard: dict[tuple[str, int], int] = field(default_factory=dict)
    life: int = 0

    async def start(self) -> None:
        """A start of the bot; the second is a restart, and its worker is a new one."""
        if self.life:
            await self.store.jobs.keep_credit(self.lanes.credit_ms)
        self.life += 1
        self.store.boot = f"simulated{self.life}"
        await self.store.jobs.new_boot(self.store.boot)
        self.worker = Worker(f"w{self.life}", self.loaded)
        self.running_jobs = RunningJobs(self.seconds)
        self.kicked = True
        self.lanes = LaneControl(
            self.running_jobs, share=self.share, running=self.running, kick=self.kick, monotonic=self.seconds
        )
        self.lanes.credit_ms = await self.store.jobs.credit()
        self.worker_events = WorkerEventHandler(
            running_jobs=self.running_jobs, lane_control=self.lanes, overhead=OverheadUsage(self.store.ledger),
            bus=EventBus(),
            costs=create_autospec(CostEstimator, instance=True),
            worker_server=create_autospec(WorkerServer, instance=True),
            ready=nobody, spawn=lambda work: work.close(), kick=self.kick, status_changed=lambda: None,
            draining=lambda: False, monotonic=self.seconds,
        )  # fmt: skip

    def seconds(self) -> float:
        return self.now / 1000

    def kick(self) -> None:
        self.kicked = True

    async def ask(self, user: str, lane: Lane = Lane.FAST, *, model: str = "postcard") -> Job:
        """A member asks for a grid."""
        made = self.store.make(user, lane, GRID_MS)
        job = await self.store.admit(replace(made, request=replace(made.request, model=model)))
        self.began[job.id] = self.now
        self.kick()
        return job

    async def turn(self) -> None:
        """What happens between two steps, and a step."""
        while self.kicked:
            self.kicked = False
            await self.fill()
        spent, said = self.worker.step()
        if not said:
            self.idle_ms += 1 if self.lanes.queued or len(self.running_jobs) else 0
            self.now += 1
        self.now += spent
        for event in said:
            await self.hear(event)

    async def until(self, true: Callable[[], bool]) -> None:
        """Turns until it is true."""
        while not true():
            await self.turn()

    async def fill(self) -> None:
        """As bot/scheduling/scheduler.py does it."""
        self.lanes.queued = await self.store.jobs.waiting_lanes(self.running)
        in_vain: list[Lane] = []
        while capacity := self.lanes.capacity(self.worker, in_vain):
            claim = await self.store.jobs.claim(boot=self.store.boot, worker=self.worker.id, capacity=capacity)
            if claim is None:
                in_vain.append(capacity.lane or Lane.RELAX)
                continue
            attempt = Attempt(job=claim.job, connection=self.worker, lease_until=0.0)
            self.running_jobs.add(attempt)
            for displaced in claim.displaced:
                if other := self.running_jobs.get(displaced):
                    other.displaced = True
            self.lanes.steer(self.worker, attempt)
            attempt.order(Stage(of=claim.job, indices=tuple(range(claim.job.request.count)), own=True), b"", (), 0.0)
            self.lanes.queued = await self.store.jobs.waiting_lanes(self.running)
        self.lanes.settled.add(self.worker.id)
        self.lanes.steer(self.worker)

    async def hear(self, event: events.Progress | events.Done) -> None:
        attempt = self.running_jobs.get(event.job)
        assert attempt is not None
        before = self.heard.get((event.job, event.attempt), 0)
        self.heard[event.job, event.attempt] = event.gpu_ms
        self.by_lane[attempt.job.lane] += event.gpu_ms - before
        self.by_user[attempt.job.user] += event.gpu_ms - before
        self.worker_events.received(self.worker, event)
        if isinstance(event, events.Done):
            await self.store.jobs.finish(event.job, event.attempt, event.gpu_ms)
            self.took[event.job] = self.now - self.began[event.job]
            self.running_jobs.remove(attempt)
            self.kick()
