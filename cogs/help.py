"""/help: short pages, made from the tables that the program itself uses."""

from discord import Interaction, app_commands
from discord.ext import commands

from bot import helping
from bot.interactions.client import DarkroomBot


class Help(commands.Cog):
    """How to use the bot."""

    @app_commands.command()
    @app_commands.describe(page="Which page; the first one when left out")
    @app_commands.choices(page=[app_commands.Choice(name=page.title, value=page.name) for page in helping.PAGES])
    async def help(self, interaction: Interaction[DarkroomBot], page: str = helping.PAGES[0].name) -> None:
        """What you can type and press"""
        await interaction.response.send_message(helping.shown(page), ephemeral=True)


async def setup(bot: DarkroomBot) -> None:
    """Called by discord.py."""
    await bot.add_cog(Help())
