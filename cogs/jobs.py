"""Message apps on a job's message."""

import discord
from discord import Interaction, app_commands
from discord.ext import commands

from bot import presses
from bot.client import DarkroomBot
from core.errors import Gone


class Jobs(commands.Cog):
    """Context menus cannot be methods of a cog, so it adds and removes them itself."""

    def __init__(self, bot: DarkroomBot) -> None:
        self._bot = bot
        self._menu = app_commands.ContextMenu(name="Cancel Job", callback=_cancel_job)

    async def cog_load(self) -> None:
        """Adds the message app."""
        self._bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Takes it away."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)


async def _cancel_job(interaction: Interaction[DarkroomBot], message: discord.Message) -> None:
    job = await interaction.client.services.jobs.by_message(str(message.id))
    if job is None:
        raise Gone("There is no job in that message.")
    presses.check_may_manage(interaction, job)
    sentence = await presses.cancel(interaction.client, job)
    await interaction.response.send_message(sentence, ephemeral=True)


async def setup(bot: DarkroomBot) -> None:
    """Called by discord.py."""
    await bot.add_cog(Jobs(bot))
