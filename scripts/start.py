"""Starts Darkroom: on Discord where a token is set, else in the sandbox. Knows only which; both check the rest.

Usage: python -m scripts.start
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]


def command(settings: Mapping[str, str]) -> list[str]:
    """The command line for these settings: the bot alone with a token, else the sandbox with its bot."""
    if settings.get("DISCORD_TOKEN", "").strip():
        return [sys.executable, "bot.py"]
    return [sys.executable, "-m", "sandbox", "--with-bot"]


def main(dotenv: Path = ROOT / ".env") -> NoReturn:
    """Becomes the program, or says why it cannot."""
    from bot.config import read_dotenv
    from core.errors import ConfigError

    try:
        # All of it goes on to the worker too, which reads no .env of its own.
        settings = {**read_dotenv(dotenv).values, **os.environ}
    except ConfigError as error:
        print(f"darkroom: {error.sentence}", file=sys.stderr)
        sys.exit(2)
    os.chdir(ROOT)
    argv = command(settings)
    # In place of this process, so that Ctrl-C and SIGTERM reach the program itself.
    os.execve(argv[0], argv, settings)  # noqa: S606 - a list of our own words


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
