"""Runs the bot as a child process and says when it ends. Restarts nothing. Knows of the bot only its file."""

import asyncio
import ctypes
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

STOP_SECONDS = 25
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux: what the child runs before it becomes the bot, so that it gets SIGTERM when the sandbox is killed."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it was killed between the fork and the line above
            os._exit(1)

    return prepare


def _restart_command(base: str, token: str, program: Path) -> str:
    """The line for a terminal that starts the same bot again, on the same data, wherever that terminal stands."""
    named = {"DISCORD_API_URL": base, "DISCORD_TOKEN": token}
    named |= {name: value for name, value in os.environ.items() if name.startswith("DARKROOM_")}
    secret = {"DARKROOM_WORKER_KEY"}
    words = [f"{name}={shlex.quote(value)}" for name, value in named.items() if value and name not in secret]
    return f"(cd {shlex.quote(str(program.parent))} && {' '.join(words)} {shlex.quote(sys.executable)} {program.name})"


class BotProcess:
    """The bot of one sandbox."""

    def __init__(self, process: asyncio.subprocess.Process, restart_command: str) -> None:
        self._process = process
        self._restart_command = restart_command

    @classmethod
    async def start(cls, base: str, token: str, *, program: Path) -> "BotProcess":
        """Start `bot.py` against this sandbox, with the same Python and the rest of the environment."""
        environment = os.environ | {"DISCORD_API_URL": base, "DISCORD_TOKEN": token}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(program),
            env=environment,
            cwd=program.parent,
            preexec_fn=_die_with_parent(),
            # A Ctrl+C in the terminal is the sandbox's, which then stops the bot: two signals would end it by force.
            start_new_session=True,
        )
        return cls(process, _restart_command(base, token, program))

    async def ended(self) -> str:
        """Wait for its end; a sentence about it."""
        code = await self._process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        again = f"Ctrl+C stops it, and this starts the bot again:\n{self._restart_command}"
        return f"The bot {how}; the sandbox goes on. {again}"

    async def stop(self) -> None:
        """SIGTERM, 25 seconds to put things in order, then SIGKILL."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            print("The bot did not stop in time and is killed.", flush=True)
            self._process.kill()
            await self._process.wait()
