"""Reads the sandbox's command line, runs the sandbox, and with --with-bot the bot beside it."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from sandbox.app import running
from sandbox.bot_process import BotProcess
from sandbox.errors import CannotStart
from sandbox.model_words import words_about
from sandbox.settings import ROOT, Settings, port, read

TOKEN = "sandbox"  # noqa: S105 - the word that every local bot logs in with
BOT = ROOT / "bot.py"


def arguments(settings: Settings) -> argparse.Namespace:
    """What was typed, else what is set."""
    data = settings.data / "sandbox"
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A Discord on this machine.")
    parser.add_argument("--port", help=f"0 takes a free one (DARKROOM_PORT; here: {settings.port})")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--data", type=Path, default=data, help=f"folder that its world is kept in (default: {data})")
    parser.add_argument("--with-bot", action="store_true", help="start the bot (bot.py) with it")
    given = parser.parse_args()
    given.draws = words_about(settings.model) if given.with_bot else ""
    given.port = settings.port if given.port is None else port("--port", given.port)
    return given


async def main(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(options.data, host=options.host, port=options.port, token=TOKEN, draws=options.draws) as sandbox:
        print(f"Darkroom's sandbox is at {sandbox.config.base}/", flush=True)
        bot = await BotProcess.start(sandbox.config.base, TOKEN, program=BOT) if options.with_bot else None
        watcher = asyncio.create_task(_say_when_ended(bot, stop)) if bot else None
        await stop.wait()
        if watcher and bot:
            watcher.cancel()
            await bot.stop()
    return 0


async def _say_when_ended(bot: BotProcess, stop: asyncio.Event) -> None:
    words = await bot.ended()
    if not stop.is_set():
        print(words, file=sys.stderr, flush=True)


def run() -> int:
    """The exit code."""
    try:
        return asyncio.run(main(arguments(read())))
    except CannotStart as error:
        print(f"sandbox: {error.sentence}", file=sys.stderr)
        return 1
