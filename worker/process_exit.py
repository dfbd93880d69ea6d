"""How this process ends: with the one that started it, or at once. Knows nothing of what it does until then."""

import ctypes
import logging
import os
import signal
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks Linux for SIGKILL when the parent dies; elsewhere something else has to tell."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def exit_if_orphaned() -> None:
    """A bot that died before `die_with_parent` sends no signal: its process number is not our parent's any more."""
    if os.environ.get("BOT_PID", str(os.getppid())) != str(os.getppid()):
        exit_now(0)


def exit_now(code: int) -> NoReturn:
    """Ends the process: nothing here needs saving, for the bot requeues what this worker held.

    No interpreter shutdown: it would wait for threads that are deep inside a forward.
    """
    logging.shutdown()
    os._exit(code)
