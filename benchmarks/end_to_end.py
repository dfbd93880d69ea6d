"""How long members wait for the first answer when fifty of them ask at once, and whether anything gets lost.

50 members × 4 jobs of 20 steps within 10 s, on the real bot, the sandbox, and a worker that computes nothing in 50 ms a
step; five runs, pooled. `--postcard`: 40 jobs with the shipped model at work on the same cores.

    python -m benchmarks.end_to_end [--small] [--postcard] [--runs N]
"""

import argparse
import asyncio
import json
import math
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._server import Json, Server, serving

GOAL_MS = 500
LATE_MS = 3000
STEP_MS = 50
CHANNELS = 5
WORD = re.compile(r"n\d{3}q")
#: High enough that nobody is refused.
CAPS = {
    "DARKROOM_FAST_MINUTES": "100000",
    "DARKROOM_RUNNING": "4",
    "DARKROOM_WAITING": "10",
    "DARKROOM_QUEUE": "1000",
    "DARKROOM_LOG": "warning",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Who asks for what. The seed makes the moments and the order the same in every run of one number."""

    members: int
    jobs_each: int
    steps: int
    window_seconds: float
    fake: bool
    rows: int = 16
    give_up_seconds: float = 1800.0

    @property
    def jobs(self) -> int:
        """In one run."""
        return self.members * self.jobs_each


@dataclass(slots=True)
class Run:
    """What one run showed."""

    first_answers_ms: list[int] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)  # late, refused, lost, doubled
    seconds: float = 0.0  # from the first command to the last result
    edits: int = 0
    posts: int = 0
    too_many: int = 0  # answers of 429
    started_seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)


def word(number: int) -> str:
    """The prompt's own word of a job, to find its messages by."""
    return f"n{number:03d}q"


async def ask(server: Server, run: Run, member: str, channel: str, number: int, load: Load, after: float) -> None:
    """One member types one command, at its moment."""
    await asyncio.sleep(after)
    prompt = f"a red boat on the sea {word(number)} --steps {load.steps}"
    body = {"as": member, "channel": channel, "name": "imagine", "options": {"prompt": prompt}}
    answer = await server.post("commands", body)
    response = answer["response"]
    if response["kind"] == "none" or answer["ack_ms"] is None or answer["ack_ms"] > LATE_MS:
        run.problems["late"] += 1
    elif response.get("ephemeral") or response.get("error"):
        run.problems["refused"] += 1
    if answer["ack_ms"] is not None:
        run.first_answers_ms.append(answer["ack_ms"])


async def results(server: Server, channels: list[str], viewer: str) -> Counter[str]:
    """How many finished grids each job has: messages with its word and a button U1."""
    found: Counter[str] = Counter()
    for channel in channels:
        for message in await server.get("messages", channel=channel, **{"as": viewer}):
            if any(label.startswith("U1") for label in labels(message["components"])):
                found.update(WORD.findall(message["content"]))
    return found


def labels(components: list[Json]) -> list[str]:
    """The labels of all buttons."""
    return [part.get("label") or "" for row in components for part in row.get("components", [])]


async def settle(server: Server, run: Run, load: Load, channels: list[str], viewer: str) -> None:
    """Waits until every job has its grid, then counts what is missing and what is there twice."""
    wanted = {word(number) for number in range(load.jobs)}
    deadline = time.monotonic() + load.give_up_seconds
    found = await results(server, channels, viewer)
    while wanted - found.keys() and time.monotonic() < deadline:
        await asyncio.sleep(1)
        found = await results(server, channels, viewer)
    run.problems["lost"] += len(wanted - found.keys())
    run.problems["doubled"] += sum(count - 1 for count in found.values())


def count_requests(run: Run, transcript: list[Json]) -> None:
    """Edits, new messages and refusals for being too quick, as the sandbox saw them."""
    for entry in transcript:
        if entry["kind"] != "request":
            continue
        run.too_many += entry.get("status") == 429
        good = str(entry.get("status", "")).startswith("2")
        run.edits += good and entry["method"] == "PATCH" and "/messages/" in entry["route"]
        run.posts += good and entry["method"] == "POST" and entry["route"].endswith("/messages")


async def one_run(load: Load, seed: int, folder: Path) -> Run:
    """A fresh server, all commands, all results."""
    chance = random.Random(seed)
    fake = f"--step-ms {STEP_MS} --rows {load.rows}" if load.fake else ""
    run = Run()
    async with serving(folder, fake_worker=fake, settings=CAPS) as server:
        run.started_seconds = server.started_seconds
        channels = [
            (await server.post("channels", {"name": f"room-{n}", "type": "text"}))["id"] for n in range(CHANNELS)
        ]
        members = [(await server.post("members", {"name": f"member-{n}"}))["id"] for n in range(load.members)]
        before = server.cpu_seconds()
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(load.jobs):
                member, channel = members[number % load.members], channels[number % CHANNELS]
                after = chance.uniform(0, load.window_seconds)
                group.create_task(ask(server, run, member, channel, number, load, after))
        await settle(server, run, load, channels, members[0])
        run.seconds = time.monotonic() - began
        run.cpu_seconds = {name: used - before.get(name, 0.0) for name, used in server.cpu_seconds().items()}
        count_requests(run, await server.get("transcript"))
    return run


def quantile(values: list[int], part: float) -> int:
    """The smallest value that `part` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)] if ordered else -1


def summary(load: Load, runs: list[Run], name: str) -> Json:
    """All runs as one result."""
    answers = [ms for run in runs for ms in run.first_answers_ms]
    problems = sum((run.problems for run in runs), Counter[str]())
    seconds = sum(run.seconds for run in runs)
    p99 = quantile(answers, 0.99)
    kept = {name: problems[name] for name in ("late", "refused", "lost", "doubled")}
    return {
        "benchmark": name,
        "runs": len(runs),
        "jobs": load.jobs * len(runs),
        "steps": load.steps,
        "p50_ms": quantile(answers, 0.5),
        "p99_ms": p99,
        "max_ms": max(answers, default=-1),
        "jobs_per_second": round(load.jobs * len(runs) / seconds, 2),
        "edits": sum(run.edits for run in runs),
        "new_messages": sum(run.posts for run in runs),
        "http_429": sum(run.too_many for run in runs),
        **kept,
        "start_seconds": round(max(run.started_seconds for run in runs), 2),
        "bot_cpu_seconds": round(sum(run.cpu_seconds.get("bot", 0.0) for run in runs), 1),
        "sandbox_cpu_seconds": round(sum(run.cpu_seconds.get("sandbox", 0.0) for run in runs), 1),
        "goal_met": len(answers) == load.jobs * len(runs) and p99 < GOAL_MS and not any(kept.values()),
    }


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument("--small", action="store_true", help="one short run")
    parser.add_argument("--postcard", action="store_true", help="the shipped model works on the same cores")
    parser.add_argument("--runs", type=int, help="how many runs are pooled")
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> Load:
    """The load for these options."""
    if options.postcard:
        return Load(members=3 if options.small else 10, jobs_each=4, steps=20, window_seconds=10, fake=False)
    if options.small:
        return Load(members=10, jobs_each=2, steps=5, window_seconds=3, fake=True)
    return Load(members=50, jobs_each=4, steps=20, window_seconds=10, fake=True)


def main(arguments: list[str]) -> int:
    """Ends with 1 when the goal was missed."""
    options = parsed(arguments)
    load = chosen(options)
    runs = []
    for number in range(options.runs or (1 if options.small or options.postcard else 5)):
        with tempfile.TemporaryDirectory(prefix="darkroom-", ignore_cleanup_errors=True) as folder:
            run = asyncio.run(one_run(load, number, Path(folder)))
        print(f"run {number + 1}: {table_row(run)}", flush=True)
        runs.append(run)
    result = summary(load, runs, "end_to_end_postcard" if options.postcard else "end_to_end")
    for name, value in result.items():
        print(f"{name:20} {value}")
    print(json.dumps(result))
    return 0 if result["goal_met"] else 1


def table_row(run: Run) -> str:
    """One run in one line."""
    told: dict[str, Any] = {name: count for name, count in run.problems.items() if count}
    half, most = quantile(run.first_answers_ms, 0.5), quantile(run.first_answers_ms, 0.99)
    return f"p50 {half} ms, p99 {most} ms, {run.seconds:.0f} s, {run.edits} edits, {run.too_many} 429s {told or ''}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
