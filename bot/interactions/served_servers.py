"""Which servers are served: those that DARKROOM_GUILDS names; where it names none, those that an owner answers for.

Anybody can add a public application to servers of their own, and each server is a quota of its own. So one is served
when an owner of the bot may manage it, when it was before this rule came, or when an owner approved it. Knows no
messages: whoever listens to `unserved_server` asks the owners.
"""

import asyncio
import time
from collections.abc import Callable

import discord

from bot.messages import REQUEST_ERRORS
from bot.services import Services
from core.errors import NotAllowed

#: What the settings of a server say of one that an owner approved, or that was served before the rule came.
SERVED, APPROVED = "served", "approved"
#: For how long an answer of Discord holds; a no is asked again soon, for somebody may just have given the owner a role.
_FRESH_SECONDS, _NO_SECONDS = 600.0, 30.0
_EVERY_SECONDS = 300.0
_ASK_SECONDS = 1.0  # the first answer has to come within three


class ServedServers:
    """`monotonic` ages what was learned."""

    def __init__(
        self,
        client: discord.Client,
        services: Services,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._named = services.config.guilds
        self._owners = services.owners  # filled at login
        self._settings = services.settings
        self._monotonic = monotonic
        self._kept: set[int] = set()  # whose settings say that they are served
        self._managed: dict[int, tuple[float, bool]] = {}  # when an owner was found to manage it, or none

    def is_served(self, guild: discord.Guild) -> bool | None:
        """As far as it is known; None when Discord has not said yet."""
        if self._named is not None:
            return str(guild.id) in self._named
        if guild.id in self._kept or str(guild.owner_id) in self._owners:
            return True
        known = self._managed.get(guild.id)
        return None if known is None else known[1]

    def check(self, guild: discord.Guild) -> None:
        """Raises NotAllowed in a server that is not served; those who listen may then ask an owner."""
        served = self.is_served(guild)
        if served is None:
            raise NotAllowed("Discord did not say who manages this server. Please try again.", rule="server")
        if not served and self._named is not None:
            sentence = "Darkroom does not work in this server yet. The bot's owner can add it."
            raise NotAllowed(sentence, rule="DARKROOM_GUILDS")
        if not served:
            self._client.dispatch("unserved_server", guild)
            sentence = "Darkroom does not work in this server yet. The bot's owner has to approve it first."
            raise NotAllowed(sentence, rule="server")

    async def look(self, guild_id: int | None, fresh_seconds: float = _FRESH_SECONDS) -> None:
        """Makes `is_served` know, where Discord answers in time. Quick for a server that was looked at lately."""
        guild = self._client.get_guild(guild_id) if guild_id is not None else None
        if guild is None or self._is_fresh(guild, fresh_seconds):
            return
        if (await self._settings.server(str(guild.id))).get(SERVED):
            self._kept.add(guild.id)
            return
        managed = await self._is_managed(guild)
        if managed is not None:
            self._managed[guild.id] = self._monotonic(), managed

    async def approve(self, guild_id: int) -> None:
        """Serves it from now on."""
        await self._settings.set_server(str(guild_id), SERVED, APPROVED)
        self._kept.add(guild_id)

    async def run(self) -> None:
        """Looks at all servers from time to time, so that answers need not, and direct messages know members' homes."""
        await self._client.wait_until_ready()
        while True:
            for guild in list(self._client.guilds):
                await self.look(guild.id, _EVERY_SECONDS)
            await asyncio.sleep(_EVERY_SECONDS)

    def _is_fresh(self, guild: discord.Guild, seconds: float) -> bool:
        if self._named is not None or guild.id in self._kept or str(guild.owner_id) in self._owners:
            return True
        known = self._managed.get(guild.id)
        return known is not None and self._monotonic() - known[0] < (seconds if known[1] else _NO_SECONDS)

    async def _is_managed(self, guild: discord.Guild) -> bool | None:
        """Whether one of the owners may manage it; None when Discord does not say in time."""
        asked = [asyncio.create_task(_may_manage(guild, int(owner))) for owner in self._owners]
        try:
            if asked:
                await asyncio.wait(asked, timeout=_ASK_SECONDS)
            said = [task.result() if task.done() else None for task in asked]
        finally:
            for task in asked:
                task.cancel()
        return True if True in said else None if None in said else False


async def _may_manage(guild: discord.Guild, owner: int) -> bool | None:
    try:
        member = await guild.fetch_member(owner)
    except (discord.NotFound, discord.Forbidden):
        return False
    except REQUEST_ERRORS:
        return None
    return member.guild_permissions.manage_guild
