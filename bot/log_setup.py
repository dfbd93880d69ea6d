"""Logs as sentences on stderr, each with the job it is about, and no secret in any of them."""

import logging
import re
import sys
import traceback
from collections.abc import Collection
from typing import TextIO

from core.spelling import printable

_FIELDS = ("job", "attempt", "kind", "lane", "gpu_ms", "pid")
#: Interaction tokens stand in Discord's addresses and events; they are secrets for fifteen minutes.
_TOKENS = re.compile(r"""(/(?:webhooks|interactions)/\d+/|["']token["']\s*:\s*["'])[^/\s?"']+""")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Sentences(logging.Formatter):
    """`secrets` are blackened wherever they turn up, in tracebacks too."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._secrets = sorted(secrets, key=len, reverse=True)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """What comes from elsewhere, a file's name for one, ends no line and moves no cursor."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The line, with its fields behind the sentence."""
        text, *rest = super().format(record).split("\n", 1)
        said = " ".join(f"{name}={value}" for name in _FIELDS if (value := getattr(record, name, None)) is not None)
        return self._black("\n".join([f"{text} [{said}]" if said else text, *rest]))

    def _black(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "•••")
        return _TOKENS.sub(r"\1•••", text)


def one_line(record: logging.LogRecord) -> bool:
    """A filter: discord.py tells of each new try with a traceback of fifty lines; the error's own line is enough."""
    if record.exc_info and record.exc_info[1] is not None and str(record.msg).startswith("Attempting a reconnect"):
        said = " ".join(traceback.format_exception_only(record.exc_info[1])[-1].split())
        record.msg, record.args = f"{record.getMessage()} ({said})", None
        record.exc_info = record.exc_text = None
    return True


def set_up(level: str, secrets: Collection[str], stream: TextIO | None = None) -> None:
    """For the whole process; again is fine."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Sentences(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    logging.getLogger("discord.client").addFilter(one_line)  # adding it again changes nothing
    # Each statement with its values, thousands of lines a minute.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    if level == "info":
        # What these libraries call news is their own affairs.
        for library in ("discord", "aiohttp", "asyncio"):
            logging.getLogger(library).setLevel(logging.WARNING)
