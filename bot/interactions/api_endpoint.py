"""Points discord.py at the configured Discord and finds out whether that one answers. Logs nobody in."""

import asyncio
import logging
import time
from urllib.parse import urlsplit

import aiohttp
import discord
import yarl

from core.backoff import backoff_seconds
from core.errors import DarkroomError

DISCORD = "https://discord.com"
_TRY_SECONDS, _SILENT_SECONDS = 60.0, 3.0

log = logging.getLogger(__name__)


class Unreachable(DarkroomError):
    """Discord does not answer."""


def point_at(url: str) -> None:
    """Makes every request and the gateway of this process go to `url`; empty is the real Discord."""
    # Darkroom does not speak in voice channels, so nobody has to hear what is missing for that.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    if not url:
        return
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    discord.http.Route.BASE = f"{url}/api/v10"
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"{scheme}://{parts.netloc}{parts.path}/gateway")
    discord.asset.Asset.BASE = url


async def until_reachable(url: str, *, seconds: float = _TRY_SECONDS, silent_seconds: float = _SILENT_SECONDS) -> None:
    """Waits for an answer of any kind; says after `silent_seconds` that it does. Raises Unreachable after `seconds`."""
    base = url or DISCORD
    words = "%s does not answer yet; it is tried for another %.0f s."
    notice = asyncio.get_running_loop().call_later(silent_seconds, log.warning, words, base, seconds - silent_seconds)
    try:
        await _answer(base, url, seconds)
    finally:
        notice.cancel()


async def _answer(base: str, url: str, seconds: float) -> None:
    until, tries = time.monotonic() + seconds, 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10), trust_env=True) as session:
        while True:
            try:
                async with session.get(f"{base}/api/v10/gateway"):
                    return
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                tries += 1
                wait = backoff_seconds(tries, first=0.1, longest=5.0)
                if time.monotonic() + wait > until:
                    raise Unreachable(
                        f"{base} does not answer ({error or type(error).__name__}). Check the network"
                        + (" and DISCORD_API_URL." if url else ", a proxy, and Discord's own status page.")
                    ) from error
            await asyncio.sleep(wait)
