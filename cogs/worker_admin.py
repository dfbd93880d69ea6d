"""/worker pause and resume, for the bot's owners."""

from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction
from core.errors import NotAllowed


class Worker(commands.GroupCog, group_name="worker", group_description="The GPU, for the bot's owners"):
    """Takes the GPU from the queue and gives it back."""

    @app_commands.command()
    async def pause(self, interaction: Interaction) -> None:
        """Start no more jobs: the GPU is yours. New jobs are still accepted, and wait"""
        _check_owner(interaction)
        await interaction.client.services.scheduler.pause()
        await interaction.response.send_message(
            "Paused: no job starts until `/worker resume`. New ones are accepted and wait.", ephemeral=True
        )

    @app_commands.command()
    async def resume(self, interaction: Interaction) -> None:
        """Give the GPU back to the queue"""
        _check_owner(interaction)
        await interaction.client.services.scheduler.resume()
        await interaction.response.send_message("Jobs are starting again.", ephemeral=True)


def _check_owner(interaction: Interaction) -> None:
    if not interaction.client.services.moderation.is_owner(str(interaction.user.id)):
        raise NotAllowed("Only the bot's owners (DARKROOM_OWNERS) can do that.", rule="owner")


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    await bot.add_cog(Worker())
