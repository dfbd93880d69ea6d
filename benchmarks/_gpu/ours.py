"""Our loop on the same networks: a grid with previews, four members' grids at once, and overhead."""

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
from worker.checkpoints import Components, LoadedCheckpoint, build_family, memory_mb
from worker.compiling import (
    CompiledModel,
    IdleSignal,
    ModelCompiler,
    NetworkSpec,
    ShapeRequest,
    Traced,
    artifact_store,
    trace,
)
from worker.device import Device
from worker.interfaces import Family
from worker.memory import OffloadPlan, place_networks, plan_for_model
from worker.samplers import samplers_for
from worker.transport import Compiled

LOOK_SECONDS = 0.2


class InMemory:
    """A compiler where there is none: traced graphs as they are, so that a CPU goes the same way."""

    def __init__(self) -> None:
        self._graphs: dict[str, Any] = {}

    def make(self, spec: NetworkSpec, request: ShapeRequest, folder: Path, idle_signal: IdleSignal) -> None:
        """See `background_compiler.MakeArtifact`."""
        with torch.inference_mode(False):
            artifact_store.save(folder, trace(spec, request.bucket, request.shape), self._write)

    def _write(self, traced: Traced, path: Path) -> None:
        self._graphs[name := str(len(self._graphs))] = traced.graph
        path.write_text(name)

    def read(self, path: Path) -> Any:
        """The graph that `make` left there."""
        return self._graphs[path.read_text()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Seconds a grid, alone and of four at once; the share of previews; the plan; what was compiled by the deadline."""

    alone_s: float
    together_s: float
    previews: float
    plan: OffloadPlan
    compiled: bool


class Loop:
    """The engine on a subject, with its compiler."""

    def __init__(self, subject: Subject, components: Components, device: Device, weights: str, cache: Path) -> None:
        self._subject = subject
        family = build_family(components, device, None)
        self.plan = plan_for_model(family, device, weights, subject.name)
        place_networks(family.parts, self.plan, device.torch_device, device.dtype)
        self._idle_event = threading.Event()
        self._runner: Runner | None = None
        self.compiled_model = self._compiled_model(family, device, cache)
        self._runner = Runner(
            _loaded(subject, components, family, device, self.plan, self.compiled_model), device, self._idle_event
        )
        self._count = 0

    def _compiled_model(self, family: Family, device: Device, cache: Path) -> CompiledModel | None:
        stands_in: dict[str, Any] = {}
        if device.torch_device.type != "cuda":
            memory = InMemory()
            stands_in = {"make": memory.make, "read": memory.read}
        model_compiler = ModelCompiler(root=cache, idle=self._idle_event, wake_loop=self._wake_loop, **stands_in)
        return model_compiler(family.parts, self.plan)

    def _wake_loop(self) -> None:
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
        while self.compiled_model is not None and not self.compiled_model.is_settled():
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def mark(self) -> tuple[int, int]:
        """Milliseconds so far: of the device, and of previews by what was booked to overhead."""
        paid = [event for _, event in self.runner.said if isinstance(event, OverheadTime) and event.cause == "preview"]
        return self.runner.meter.busy_ms, sum(event.gpu_ms for event in paid)

    def stop(self) -> None:
        """Ends the loop and its compiler."""
        self.runner.stop()
        if self.compiled_model is not None:
            self.compiled_model.close()


def _loaded(
    subject: Subject, components: Components, family: Family, device: Device, plan: OffloadPlan,
    compiled_model: CompiledModel | None,
) -> LoadedCheckpoint:  # fmt: skip
    info = ModelInfo(
        name=subject.name, family=family.name, digest="random", dtype=device.dtype_name, native=family.native,
        multiple=family.multiple, steps=subject.steps, guidance=subject.guidance, sampler=subject.sampler,
        samplers=samplers_for(family.scheduler),
    )  # fmt: skip
    return LoadedCheckpoint(
        family=family, info=info, memory_mb=memory_mb(family), plan=plan, compiled_model=compiled_model
    )


def measure(
    subject: Subject,
    components: Components,
    device: Device,
    weights: str,
    runs: int,
    deadline: float,
    cache: Path | None = None,
) -> Ours:
    """All numbers of our side. `deadline`: of compiling, monotonic."""
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(subject, components, device, weights, cache or Path(folder))
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
