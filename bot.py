"""Starts the bot: `python bot.py`, with `doctor` or `health` behind it for a check. All else is in bot/."""

from bot.main import main

if __name__ == "__main__":
    raise SystemExit(main())
