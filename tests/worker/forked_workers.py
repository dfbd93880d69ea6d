"""Worker processes that begin at once: forked from one that has imported the libraries, as starts of workers cost most.

python -m tests.worker.forked_workers reads one order a line (`ForkOrder` as JSON) from stdin and answers with a process
number.
"""

import gc
import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worker.process_exit import die_with_parent

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkOrder:
    """`python -m module arguments` in this environment. `said`: the file for its stderr; `ended`: for its exit code."""

    module: str
    arguments: Sequence[str]
    environ: dict[str, str]
    said: str
    ended: str


class ForkedProcess:
    """Like a Popen of that command."""

    def __init__(self, pid: int, birth: ForkOrder) -> None:
        self.pid = pid
        self._birth = birth

    def wait(self, seconds: float) -> int:
        """The exit code; negative for the signal that killed it. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while (code := self.code) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"{self._birth.module} did not end; it said {self.said}")
            time.sleep(0.01)
        return code

    @property
    def code(self) -> int | None:
        """None while it lives."""
        ended = Path(self._birth.ended)
        return int(ended.read_text()) if ended.exists() else None

    @property
    def said(self) -> str:
        """Its stderr until now."""
        return Path(self._birth.said).read_text()

    def send_signal(self, number: int) -> None:
        """To a process that lives."""
        if self.code is None:
            os.kill(self.pid, number)


class ForkServer:
    """Here: one process to fork from, with what `import worker.main` and a first load import."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._born = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker.forked_workers"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, which is safe beside threads
        )

    def start(self, module: str, arguments: Sequence[str], environ: dict[str, str]) -> ForkedProcess:
        """Starts one."""
        self._born += 1
        said, ended = (str(self._folder / f"{self._born}.{name}") for name in ("said", "ended"))
        birth = ForkOrder(module=module, arguments=arguments, environ=environ, said=said, ended=ended)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(birth)) + "\n")
        self._process.stdin.flush()
        return ForkedProcess(int(self._process.stdout.readline()), birth)

    def close(self) -> None:
        """Ends it; Linux ends those that were forked from it."""
        self._process.communicate()


def import_all() -> None:
    """What a worker imports before it has a model."""
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

    import tests.worker.faulty_family
    import worker.main

    assert worker.main and tests.worker.faulty_family


def supervise(birth: ForkOrder, answer: Any) -> None:
    """In a process of its own: forks the child, tells its number, waits for its end, and writes down how it ended."""
    die_with_parent()
    child = os.fork()
    if child == 0:
        run_child(birth)
    answer.write(f"{child}\n")
    answer.flush()
    _, status = os.waitpid(child, 0)
    half = Path(f"{birth.ended}.half")
    half.write_text(str(os.waitstatus_to_exitcode(status)))
    half.rename(birth.ended)


def run_child(birth: ForkOrder) -> None:
    """The child. Does not return."""
    die_with_parent()
    gc.freeze()
    code = 1
    said = os.open(birth.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    for stream in (1, 2):
        os.dup2(said, stream)
    try:
        os.environ.clear()
        os.environ.update(birth.environ)
        sys.argv = [birth.module, *birth.arguments]
        runpy.run_module(birth.module, run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Until stdin ends."""
    import_all()
    for line in sys.stdin:
        if os.fork() == 0:
            supervise(ForkOrder(**json.loads(line)), sys.stdout)
            os._exit(0)


if __name__ == "__main__":
    main()
