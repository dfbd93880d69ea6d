"""Compiles behind the loop: the most used sizes first, in a process of its own, kept on disk between starts.

Ready means that the first picture works uncompiled; this makes the later ones quicker and may fail without harm. Knows
nothing of jobs or of how the loop finds time.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from worker.compiling import artifact_store, compile_process
from worker.compiling.compiled_forward import CompiledForward
from worker.compiling.regions import Code
from worker.compiling.shape_counts import ShapeCounts, ShapeRequest
from worker.compiling.tracing import NetworkSpec
from worker.paths import ROOT

log = logging.getLogger("darkroom.compiling")

#: How far the compiler stands back: below everything else on the machine.
NICE = 19
#: With fewer cores than this the compiler stands still while the device has work.
SPARE_CORES = 4
#: A compiler that takes longer than this hangs.
TIMEOUT_SECONDS = 1800.0
#: Of each network, the most used ones: the rest is rare enough to be drawn uncompiled.
MAX_SHAPES = 16
_POLL_SECONDS, _WAIT_SECONDS = 0.5, 60.0
#: One compiler at a time in a worker, however many models are loaded.
_COMPILING = threading.Lock()


@dataclass(frozen=True, slots=True)
class CompileTarget:
    """A forward to compile for, and how its model is built."""

    forward: CompiledForward
    spec: NetworkSpec


class CompileFailed(Exception):
    """The text is the compiler's last word."""


class IdleSignal:
    """Whether the device has work, as the engine says, and whether all is over. `idle` may be shared by compilers."""

    def __init__(self, idle: threading.Event | None = None) -> None:
        self._idle = idle or threading.Event()
        if idle is None:
            self._idle.set()
        self.stopped = threading.Event()

    @property
    def idle(self) -> bool:
        """True while the device has no work."""
        return self._idle.is_set()

    def wait(self) -> None:
        """Until the device has no work, or all ends."""
        while not self.stopped.is_set() and not self._idle.wait(_POLL_SECONDS):
            pass


#: Makes the artifact for a shape in a folder. Raises CompileFailed, or whatever a compiler does.
MakeArtifact = Callable[[NetworkSpec, ShapeRequest, Path, IdleSignal], None]


@dataclass(slots=True, kw_only=True, weakref_slot=True)
class BackgroundCompiler:
    """Works through the shapes that a model is asked for. `wake_loop` wakes the loop when something can be adopted."""

    targets: Sequence[CompileTarget]
    root: Path
    wake_loop: Callable[[], None]
    idle_signal: IdleSignal = field(default_factory=IdleSignal)
    make: MakeArtifact | None = None
    read: Callable[[Path], Code] = artifact_store.read_compiled
    _failed: set[tuple[int, ShapeRequest]] = field(default_factory=set)

    def start(self) -> None:
        """In a thread of its own, which ends with the model: it holds nothing of it while it waits or compiles."""
        counts = self.targets[0].forward.counts
        weakref.finalize(self, self.idle_signal.stopped.set)
        arguments = weakref.ref(self), self.idle_signal, counts, self.root
        threading.Thread(target=_serve_requests, args=arguments, name="compiling", daemon=True).start()

    def stop(self) -> None:
        """Ends soon, with the compiler's process."""
        self.idle_signal.stopped.set()
        self.targets[0].forward.counts.wake()

    def next_request(self) -> tuple[int, ShapeRequest, NetworkSpec, Path] | None:
        """The first shape that has no code yet, with what compiling for it takes."""
        for number, target in enumerate(self.targets):
            target.forward.counts.save()
            for request in target.forward.counts.most_used()[:MAX_SHAPES]:
                if (number, request) not in self._failed and not target.forward.has(request):
                    folder = artifact_store.artifact_folder(self.root, target.spec, request)
                    return number, request, target.spec, folder
        return None

    def offer_result(self, number: int, request: ShapeRequest, folder: Path, error: Exception | None) -> None:
        """Offers what was made; what failed is said once, and the eager forward goes on serving."""
        target = self.targets[number]
        try:
            if error is not None:
                raise error
            artifact = artifact_store.load(folder, self.read)
            target.forward.offer(request, artifact, partial(artifact_store.discard, folder))
        except Exception as failed:
            # A compiler and its files fail in many ways. This start has tried; the next one makes it anew.
            self._failed.add((number, request))
            if failed is not error:
                artifact_store.discard(folder)
            if not self.idle_signal.stopped.is_set():
                what = f"{target.spec.kind} for {request.bucket} rows"
                log.warning(
                    "Compiling %s failed; it goes on uncompiled. (%s)", what, str(failed)[-500:] or repr(failed)
                )
        else:
            artifact_store.prune(self.root)
            self.wake_loop()


def _serve_requests(
    compiler_ref: "weakref.ref[BackgroundCompiler]", idle_signal: IdleSignal, counts: ShapeCounts, root: Path
) -> None:
    """Compiles for one shape after the other while the model is there."""
    while not idle_signal.stopped.is_set():
        compiler = compiler_ref()
        found = compiler.next_request() if compiler is not None else None
        make = compiler.make if compiler is not None else None
        del compiler
        if found is None:
            counts.wait(_WAIT_SECONDS)
            continue
        number, request, spec, folder = found
        error = ensure_artifact(make, spec, request, folder, idle_signal)
        if (compiler := compiler_ref()) is not None:
            compiler.offer_result(number, request, folder, error)
        del compiler


def ensure_artifact(
    make: MakeArtifact | None, spec: NetworkSpec, request: ShapeRequest, folder: Path, idle_signal: IdleSignal
) -> Exception | None:
    """Compiles unless the artifact is there; what went wrong, if anything did."""
    if (folder / artifact_store.SIGNATURES).is_file():
        return None
    try:
        with _COMPILING:
            (make or compile_in_process)(spec, request, folder, idle_signal)
    except Exception as error:
        return error
    return None


def compile_in_process(spec: NetworkSpec, request: ShapeRequest, folder: Path, idle_signal: IdleSignal) -> None:
    """In a process of its own, which stands still while the device has work, unless there are cores to spare."""
    spare = len(os.sched_getaffinity(0)) >= SPARE_CORES if hasattr(os, "sched_getaffinity") else False
    if not spare:
        idle_signal.wait()
    log.info("Compiling %s for %d rows in the background.", spec.kind, request.bucket)
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.compiling.compile_process", str(NICE)], cwd=ROOT, env=_environment(spare),
        text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        words = _run_compiler(
            process, compile_process.encode_order(spec, request, folder), idle_signal, pause=not spare
        )
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
    if process.returncode:
        raise CompileFailed(words.strip().splitlines()[-1] if words.strip() else f"ended with {process.returncode}")


def _run_compiler(process: "subprocess.Popen[str]", order: str, idle_signal: IdleSignal, *, pause: bool) -> str:
    """Gives the order and waits, pausing the process when there is work; what it said on stderr."""
    words: list[str] = []
    reader = threading.Thread(target=lambda: words.append(process.communicate(order)[1] or ""), daemon=True)
    reader.start()
    left, still = TIMEOUT_SECONDS, False
    while reader.is_alive() and left > 0 and not idle_signal.stopped.is_set():
        reader.join(_POLL_SECONDS)
        left -= 0 if still else _POLL_SECONDS
        if pause and still == idle_signal.idle:
            still = not still
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGSTOP if still else signal.SIGCONT)
    if reader.is_alive():
        process.kill()
        reader.join()
    return "".join(words)


def _environment(spare: bool) -> dict[str, str]:
    """The compiler needs no key, and no more cores than are spare."""
    threads = str(max(1, (os.cpu_count() or 1) // 4)) if spare else "1"
    environ: dict[str, Any] = {name: value for name, value in os.environ.items() if name != "DARKROOM_WORKER_KEY"}
    return {**environ, "TORCHINDUCTOR_COMPILE_THREADS": threads, "OMP_NUM_THREADS": "1"}


def set_torch_cache_folders(root: Path) -> None:
    """torch's own caches lie beside the artifacts, for this process and those that it starts."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(root / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(root / "triton"))
