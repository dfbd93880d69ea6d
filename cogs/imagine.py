"""/imagine: a prompt becomes pictures."""

from discord import Interaction, app_commands
from discord.ext import commands

from bot.interactions import submission
from bot.interactions.client import DarkroomBot
from core.prompt import MAX_TYPED


class Imagine(commands.Cog):
    """The one command that matters."""

    @app_commands.command()
    @app_commands.describe(prompt="What the picture should show, then parameters: a red boat --ar 3:2 --seed 7")
    async def imagine(
        self, interaction: Interaction[DarkroomBot], prompt: app_commands.Range[str, 1, MAX_TYPED]
    ) -> None:
        """Make pictures from words"""
        await submission.imagine(interaction, prompt)


async def setup(bot: DarkroomBot) -> None:
    """Called by discord.py."""
    await bot.add_cog(Imagine())
