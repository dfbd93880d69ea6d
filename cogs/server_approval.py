"""A server that no owner answers for yet: what its first user sets off, and the button by which an owner serves it."""

import logging

import discord
from discord.ext import commands

from bot.interactions import DarkroomBot, Press
from bot.messages import REQUEST_ERRORS, Button, Card, ComponentId, Style, in_one_line
from bot.text import harmless
from core.errors import Gone, NotAllowed

log = logging.getLogger(__name__)

_SERVE = "serve"
#: In a server's settings: that the owners were asked about it. In the program's facts: when they were asked of any.
_ASKED, _ASKED_LATELY = "asked", "servers:asked"
#: Anybody can make servers, so the owners are asked of so many in a day and no more.
_MOST_A_DAY, _DAY_SECONDS = 10, 86_400.0


class ServerApproval(commands.Cog):
    """Asks the owners, once for each server."""

    def __init__(self, bot: DarkroomBot) -> None:
        self._bot = bot
        self._asking: set[int] = set()

    @commands.Cog.listener()
    async def on_unserved_server(self, guild: discord.Guild) -> None:
        """Somebody used the bot where it is not served."""
        if guild.id in self._asking:
            return
        self._asking.add(guild.id)
        try:
            await self._ask(guild)
        finally:
            self._asking.discard(guild.id)

    async def _ask(self, guild: discord.Guild) -> None:
        settings, now = self._bot.services.settings, self._bot.services.clock()
        lately = [at for at in await settings.state(_ASKED_LATELY, []) if abs(now - at) < _DAY_SECONDS]
        if (await settings.server(str(guild.id))).get(_ASKED):
            return
        if len(lately) >= _MOST_A_DAY:
            log.warning("The server %d waits for an owner's approval; too many were asked about today.", guild.id)
            return
        if not await self._tell_owners(_question(guild)):
            log.warning("No owner can be asked whether to serve %d: DARKROOM_GUILDS can name it.", guild.id)
            return
        await settings.set_server(str(guild.id), _ASKED, now)
        await settings.put_state(_ASKED_LATELY, [*lately, now])

    async def _tell_owners(self, card: Card) -> int:
        """How many of them it reached, as a direct message."""
        told = 0
        for owner in sorted(self._bot.services.owners):
            try:
                direct = await self._bot.create_dm(discord.Object(int(owner)))
                await direct.send(card.content, view=self._bot.view_of(card))
            except REQUEST_ERRORS as error:
                log.info("An owner could not be told of a server (%s).", in_one_line(error))
            else:
                told += 1
        return told


def _name(guild: discord.Guild) -> str:
    return harmless(guild.name, 100)


def _question(guild: discord.Guild) -> Card:
    content = (
        f"Somebody used me in **{_name(guild)}** (`{guild.id}`), a server that none of my owners manages. I do not "
        "work there until you approve it: members have fast time and a place in the queue in each server that I serve."
    )
    button = Button(id=ComponentId(verb=_SERVE, argument=str(guild.id)), label="Serve this server", style=Style.MAIN)
    return Card(content=content, rows=((button,),))


async def _serve(press: Press) -> None:
    """An owner approves it. Anybody else's press, however it was made, changes nothing."""
    if not press.services.moderation.is_owner(str(press.interaction.user.id)):
        raise NotAllowed("Only the bot's owners can do that.", rule="owner")
    guild = press.client.get_guild(int(press.id.argument)) if press.id.argument.isdecimal() else None
    if guild is None:
        raise Gone("I am no longer in that server.")
    await press.client.served_servers.approve(guild.id)
    await press.update(Card(content=f"**{_name(guild)}** is served from now on."))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_component(_serve, _SERVE)
    await bot.add_cog(ServerApproval(bot))
