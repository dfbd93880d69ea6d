"""How fast the row loop is beside plain diffusers: `python -m benchmarks.engine [--pairs N] [--small] [--model PATH]`.

Three questions, each with its goal: what a grid costs against `StableDiffusionPipeline` (same model, sampler, steps and
threads, previews on); how early and how good the first preview is; what a second job sent at half time sees. Prints a
table, then one line of JSON; exits with 1 when a goal is missed. Run it on a quiet machine: the pairs are interleaved,
so that the ratio bears a noisy one, but absolute times do not.
"""

import argparse
import io
import json
import logging
import os
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.events import Done, Event, Failed, OverheadTime, Picture, Progress, Submit
from core.job import Request
from worker import samplers
from worker.checkpoints import CatalogueLoader, LoadedCheckpoint, load, locate
from worker.device import choose_device, configure_torch
from worker.engine import Engine, GpuMeter, LoadedModel, ModelCache
from worker.transport import HeartbeatThread, Inbox, Stop

RATIO_GOAL = 1.05
FIRST_PREVIEW_GOAL = 0.25  # of the grid's time
FIRST_ERROR_GOAL = 30.0  # mean absolute difference of 255 to the final pictures
LAST_ERROR_GOAL = 20.0
SECOND_STEPS_GOAL = 3  # of the second job, until its first preview
TOGETHER_GOAL = 1.10  # of two grids' time
PREVIEW_COST_GOAL = 0.02  # of the device's time


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table."""

    name: str
    value: float
    unit: str
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value keeps within the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


class Shared(logging.Handler):
    """Counts the steps that the log shows with rows of two jobs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps lines like `Step of 8 rows: a:4 b:4`."""
        if record.msg.startswith("Step of") and str(record.args[1] if record.args else "").count(":") > 1:
            self.lines.append(record.getMessage())


class Runner:
    """The engine in a thread of its own, as the worker runs it, and what it says with the time of saying."""

    def __init__(self, loaded: LoadedCheckpoint, device: Any, idle_event: threading.Event | None = None) -> None:
        self.said: list[tuple[float, Event]] = []
        self._news = threading.Condition()
        self.inbox = Inbox()
        self.meter = GpuMeter.for_device(device.torch_device)
        cache = ModelCache(CatalogueLoader(loaded.info.name, device, load), device, device.memory_mb)
        cache.add(LoadedModel.of(loaded, device))
        engine = Engine(cache, device, self.meter, HeartbeatThread(), self._send, self.inbox, idle_event=idle_event)
        self._thread = threading.Thread(target=engine.run, daemon=True)
        self._thread.start()

    def _send(self, event: Event) -> None:
        with self._news:
            self.said.append((time.perf_counter(), event))
            self._news.notify_all()

    def submit(self, job: str, request: Request) -> float:
        """Orders all pictures; when."""
        self.inbox.put(Submit(job=job, attempt=1, request=request, indices=tuple(range(request.count))))
        return time.perf_counter()

    def of(self, job: str, kind: type) -> list[tuple[float, Any]]:
        """What was said about a job."""
        return [(at, event) for at, event in self.said if isinstance(event, kind) and event.job == job]

    def wait(self, job: str, step: int | None = None) -> float:
        """Until the job is done, or has done so many steps; when that was said."""

        def there() -> list[tuple[float, Any]]:
            assert not self.of(job, Failed), self.of(job, Failed)
            if step is None:
                return self.of(job, Done)
            return [said for said in self.of(job, Progress) if said[1].step >= step]

        with self._news:
            self._news.wait_for(there)
            return there()[0][0]

    def stop(self) -> None:
        """Ends the thread."""
        self.inbox.put(Stop())
        self._thread.join()


def plain_pipeline(model: str, sampler: str) -> Any:
    """diffusers' own, as its documentation starts one."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(locate(model), local_files_only=True, use_safetensors=True)
    pipe.scheduler = samplers.diffusers_scheduler(sampler, pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def plain_seconds(pipe: Any, request: Request) -> float:
    """One grid by it."""
    generators = [torch.Generator().manual_seed(request.seed + index) for index in range(request.count)]
    began = time.perf_counter()
    pipe(
        request.prompt, num_images_per_prompt=request.count, guidance_scale=request.guidance, generator=generators,
        num_inference_steps=request.steps, width=request.width, height=request.height,
    )  # fmt: skip
    return time.perf_counter() - began


def pairs(runner: Runner, pipe: Any, request: Request, count: int, name: str) -> tuple[list[float], list[float]]:
    """Seconds of the engine's grids and of plain ones, in turns, each beginning every other time."""
    ours, plain = [], []
    for number in range(count):
        job = f"{name}{number}"

        def engine(job: str = job) -> None:
            began = runner.submit(job, request)
            ours.append(runner.wait(job) - began)

        def diffusers() -> None:
            plain.append(plain_seconds(pipe, request))

        for run in (engine, diffusers) if number % 2 else (diffusers, engine):
            run()
    return ours, plain


def sheet(runner: Runner, job: str) -> Image.Image:
    """The finished pictures, tiled two by two."""
    made = {event.index: event.png for _, event in runner.of(job, Picture)}
    pictures = [Image.open(io.BytesIO(made[index])).convert("RGB") for index in sorted(made)]
    width, height = pictures[0].size
    whole = Image.new("RGB", (width * 2, height * 2))
    for place, picture in enumerate(pictures):
        whole.paste(picture, (place % 2 * width, place // 2 * height))
    return whole


def preview_errors(runner: Runner, job: str) -> list[tuple[float, float]]:
    """(when, mean absolute difference to the final sheet) of each preview."""
    final = sheet(runner, job)
    found = []
    for at, event in runner.of(job, Progress):
        if event.preview:
            rough = Image.open(io.BytesIO(event.preview)).convert("RGB").resize(final.size)
            found.append((at, float(np.abs(np.asarray(rough, float) - np.asarray(final, float)).mean())))
    return found


def second_job(runner: Runner, request: Request, number: int) -> tuple[float, int]:
    """A second grid sent when half of the first one's steps are done: seconds of both, and its steps at first sight."""
    first, second = f"first{number}", f"second{number}"
    began = runner.submit(first, request)
    runner.wait(first, step=request.steps // 2)
    runner.submit(second, replace(request, seed=request.seed + 100))
    ended = max(runner.wait(first), runner.wait(second))
    seen = next(event.step for _, event in runner.of(second, Progress) if event.preview)
    return ended - began, seen


def measure(options: argparse.Namespace) -> tuple[list[Goal], dict[str, Any]]:
    """All numbers: the goals, and what they were made from."""
    device = choose_device("cpu", "float32", 0)
    configure_torch(device, options.threads)
    loaded = load(options.model, device)
    info = loaded.info
    side = options.side or info.native
    request = Request(
        prompt="a red boat on the sea at sunset", width=side, height=side, seed=1, steps=options.steps,
        guidance=info.guidance, sampler=info.sampler, model=info.name,
    )  # fmt: skip
    runner, pipe = Runner(loaded, device), plain_pipeline(options.model, info.sampler)
    pairs(runner, pipe, replace(request, steps=2), 1, "warm")
    ours, plain = pairs(runner, pipe, request, options.pairs, "pair")
    began = runner.submit("watched", request)
    whole = runner.wait("watched") - began
    previews = preview_errors(runner, "watched")
    shared, log = Shared(), logging.getLogger("darkroom.engine")
    level = log.level
    log.addHandler(shared)
    log.setLevel(logging.DEBUG)
    together = [second_job(runner, request, number) for number in range(options.pairs)]
    runner.stop()
    log.removeHandler(shared)
    log.setLevel(level)
    grid = statistics.median([*ours, whole])
    overhead = sum(
        event.gpu_ms for _, event in runner.said if isinstance(event, OverheadTime) and event.cause == "preview"
    )
    goals = [
        Goal("a grid, against plain diffusers", ratio_of(ours, plain), "times", RATIO_GOAL),
        Goal("first preview", (previews[0][0] - began) / whole, "of the grid's time", FIRST_PREVIEW_GOAL),
        Goal("its difference to the pictures", previews[0][1], "of 255", FIRST_ERROR_GOAL),
        # A grid that takes little more than the second between two previews has only one.
        *[Goal("the last preview's difference", error, "of 255", LAST_ERROR_GOAL) for _, error in previews[1:][-1:]],
        Goal("second job's first preview", max(seen for _, seen in together), "steps", SECOND_STEPS_GOAL),
        Goal("both jobs", statistics.median(t for t, _ in together) / (2 * grid), "times two grids", TOGETHER_GOAL),
        Goal("steps with rows of both", len(shared.lines) / options.pairs, "a pair", 1, at_least=True),
        Goal("previews", overhead / runner.meter.busy_ms, "of the device's time", PREVIEW_COST_GOAL),
    ]
    about = {
        "model": info.name, "digest": info.digest, "side": side, "steps": request.steps, "sampler": request.sampler,
        "guidance": request.guidance, "threads": torch.get_num_threads(), "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2), "ours_s": rounded(ours), "plain_s": rounded(plain),
        "previews": len(previews), "together_s": rounded([seconds for seconds, _ in together]), "log": shared.lines[:1],
    }  # fmt: skip
    return goals, about


def ratio_of(ours: Sequence[float], plain: Sequence[float]) -> float:
    """The median of the pairs' ratios."""
    return statistics.median(mine / theirs for mine, theirs in zip(ours, plain, strict=True))


def rounded(seconds: Sequence[float]) -> list[float]:
    """To milliseconds."""
    return [round(value, 3) for value in seconds]


def main(arguments: Sequence[str]) -> int:
    """0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5, help="interleaved pairs of grids")
    parser.add_argument("--small", action="store_true", help="two pairs of eight steps: does it run at all?")
    parser.add_argument("--model", default="postcard", help="postcard, or a checkpoint's folder")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--side", type=int, default=0, help="pixels; the model's native side by default")
    parser.add_argument("--threads", type=int, default=0, help="one per core by default")
    options = parser.parse_args(arguments)
    if options.small:
        options.pairs, options.steps = 2, 8
    goals, about = measure(options)
    for goal in goals:
        sign = "≥" if goal.at_least else "≤"
        verdict = "met" if goal.met else "MISSED"
        print(f"{goal.name:<34} {goal.value:>8.3f} {goal.unit:<22} goal {sign} {goal.limit:<6g} {verdict}")
    numbers = {goal.name: {"value": round(goal.value, 4), "goal": goal.limit, "met": goal.met} for goal in goals}
    print(json.dumps({"benchmark": "engine", **about, "goals": numbers}, ensure_ascii=False))
    return 0 if all(goal.met for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
