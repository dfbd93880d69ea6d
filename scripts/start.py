"""Starts Darkroom: on Discord where a token is set, else in the sandbox. Knows only which; both check the rest."""

import os
import sys
from pathlib import Path

from dotenv import dotenv_values

ROOT = Path(__file__).parents[1]


def command(settings: dict[str, str | None]) -> list[str]:
    """The command line for these settings: the bot alone with a token, else the sandbox with its bot."""
    if (settings.get("DISCORD_TOKEN") or "").strip():
        return [sys.executable, "bot.py"]
    return [sys.executable, "-m", "sandbox", "--port", settings.get("DARKROOM_PORT") or "8800", "--with-bot"]


if __name__ == "__main__":
    os.chdir(ROOT)
    argv = command({**dotenv_values(ROOT / ".env"), **os.environ})
    # In place of this process, so that Ctrl-C and SIGTERM reach the program itself.
    os.execv(argv[0], argv)  # noqa: S606 - a list of our own words
