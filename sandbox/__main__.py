"""python -m sandbox: reads the command line, runs the sandbox, and with --with-bot the bot beside it."""

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path

from dotenv import dotenv_values

from sandbox.app import running
from sandbox.botprocess import BotProcess

TOKEN = "sandbox"  # noqa: S105 - the word that every local bot logs in with
BOT = Path(__file__).resolve().parent.parent / "bot.py"


def arguments() -> argparse.Namespace:
    named = os.environ.get("DARKROOM_DATA") or dotenv_values(BOT.parent / ".env").get("DARKROOM_DATA")
    # Like the bot's own: a path that is not absolute starts at the program, wherever it was called from.
    default = BOT.parent / Path(named or "data").expanduser() / "sandbox"
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A Discord on this machine.")
    parser.add_argument("--port", type=int, default=8800, help="0 takes a free one (default: 8800)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--data", type=Path, default=default, help=f"where its world is kept (default: {default})")
    parser.add_argument("--with-bot", action="store_true", help="start bot.py against it")
    return parser.parse_args()


async def main(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(options.data, host=options.host, port=options.port, token=TOKEN) as sandbox:
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
    options = arguments()
    try:
        with suppress(KeyboardInterrupt):
            return asyncio.run(main(options))
    except sqlite3.OperationalError as error:
        print(
            f"Another sandbox uses {options.data} ({error}). Stop it, or give --data another folder.", file=sys.stderr
        )
    except OSError as error:
        print(
            f"Cannot listen on {options.host}:{options.port}: {error.strerror}. Choose another --port.", file=sys.stderr
        )
    return 1


if __name__ == "__main__":
    sys.exit(run())
