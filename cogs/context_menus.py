"""Message apps on a job's message."""

import discord
from discord import app_commands
from discord.ext import commands

from bot.interactions import ClientBase, DarkroomBot, Interaction, cancel_job, check_may_manage
from bot.messages import Verb, components_in
from core.errors import Gone
from core.job import Job


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
    job = await _job_in(interaction.client, message)
    if job is None:
        raise Gone("There is no job in that message.")
    check_may_manage(interaction, job)
    sentence = await cancel_job(interaction.client.services, job)
    await interaction.response.send_message(sentence, ephemeral=True)


async def _job_in(bot: ClientBase, message: discord.Message) -> Job | None:
    """By the buttons, which name the job before its row knows the message. A crop's "Vary" names another job."""
    if bot.user is None or message.author.id != bot.user.id:
        return None
    for name in (Verb.CANCEL, Verb.INFO):
        for component in components_in(message):
            if component.verb == name and component.job is not None:
                return await bot.services.jobs.get(component.job)
    return await bot.services.jobs.by_message(str(message.id))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    await bot.add_cog(MessageApps(bot))
