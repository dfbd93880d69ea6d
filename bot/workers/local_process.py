"""Keeps one worker process alive on this machine. Knows how to start, kill and replace it, not what it computes."""

import asyncio
import contextlib
import logging
import os
import random
import re
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable
from typing import Any

from bot.config import ROOT, Config
from core.backoff import backoff_seconds

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
#: After a model that cannot be loaded: somebody has to change something first.
LOAD_FAILED_WAIT_SECONDS = 60.0
#: After a worker that can never work as it is set up (it ends with EX_CONFIG): somebody has to change that first.
UNFIT_WAIT_SECONDS = 300.0
#: From the start of the process to its handshake; importing torch from a cold, slow disk takes its time.
CONNECT_SECONDS = 300.0

PLAIN_COMMAND = [sys.executable, "-m", "worker"]

#: How the worker writes its log: date, time, level, sentence.
_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)")


class LocalWorker:
    """`changed` is called when `process`, `sentence` or `trying` changed."""

    def __init__(self, config: Config, *, address: str, model: str, key: str, changed: Callable[[], None]) -> None:
        self.process: Process | None = None
        self.sentence = ""  # why the last one ended, for people
        self.connected = asyncio.Event()
        self._command = _command(config, address, model)
        self._key = key
        # By this a worker sees that its bot died before it could ask to die with it. Another command may be a shell.
        self._parent = {} if config.worker_command else {"BOT_PID": str(os.getpid())}
        self._hub = {"HF_TOKEN": config.hf_token} if config.hf_token else {}
        self._changed = changed
        self._was_ready = False
        self._load_failed = False
        self._unfit = False  # the last one ended with EX_CONFIG
        self._stopping = asyncio.Event()
        self._tail: deque[str] = deque(maxlen=5)

    @property
    def pid(self) -> int | None:
        """Of the process that runs, if any."""
        return self.process.pid if self.process and self.process.returncode is None else None

    def is_process(self, pid: int) -> bool:
        """Whether this is the last one that was started; it may have ended since, and its last words come later."""
        return self.process is not None and self.process.pid == pid

    def ready(self) -> None:
        """Its model is loaded: the next end of it is an accident, not a crash loop."""
        self._was_ready = True
        self.sentence = ""

    def load_failed(self, sentence: str) -> None:
        """It said that its model cannot be loaded."""
        self._load_failed = True
        self.sentence = sentence

    def stop(self) -> None:
        """The end of this worker is meant: no other one follows."""
        self._stopping.set()

    def kill(self) -> None:
        """At once; what it started dies with it."""
        if self.process is not None and self.process.returncode is None:
            _kill_group(self.process.pid)

    async def run(self) -> None:
        """Starts the worker, and another one each time it ends, until cancelled or told to stop."""
        ends = 1  # in a row of workers that were never ready
        while not self._stopping.is_set():
            await self._run_once()
            if self._stopping.is_set():
                return
            ends = 1 if self._was_ready else ends + 1
            pause = LOAD_FAILED_WAIT_SECONDS if self._load_failed else _backoff(ends)
            if self._unfit:
                pause = UNFIT_WAIT_SECONDS
            else:
                log.info("The next worker starts in %.1f s.", pause)
            await asyncio.sleep(pause)

    async def _run_once(self) -> None:
        self._was_ready = self._load_failed = False
        self.connected.clear()
        try:
            self.process = await self._start()
        except OSError as error:
            self._unfit = False
            self.sentence = f"The worker cannot be started ({error})."
            log.error("%s The command was %s.", self.sentence, shlex.join(self._command))
            self._changed()
            return
        self._changed()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward_log(self.process))
                watch = group.create_task(self._expect_connection())
                code = await self.process.wait()
                watch.cancel()
                _kill_group(self.process.pid)  # what it started would hold the log's pipe open
        finally:
            self.kill()
            await _closed(self.process)
        self._note_end(code)
        self._changed()

    def _note_end(self, code: int) -> None:
        """Says why it ended, and once alone what only a person can change: its own line tells of each later try."""
        before = self.sentence
        self._unfit = code == os.EX_CONFIG and not self._load_failed
        if not self._load_failed:
            self.sentence = self._end_sentence(code)
        if not self._unfit:
            log.warning("%s", self.sentence)
        elif self.sentence != before:
            log.warning("%s It will be tried again every %.0f minutes.", self.sentence, UNFIT_WAIT_SECONDS / 60)

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            env={**worker_environment(), **self._parent, **self._hub, "DARKROOM_WORKER_KEY": self._key},
            # A Ctrl+C in the terminal is the bot's: it tells the worker when the running jobs are safe.
            start_new_session=True,
        )
        log.log(logging.DEBUG if self._unfit else logging.INFO, "The worker is starting.", extra={"pid": process.pid})
        return process

    async def _expect_connection(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.connected.wait()
        except TimeoutError:
            log.error("The worker did not connect within %d s.", CONNECT_SECONDS)
            self.kill()

    async def _forward_log(self, process: Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line longer than the buffer; its rest follows
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            level, said = _parsed(text)
            self._tail.append(said)
            log.log(level, "worker: %s", said)

    def _end_sentence(self, code: int) -> str:
        if code < 0:
            return f"The worker was ended by {signal.Signals(-code).name}."
        if code == 0:
            return "The worker was stopped."
        said = next((line for line in reversed(self._tail) if line.strip()), "it said nothing")
        return f"The worker ended with code {code}: {said[:200]}"


async def _closed(process: Process) -> None:
    """Closes a killed process's pipe once it has ended, also when this task is cancelled, which stays cancelled."""
    waiting = asyncio.ensure_future(process.wait())
    try:
        await asyncio.shield(waiting)
    except asyncio.CancelledError:
        await waiting  # a moment: SIGKILL was sent
        raise
    finally:
        transport: Any = process._transport  # type: ignore[attr-defined]
        transport.close()


def _backoff(ends: int) -> float:
    return backoff_seconds(
        ends, first=FIRST_WAIT_SECONDS, longest=LONGEST_WAIT_SECONDS, jitter=0.2, chance=random.random()
    )


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _command(config: Config, address: str, model: str) -> list[str]:
    given = shlex.split(config.worker_command)
    return (given or PLAIN_COMMAND) + ["--connect", address, "--local", *worker_options(config, model)]


def worker_options(config: Config, model: str) -> list[str]:
    """The worker's options for these settings."""
    chosen = ["--device", config.device, "--dtype", config.dtype, "--model", model, "--nice", str(config.nice)]
    if config.threads:
        chosen += ["--threads", str(config.threads)]
    if config.rows:
        chosen += ["--rows", str(config.rows)]
    if config.gpu_mb:
        chosen += ["--gpu-mb", str(config.gpu_mb)]
    chosen += ["--compile", config.compile, "--weights", config.weights, "--data", str(config.data)]
    chosen += ["--disk-free-mb", str(config.disk_free_mb)]
    return chosen


def worker_environment() -> dict[str, str]:
    """The worker needs no token, so it gets none."""
    return {name: value for name, value in os.environ.items() if name != "DISCORD_TOKEN"}


def _parsed(line: str) -> tuple[int, str]:
    """The level and the sentence of a line of the worker's; whatever else it prints is news of no level."""
    found = _LINE.fullmatch(line)
    return (logging.getLevelNamesMapping()[found[1]], found[2]) if found else (logging.INFO, line)
