"""The bot's settings: from the environment and .env, checked. Knows nothing of what they are for."""

from bot.config import value_parsers
from bot.config.config import ROOT, VARIABLES, Config
from bot.config.dotenv_file import read_dotenv
from bot.config.value_parsers import is_loopback

__all__ = [
    "ROOT",
    "VARIABLES",
    "Config",
    "is_loopback",
    "read_dotenv",
    "value_parsers",
]
