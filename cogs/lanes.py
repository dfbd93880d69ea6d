"""/info, /turbo, /fast, /relax: what a member has, and which lane they use."""

from discord import Interaction, app_commands
from discord.ext import commands

from bot import standing
from bot.interactions import submission
from bot.interactions.client import DarkroomBot
from bot.messages.components import view_of
from bot.text import TURBO_PRICE
from core.job import Lane

_SAID = {
    Lane.TURBO: f"Your jobs now run in the turbo lane, before all others: {TURBO_PRICE}. `/fast` switches back.",
    Lane.FAST: "Your jobs now run in the fast lane and use fast time. `/relax` switches back.",
    Lane.RELAX: "Your jobs now run in the relax lane: free, after the fast ones. `/fast` switches back.",
}


class Account(commands.Cog):
    """Plan, time left, lane."""

    @app_commands.command()
    async def info(self, interaction: Interaction[DarkroomBot]) -> None:
        """Your plan, your fast time, your jobs, and how the GPU is"""
        submission.where_of(interaction)
        found = await standing.of(interaction.client, str(interaction.user.id), interaction.guild_id)
        card = standing.shown(found)
        await interaction.response.send_message(card.content, view=view_of(card), ephemeral=True, suppress_embeds=True)
        await standing.told(interaction.client, found)

    @app_commands.command()
    async def turbo(self, interaction: Interaction[DarkroomBot]) -> None:
        """Run your jobs in the turbo lane from now on: before all others, at double price"""
        await self._use(interaction, Lane.TURBO)

    @app_commands.command()
    async def fast(self, interaction: Interaction[DarkroomBot]) -> None:
        """Run your jobs in the fast lane from now on"""
        await self._use(interaction, Lane.FAST)

    @app_commands.command()
    async def relax(self, interaction: Interaction[DarkroomBot]) -> None:
        """Run your jobs in the relax lane from now on: free, after the fast ones"""
        await self._use(interaction, Lane.RELAX)

    async def _use(self, interaction: Interaction[DarkroomBot], lane: Lane) -> None:
        submission.where_of(interaction)
        await interaction.client.services.settings.set_member(str(interaction.user.id), "lane", lane.value)
        await interaction.response.send_message(_SAID[lane], ephemeral=True)


async def setup(bot: DarkroomBot) -> None:
    """Called by discord.py."""
    await bot.add_cog(Account())
