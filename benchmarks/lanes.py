"""What the lanes promise, with Postcard at work on the CPU: `python -m benchmarks.lanes [--small] [--pairs N] …`.

The real scheduler, storage, worker server and worker process, without Discord. Four questions: how long a fast grid
takes while relax work saturates the worker (first come, first served beside it); what the pauses cost in throughput;
how alike ten members are served who all wait; whether relax gets its share under endless fast load. The bot is
restarted in the middle of the last two, without warning, and the first is asked again after that. Prints a table, then
one line of JSON; exits with 1 when a goal is missed. Run it on a quiet machine: on a CPU the time of a step is the
wall's.
"""

import argparse
import asyncio
import itertools
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bot.admission import JobRequest
from bot.config import Config
from bot.event_bus import Status
from bot.main import Parts, build
from core.catalogue import POSTCARD
from core.events import Progress
from core.job import Job, Kind, Lane, Request, State, Where

LATENCY_GOAL, THROUGHPUT_GOAL = 1.5, 0.97
GAP_GOAL, JAIN_GOAL = 2.0, 0.99
SHARE, SHARE_GOAL = 0.1, 0.02
START_SECONDS = 120.0
MEMBERS = tuple(f"member{n}" for n in range(10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured. `side` and `steps` are those of a grid of four."""

    side: int
    steps: int
    rounds: int  # of the first question, before and after the restart each
    behind: int  # grids of relax work that wait when a fast one comes
    pairs: int
    each: int  # grids of each of the ten members, before and after the restart each
    share_seconds: float  # of endless load, before and after the restart each


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table."""

    name: str
    value: float
    limit: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is; a number without a limit stands there for comparison."""
        return self.limit is None or (self.value >= self.limit if self.at_least else self.value <= self.limit)

    def __str__(self) -> str:
        goal = "" if self.limit is None else f"goal {'≥' if self.at_least else '≤'} {self.limit:<6g} "
        return (
            f"{self.name:<58} {self.value:>8.3f} {goal}{'' if self.limit is None else 'met' if self.met else 'MISSED'}"
        )


@dataclass
class MeasuredBot:
    """A bot without a surface, and all that was heard of its jobs, over several runs."""

    folder: Path
    size: Size
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    ended: dict[str, tuple[float, Job]] = field(default_factory=dict)  # when, and its row
    jobs: dict[str, Job] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)  # GPU ms heard of attempts that go on
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    parts: Parts | None = None

    @asynccontextmanager
    async def run(self, *, warm: bool = True) -> AsyncIterator[None]:
        """From a start of the bot, with its worker warm, to a stop without warning.

        Not `warm`: those who waited before go on waiting, and nobody else comes in between.
        """
        async with build(config(self.folder)) as parts:
            self.parts = parts
            self.running.clear()
            tasks = [asyncio.create_task(parts.run()), asyncio.create_task(self._watch(parts))]
            try:
                async with asyncio.timeout(START_SECONDS):
                    while parts.worker_server.status is not Status.ONLINE:  # noqa: ASYNC110  nobody tells of it below the surface
                        await asyncio.sleep(0.05)
                    if warm:
                        await self._warm_up()
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _warm_up(self) -> None:
        """Every shape that a forward will have is computed once: the first time takes longer on a CPU."""
        for together in (1, 2, 2):
            jobs = [await self.ask("warm", Lane.FAST) for _ in range(together)]
            await self.until(lambda jobs=jobs: all(job.id in self.ended for job in jobs))

    async def _watch(self, parts: Parts) -> None:
        with parts.services.bus.watch() as news:
            async for item in news:
                async with self.news:
                    self._note(item)
                    self.news.notify_all()

    def _note(self, item: object) -> None:
        if isinstance(item, Progress):
            self.running[item.job] = item.gpu_ms
        elif isinstance(item, Job):
            self.jobs[item.id] = item
            if item.is_final:
                self.running.pop(item.id, None)
                self.ended[item.id] = time.monotonic(), item

    async def ask(self, user: str, lane: Lane) -> Job:
        """A member asks for a grid."""
        assert self.parts is not None
        admission, number = self.parts.services.admission, next(self.numbers)
        where = Where(
            guild="1", channel="2", message=None, interaction=str(number), token="none",
            token_expires_at=time.time() + 900,
        )  # fmt: skip
        request = Request(
            prompt="a red boat on the sea", width=self.size.side, height=self.size.side, seed=number,
            steps=self.size.steps, guidance=POSTCARD.guidance, sampler=POSTCARD.sampler, model=POSTCARD.name,
        )  # fmt: skip
        job_request = JobRequest(
            kind=Kind.GRID, lane=lane, user=user, account=admission.account(user, "1"), where=where,
            typed=request.prompt, request=request,
        )  # fmt: skip
        return await admission.submit(job_request)

    async def until(self, true: Callable[[], object]) -> None:
        """Waits for news that make it true."""
        async with self.news:
            await self.news.wait_for(true)

    async def seconds_of(self, user: str, lane: Lane) -> float:
        """How long a grid takes from being asked for to being done."""
        began = time.monotonic()
        job = await self.ask(user, lane)
        await self.until(lambda: job.id in self.ended)
        return self.ended[job.id][0] - began

    async def clear(self) -> None:
        """Cancels all that waits or runs."""
        assert self.parts is not None
        services = self.parts.services
        for job in await services.jobs.live():
            await services.scheduler.cancel(job.id)
        while await services.jobs.live():  # noqa: ASYNC110  their rows say it, whoever asked for them in which run
            await asyncio.sleep(0.02)

    async def keep(self, user: str, lane: Lane, waiting: int) -> None:
        """So many grids of a member wait at least."""
        assert self.parts is not None
        services = self.parts.services
        live = await services.jobs.live_of(services.admission.account(user, "1"))
        for _ in range(waiting - sum(job.state is State.QUEUED and job.lane is lane for job in live)):
            await self.ask(user, lane)

    def spent(self, name: Callable[[Job], str]) -> Counter[str]:
        """GPU ms by some name of their jobs: of those that are done, and of those that run as far as heard."""
        spent: Counter[str] = Counter()
        for _, job in self.ended.values():
            spent[name(job)] += job.gpu_ms or 0
        for job_id, ms in self.running.items():
            if job_id in self.jobs:
                spent[name(self.jobs[job_id])] += ms
        return spent


def config(folder: Path) -> Config:
    """Of nothing but what is given: no cap is in the way; the real worker, on one core, the bot beside it."""
    environ = {
        "DARKROOM_DATA": str(folder), "DISCORD_TOKEN": "none", "DARKROOM_MODEL": "postcard", "DARKROOM_DEVICE": "cpu",
        "DARKROOM_FAST_MINUTES": "100000", "DARKROOM_RUNNING": "100", "DARKROOM_WAITING": "1000",
        "DARKROOM_QUEUE": "100000", "DARKROOM_THREADS": "1", "DARKROOM_RELAX_SHARE": str(SHARE),
        # A forward holds one grid, so that a pause changes no batch: on a CPU a row of eight is a little cheaper than
        # one of four, which is the batch's matter and not the pause's.
        "DARKROOM_ROWS": "4", "DARKROOM_LOG": "error",
        # The worker stands back for the bot; here it is what is measured.
        "DARKROOM_NICE": os.environ.get("DARKROOM_NICE", "0"),
        # Another worker, where one is named: whether all this runs does not hang on the model.
        "DARKROOM_WORKER_COMMAND": os.environ.get("DARKROOM_WORKER_COMMAND", ""),
    }  # fmt: skip
    return Config.from_env(environ, folder / "no.env")


# --- the four questions --------------------------------------------------------------------------------------------


async def latency(bot: MeasuredBot, found: dict[str, list[float]]) -> None:
    """Rounds of three: a fast grid alone, one beside relax work without end, one behind as much in its own lane."""
    for number in range(bot.size.rounds):
        found["idle"].append(await bot.seconds_of("fast", Lane.FAST))
        for name, lane, user in (("beside relax", Lane.FAST, "slow"), ("in line", Lane.RELAX, "fast")):
            first, *_ = [await bot.ask(user, Lane.RELAX) for _ in range(bot.size.behind)]
            steps = 1 + number % max(1, bot.size.steps - 1)
            await bot.until(lambda first=first, steps=steps: bot.running.get(first.id, 0) >= steps)
            found[name].append(await bot.seconds_of("fast", lane))
            await bot.clear()


async def makespan(bot: MeasuredBot, lane: Lane) -> tuple[float, float]:
    """Twelve grids; every third comes later than the others, and in this lane. Seconds, and how many were idle."""
    before = set(bot.ended)
    began = time.monotonic()
    for _ in range(8):
        await bot.ask("slow", Lane.RELAX)
    for done in (1, 3, 5, 7):
        await bot.until(lambda done=done: len(bot.ended) >= len(before) + done)
        await bot.ask("fast", lane)
    await bot.until(lambda: len(bot.ended) >= len(before) + 12)
    mine = [end for job, end in bot.ended.items() if job not in before]
    seconds = max(at for at, _ in mine) - began
    return seconds, seconds - sum(job.gpu_ms or 0 for _, job in mine) / 1000


async def throughput(bot: MeasuredBot, pairs: int) -> tuple[list[float], dict[Lane, list[float]]]:
    """How many times as quickly the same grids are done with pauses as without, in interleaved pairs; and the part of
    the time that the device idled with (fast) and without (relax)."""
    ratios, idle = [], {Lane.FAST: list[float](), Lane.RELAX: list[float]()}
    for number in range(pairs):
        took = {}
        for lane in (Lane.FAST, Lane.RELAX) if number % 2 else (Lane.RELAX, Lane.FAST):
            took[lane], idled = await makespan(bot, lane)
            idle[lane].append(idled / took[lane])
        ratios.append(took[Lane.RELAX] / took[Lane.FAST])
    return ratios, idle


async def under_load(bot: MeasuredBot, ask: Callable[[], Awaitable[None]], over: Callable[[], bool]) -> float:
    """Keeps asking until it is over; the widest gap between two of the members meanwhile, in GPU ms."""
    widest = 0.0
    while not over():
        await ask()
        await asyncio.sleep(0.05)
        spent = bot.spent(lambda job: job.user)
        widest = max(widest, max(spent[name] for name in MEMBERS) - min(spent[name] for name in MEMBERS))
    return widest


def grids_of(bot: MeasuredBot, users: Sequence[str]) -> list[int]:
    """What each finished grid of these members cost, in GPU ms."""
    return [job.gpu_ms or 0 for _, job in bot.ended.values() if job.user in users and job.state is State.DONE]


async def members(bot: MeasuredBot) -> float:
    """Ten members who all wait, until so many grids of each, on average, are done; the widest gap in GPU ms."""

    async def ask() -> None:
        for name in MEMBERS:
            await bot.keep(name, Lane.FAST, 2)

    assert bot.parts is not None
    scheduler = bot.parts.services.scheduler
    await scheduler.pause()  # until all of them wait
    await ask()
    await scheduler.resume()
    enough = len(grids_of(bot, MEMBERS)) + bot.size.each * len(MEMBERS)
    return await under_load(bot, ask, lambda: len(grids_of(bot, MEMBERS)) >= enough)


async def share(bot: MeasuredBot) -> float:
    """Relax's part of the GPU time that both lanes got, under endless load of both."""

    async def ask() -> None:
        for name, lane in (("ann", Lane.FAST), ("bob", Lane.FAST), ("carl", Lane.RELAX)):
            await bot.keep(name, lane, 3)

    await ask()
    await bot.until(lambda: any(bot.jobs[job].lane is Lane.RELAX for job in bot.running if job in bot.jobs))
    before, until = bot.spent(lambda job: job.lane), time.monotonic() + bot.size.share_seconds
    await under_load(bot, ask, lambda: time.monotonic() > until)
    spent = bot.spent(lambda job: job.lane) - before
    return spent[Lane.RELAX] / spent.total()


async def measure(size: Size) -> tuple[list[Goal], dict[str, object]]:
    """All of it, in three runs of the bot."""
    found: dict[str, list[float]] = {"idle": [], "beside relax": [], "in line": []}
    again: dict[str, list[float]] = {name: [] for name in found}
    with tempfile.TemporaryDirectory(prefix="darkroom-", ignore_cleanup_errors=True) as folder:
        bot = MeasuredBot(Path(folder), size)
        async with bot.run():
            await latency(bot, found)
            throughputs = [await throughput(bot, size.pairs - size.pairs // 2)]
            gap = await members(bot)
        async with bot.run(warm=False):
            gap = max(gap, await members(bot))
            await bot.clear()
            shares = [await share(bot)]
        async with bot.run():
            shares.append(await share(bot))
            await bot.clear()
            await latency(bot, again)
            throughputs.append(await throughput(bot, size.pairs // 2))
    ratios = [ratio for found, _ in throughputs for ratio in found]
    idle = {
        lane: [part for _, parts in throughputs for part in parts.get(lane, ())] for lane in (Lane.FAST, Lane.RELAX)
    }
    service = bot.spent(lambda job: job.user)
    grid = statistics.median(grids_of(bot, MEMBERS))
    goals = [
        *_latencies("", found), *_latencies(" after the restart", again),
        Goal("throughput with pauses, against without", statistics.median(ratios), THROUGHPUT_GOAL, at_least=True),
        Goal("… part of the time that the device idled with them", statistics.median(idle[Lane.FAST])),
        Goal("… and without", statistics.median(idle[Lane.RELAX])),
        Goal("widest gap between ten members, in grids", gap / grid, GAP_GOAL),
        Goal("Jain's index of the ten", jain([service[name] for name in MEMBERS]), JAIN_GOAL, at_least=True),
        Goal("relax's share, off its tenth by", abs(shares[0] - SHARE), SHARE_GOAL),
        Goal("relax's share after the restart, off by", abs(shares[1] - SHARE), SHARE_GOAL),
    ]  # fmt: skip
    about = {
        "side": size.side, "steps": size.steps, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2),
        "grid_gpu_ms": grid, "seconds": {name: _rounded(times) for name, times in found.items()},
        "seconds_again": {name: _rounded(times) for name, times in again.items()}, "pairs": _rounded(ratios),
        "members_gpu_ms": [service[name] for name in MEMBERS], "shares": _rounded(shares),
    }  # fmt: skip
    return goals, about


def _latencies(when: str, found: Mapping[str, Sequence[float]]) -> list[Goal]:
    def ratio(name: str) -> float:
        return statistics.median(took / idle for took, idle in zip(found[name], found["idle"], strict=True))

    return [
        Goal(f"a fast grid beside relax work{when}, times idle", ratio("beside relax"), LATENCY_GOAL),
        Goal(f"… first come, first served{when}", ratio("in line")),
    ]


def jain(values: Sequence[float]) -> float:
    """1 when all are equal, 1 / n when one has all."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]


def chosen(arguments: Sequence[str]) -> Size:
    """The size for these options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lanes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--small", action="store_true", help="does it run at all?")
    parser.add_argument("--pairs", type=int, default=7, help="interleaved pairs of the throughput")
    parser.add_argument("--rounds", type=int, default=5, help="fast grids of each kind, in each of two runs")
    parser.add_argument("--seconds", type=float, default=30.0, help="of endless load, in each of two runs")
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--steps", type=int, default=16)
    options = parser.parse_args(arguments)
    if options.small:
        return Size(side=64, steps=4, rounds=1, behind=3, pairs=1, each=1, share_seconds=2.0)
    return Size(
        side=options.side, steps=options.steps, rounds=options.rounds, behind=6, pairs=options.pairs, each=5,
        share_seconds=options.seconds,
    )  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """0 when every goal is met."""
    logging.getLogger("bot").setLevel(logging.ERROR)  # that workers go with their bot is meant here
    goals, about = asyncio.run(measure(chosen(arguments)))
    for goal in goals:
        print(goal)
    numbers = {goal.name: {"value": round(goal.value, 4), "goal": goal.limit, "met": goal.met} for goal in goals}
    print(json.dumps({"benchmark": "lanes", **about, "goals": numbers}, ensure_ascii=False))
    return 0 if all(goal.met for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
