"""The message app **DM Results**: one's own pictures as separate files, with id and seed, in a direct message."""

import discord
from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction, check_sendable, job_in, put_card, send_directly, where_of
from bot.messages import Card
from core.errors import Gone


class DirectResults(commands.Cog):
    """Context menus cannot be methods of a cog, so it adds and removes it itself."""

    def __init__(self, bot: DarkroomBot) -> None:
        self._bot = bot
        self._menu = app_commands.ContextMenu(name="DM Results", callback=_dm_results)

    async def cog_load(self) -> None:
        """Adds the message app."""
        self._bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Takes it away."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)


async def _dm_results(interaction: Interaction, message: discord.Message) -> None:
    where_of(interaction)
    job = await job_in(interaction.client, message)
    if job is None:
        raise Gone("There is no job in that message.")
    user = str(interaction.user.id)
    check_sendable(job, user)
    await interaction.response.defer(ephemeral=True, thinking=True)
    await put_card(interaction, Card(content=await send_directly(interaction.client, job, user)))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    await bot.add_cog(DirectResults(bot))
