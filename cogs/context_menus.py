"""Message apps on a job's message."""

import discord
from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction, cancel_job, check_may_manage, job_in
from core.errors import Gone


class MessageApps(commands.Cog):
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


async def _cancel_job(interaction: Interaction, message: discord.Message) -> None:
    job = await job_in(interaction.client, message)
    if job is None:
        raise Gone("There is no job in that message.")
    check_may_manage(interaction, job)
    sentence = await cancel_job(interaction.client.services, job)
    await interaction.response.send_message(sentence, ephemeral=True)


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    await bot.add_cog(MessageApps(bot))
