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
from worker.compiling.compiled_forward import Forward
from worker.compiling.regions import Code
from worker.compiling.shape_counts import Tally, Wish
from worker.compiling.tracing import Recipe

log = logging.getLogger("darkroom.compiling")

ROOT = Path(__file__).resolve().parent.parent.parent
#: How far the compiler stands back: below everything else on the machine.
NICE = 19
#: With fewer cores than this the compiler stands still while the device has work.
SPARE_CORES = 4
#: A compiler that takes longer than this hangs.
PATIENCE_SECONDS = 1800.0
#: Of each network, the most used ones: the rest is rare enough to be drawn uncompiled.
MOST_SHAPES = 16
_LOOK_SECONDS, _REST_SECONDS = 0.5, 60.0
#: One compiler at a time in a worker, however many models are loaded.
_TURN = threading.Lock()


@dataclass(frozen=True, slots=True)
class Subject:
    """A forward to compile for, and how its model is built."""

    forward: Forward
    recipe: Recipe


class CompileFailed(Exception):
    """The text is the compiler's last word."""


class Quiet:
    """Whether the device has work, as the loop tells, and whether all is over. `idle` may be shared by compilers."""

    def __init__(self, idle: threading.Event | None = None) -> None:
        self._idle = idle or threading.Event()
        if idle is None:
            self._idle.set()
        self.stopped = threading.Event()

    def tell(self, *, idle: bool) -> None:
        """Whenever it changes."""
        if idle:
            self._idle.set()
        else:
            self._idle.clear()

    @property
    def idle(self) -> bool:
        """True while the device has no work."""
        return self._idle.is_set()

    def wait(self) -> None:
        """Until the device has no work, or all ends."""
        while not self.stopped.is_set() and not self._idle.wait(_LOOK_SECONDS):
            pass


#: Makes the bundle of a wish at a folder. Raises CompileFailed, or whatever a compiler does.
Make = Callable[[Recipe, Wish, Path, Quiet], None]


@dataclass(slots=True, kw_only=True, weakref_slot=True)
class Compiler:
    """Works through the wishes of a loaded model. `nudge` wakes the loop when something can be adopted."""

    subjects: Sequence[Subject]
    root: Path
    nudge: Callable[[], None]
    quiet: Quiet = field(default_factory=Quiet)
    make: Make | None = None
    read: Callable[[Path], Code] = artifact_store.read_compiled
    _failed: set[tuple[int, Wish]] = field(default_factory=set)

    def start(self) -> None:
        """In a thread of its own, which ends with the model: it holds nothing of it while it waits or compiles."""
        tally = self.subjects[0].forward.tally
        weakref.finalize(self, self.quiet.stopped.set)
        arguments = weakref.ref(self), self.quiet, tally, self.root
        threading.Thread(target=_work, args=arguments, name="compiling", daemon=True).start()

    def stop(self) -> None:
        """Ends soon, with the compiler's process."""
        self.quiet.stopped.set()
        self.subjects[0].forward.tally.wake()

    def turn(self) -> bool:
        """Serves the first wish that is not served; False when there is none."""
        found = self.first()
        if found is None:
            return False
        number, wish, recipe, folder = found
        self.serve(number, wish, folder, made(self.make, recipe, wish, folder, self.quiet))
        return True

    def first(self) -> tuple[int, Wish, Recipe, Path] | None:
        """The first wish that is not served, with what making its bundle takes."""
        for number, subject in enumerate(self.subjects):
            subject.forward.tally.save()
            for wish in subject.forward.tally.wishes()[:MOST_SHAPES]:
                if (number, wish) not in self._failed and not subject.forward.has(wish):
                    return number, wish, subject.recipe, artifact_store.place(self.root, subject.recipe, wish)
        return None

    def serve(self, number: int, wish: Wish, folder: Path, error: Exception | None) -> None:
        """Offers what was made; what failed is said once, and the eager forward goes on serving."""
        subject = self.subjects[number]
        try:
            if error is not None:
                raise error
            subject.forward.offer(wish, artifact_store.load(folder, self.read), partial(artifact_store.discard, folder))
        except Exception as failed:
            # A compiler and its files fail in many ways. This start has tried; the next one makes it anew.
            self._failed.add((number, wish))
            if failed is not error:
                artifact_store.discard(folder)
            if not self.quiet.stopped.is_set():
                what = f"{subject.recipe.kind} for {wish.bucket} rows"
                log.warning("Compiling %s failed; it stays uncompiled. (%s)", what, str(failed)[-500:] or repr(failed))
        else:
            artifact_store.prune(self.root)
            self.nudge()


def _work(mine: "weakref.ref[Compiler]", quiet: Quiet, tally: Tally, root: Path) -> None:
    """Serves one wish after the other while the model is there."""
    while not quiet.stopped.is_set():
        compiler = mine()
        found = compiler.first() if compiler is not None else None
        make = compiler.make if compiler is not None else None
        del compiler
        if found is None:
            tally.wait(_REST_SECONDS)
            continue
        number, wish, recipe, folder = found
        error = made(make, recipe, wish, folder, quiet)
        if (compiler := mine()) is not None:
            compiler.serve(number, wish, folder, error)
        del compiler


def made(make: Make | None, recipe: Recipe, wish: Wish, folder: Path, quiet: Quiet) -> Exception | None:
    """Sees to it that the bundle is there; what went wrong, if anything did."""
    if (folder / artifact_store.SIGNATURES).is_file():
        return None
    try:
        with _TURN:
            (make or make_apart)(recipe, wish, folder, quiet)
    except Exception as error:
        return error
    return None


def make_apart(recipe: Recipe, wish: Wish, folder: Path, quiet: Quiet) -> None:
    """In a process of its own, which stands still while the device has work, unless there are cores to spare."""
    spare = len(os.sched_getaffinity(0)) >= SPARE_CORES if hasattr(os, "sched_getaffinity") else False
    if not spare:
        quiet.wait()
    log.info("Compiling %s for %d rows in the background.", recipe.kind, wish.bucket)
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.compiling.compile_process", str(NICE)], cwd=ROOT, env=_environment(spare),
        text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        words = _watched(process, compile_process.order(recipe, wish, folder), quiet, pause=not spare)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
    if process.returncode:
        raise CompileFailed(words.strip().splitlines()[-1] if words.strip() else f"ended with {process.returncode}")


def _watched(process: "subprocess.Popen[str]", order: str, quiet: Quiet, *, pause: bool) -> str:
    """Gives the order and waits, pausing the process when there is work; what it said on stderr."""
    said: list[str] = []
    ear = threading.Thread(target=lambda: said.append(process.communicate(order)[1] or ""), daemon=True)
    ear.start()
    left, still = PATIENCE_SECONDS, False
    while ear.is_alive() and left > 0 and not quiet.stopped.is_set():
        ear.join(_LOOK_SECONDS)
        left -= 0 if still else _LOOK_SECONDS
        if pause and still == quiet.idle:
            still = not still
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGSTOP if still else signal.SIGCONT)
    if ear.is_alive():
        process.kill()
        ear.join()
    return "".join(said)


def _environment(spare: bool) -> dict[str, str]:
    """The compiler needs no key, and no more cores than are spare."""
    threads = str(max(1, (os.cpu_count() or 1) // 4)) if spare else "1"
    mine: dict[str, Any] = {name: value for name, value in os.environ.items() if name != "DARKROOM_WORKER_KEY"}
    return {**mine, "TORCHINDUCTOR_COMPILE_THREADS": threads, "OMP_NUM_THREADS": "1"}


def keep_caches(root: Path) -> None:
    """torch's own caches lie beside the bundles, for this process and those that it starts."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(root / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(root / "triton"))
