"""Our loop on the same networks: a grid with previews, four members' grids at once, and what the house paid."""

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks._gpu.configs import Subject
from benchmarks.engine import Runner
from core.events import ModelInfo, OverheadTime
from worker.checkpoints.components import Parts, build
from worker.checkpoints.loader import Loaded, memory_mb
from worker.compiling import artifact_store
from worker.compiling.background_compiler import Quiet
from worker.compiling.compiled_model import Boost, Booster
from worker.compiling.shape_counts import Wish
from worker.compiling.tracing import Recipe, Traced, trace
from worker.device import Device
from worker.interfaces import Family
from worker.memory.offload_plan import Plan
from worker.memory.placement import place, planned
from worker.samplers import samplers_for
from worker.transport.inbox import Compiled

LOOK_SECONDS = 0.2


class InMemory:
    """A compiler where there is none: traced graphs as they are, so that a CPU goes the same way."""

    def __init__(self) -> None:
        self._graphs: dict[str, Any] = {}

    def make(self, recipe: Recipe, wish: Wish, folder: Path, quiet: Quiet) -> None:
        """See `compiling.Make`."""
        with torch.inference_mode(False):
            artifact_store.save(folder, trace(recipe, wish.bucket, wish.shape), self._write)

    def _write(self, traced: Traced, path: Path) -> None:
        self._graphs[name := str(len(self._graphs))] = traced.graph
        path.write_text(name)

    def read(self, path: Path) -> Any:
        """The reverse."""
        return self._graphs[path.read_text()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Seconds a grid, alone and of four at once; the share of previews; the plan; what was compiled by the deadline."""

    alone_s: float
    together_s: float
    previews: float
    plan: Plan
    compiled: bool


class Loop:
    """The engine on a subject, with its compiler."""

    def __init__(self, subject: Subject, parts: Parts, device: Device, weights: str, cache: Path) -> None:
        self._subject = subject
        family = build(parts, device, None)
        self.plan = planned(family, device, weights, subject.name)
        place(family.parts, self.plan, device.place, device.dtype)
        self._rest = threading.Event()
        self._runner: Runner | None = None
        self.boost = self._boost(family, device, cache)
        self._runner = Runner(_loaded(subject, parts, family, device, self.plan, self.boost), device, self._rest)
        self._count = 0

    def _boost(self, family: Family, device: Device, cache: Path) -> Boost | None:
        stands_in: dict[str, Any] = {}
        if device.place.type != "cuda":
            memory = InMemory()
            stands_in = {"make": memory.make, "read": memory.read}
        booster = Booster(root=cache, idle=self._rest, nudge=self._nudge, **stands_in)
        return booster(family.parts, self.plan)

    def _nudge(self) -> None:
        if self._runner is not None:
            self._runner.inbox.put(Compiled())

    @property
    def runner(self) -> Runner:
        """The loop's thread."""
        assert self._runner is not None
        return self._runner

    def grids(self, count: int, seed: int) -> float:
        """Seconds from the first order to the last picture."""
        self._count += 1
        jobs = [f"{self._count}.{number}" for number in range(count)]
        began = time.perf_counter()
        for number, job in enumerate(jobs):
            self.runner.submit(job, self._subject.request(seed + 1000 * number))
        return max(self.runner.wait(job) for job in jobs) - began

    def compiled(self, deadline: float) -> bool:
        """Waits until everything that was asked for is compiled and adopted; False when time (monotonic) ran out."""
        while self.boost is not None and not self.boost.is_settled():
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def mark(self) -> tuple[int, int]:
        """Milliseconds so far: of the device, and of previews by what the house was told to pay."""
        paid = [event for _, event in self.runner.said if isinstance(event, OverheadTime) and event.cause == "preview"]
        return self.runner.meter.busy_ms, sum(event.gpu_ms for event in paid)

    def stop(self) -> None:
        """Ends the loop and its compiler."""
        self.runner.stop()
        if self.boost is not None:
            self.boost.close()


def _loaded(
    subject: Subject, parts: Parts, family: Family, device: Device, plan: Plan, boost: Boost | None
) -> Loaded:  # fmt: skip
    info = ModelInfo(
        name=subject.name, family=family.name, digest="random", dtype=device.dtype_name, native=family.native,
        multiple=family.multiple, steps=subject.steps, guidance=subject.guidance, sampler=subject.sampler,
        samplers=samplers_for(family.scheduler),
    )  # fmt: skip
    return Loaded(family=family, info=info, memory_mb=memory_mb(family), plan=plan, boost=boost)


def measure(
    subject: Subject, parts: Parts, device: Device, weights: str, runs: int, deadline: float, cache: Path | None = None
) -> Ours:
    """All numbers of our side. `deadline`: of compiling, monotonic."""
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(subject, parts, device, weights, cache or Path(folder))
        try:
            for count in (1, 4):  # what is asked for here is what is compiled
                loop.grids(count, seed=1)
            compiled = loop.compiled(deadline)
            for count in (1, 4):
                loop.grids(count, seed=2)
            before = loop.mark()
            alone = sorted(loop.grids(1, seed=10 + number) for number in range(runs))
            together = sorted(loop.grids(4, seed=20 + number) / 4 for number in range(max(1, runs - 1)))
            busy, previews = (after - earlier for after, earlier in zip(loop.mark(), before, strict=True))
            return Ours(
                alone_s=alone[len(alone) // 2], together_s=together[len(together) // 2],
                previews=previews / max(1, busy), plan=loop.plan, compiled=compiled,
            )  # fmt: skip
        finally:
            loop.stop()
