"""Starts Darkroom: on Discord where a token is set, else in the sandbox. Knows only which; both check the rest."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

ROOT = Path(__file__).parents[1]


def command(settings: Mapping[str, str]) -> list[str]:
    """The command line for these settings: the bot alone with a token, else the sandbox with its bot."""
    if settings.get("DISCORD_TOKEN", "").strip():
        return [sys.executable, "bot.py"]
    return [sys.executable, "-m", "sandbox", "--port", settings.get("DARKROOM_PORT") or "8800", "--with-bot"]


if __name__ == "__main__":
    os.chdir(ROOT)
    # The sandbox reads no .env of its own, and has to agree with the bot about where the data lies.
    settings = {**{name: value for name, value in dotenv_values(".env").items() if value is not None}, **os.environ}
    argv = command(settings)
    # In place of this process, so that Ctrl-C and SIGTERM reach the program itself.
    os.execve(argv[0], argv, settings)  # noqa: S606 - a list of our own words
