"""Starts the bot: `python bot.py`, with `doctor`, `health` or `models` behind it. All else is in bot/."""

if __name__ == "__main__":
    try:
        from bot.main import main

        code = main()
    except KeyboardInterrupt:  # while the libraries load; later main() itself ends the bot in order
        code = 0
    raise SystemExit(code)
