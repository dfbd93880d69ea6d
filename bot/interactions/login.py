"""Logs in, for as long as it takes. Knows nothing of what runs afterwards."""

import asyncio
import logging

import discord

from bot.interactions.api_endpoint import Unreachable
from bot.messages import REQUEST_ERRORS, ErrorKind, error_kind, in_one_line, retry_after
from core.backoff import backoff_seconds
from core.errors import ConfigError

log = logging.getLogger(__name__)

FIRST_SECONDS, LONGEST_SECONDS = 5.0, 300.0


async def log_in(client: discord.Client, token: str) -> None:
    """Logs in; while Discord is busy, broken or keeps this address out, it says so in a line and waits.

    Raises ConfigError for a wrong token, Unreachable for another lasting refusal.
    """
    failures = 0
    while True:
        try:
            await client.login(token)
            return
        except discord.LoginFailure:
            raise ConfigError(
                "Discord does not accept DISCORD_TOKEN. Copy it again: your application → Bot → Reset Token."
            ) from None
        except REQUEST_ERRORS as error:
            if error_kind(error) is not ErrorKind.LATER:
                raise Unreachable(f"Discord refuses the login ({in_one_line(error)}).") from error
            why, asked = in_one_line(error), retry_after(error)
        except (TypeError, LookupError, ValueError):
            if client.application is not None:
                raise  # it is let in: a mistake of ours
            why, asked = "an answer that is none of Discord's", None  # a page of something in between, with a 200
        failures += 1
        wait = max(backoff_seconds(failures, first=FIRST_SECONDS, longest=LONGEST_SECONDS), asked or 0.0)
        log.warning("Discord does not let the bot in for now (%s). The next try is in %.0f s.", why, wait)
        await _let_go(client)
        await asyncio.sleep(wait)


async def _let_go(client: discord.Client) -> None:
    """Each try makes a session of its own, which closes its connector with it."""
    await client.http.close()
    client.http.connector = discord.utils.MISSING
