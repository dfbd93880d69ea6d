"""/turbo, /fast, /relax: which lane a member's jobs use from now on."""

from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction, where_of
from bot.text import TURBO_PRICE
from core.job import Lane

_SAID = {
    Lane.TURBO: f"Your jobs now run in the turbo lane, before all others: {TURBO_PRICE}. `/fast` switches back.",
    Lane.FAST: "Your jobs now run in the fast lane and use fast time. `/relax` switches back.",
    Lane.RELAX: "Your jobs now run in the relax lane: free, after the fast ones. `/fast` switches back.",
}


class Lanes(commands.Cog):
    """Before all others, metered, or free."""

    @app_commands.command()
    async def turbo(self, interaction: Interaction) -> None:
        """Run your jobs in the turbo lane from now on: before all others, at double price"""
        await self._use(interaction, Lane.TURBO)

    @app_commands.command()
    async def fast(self, interaction: Interaction) -> None:
        """Run your jobs in the fast lane from now on"""
        await self._use(interaction, Lane.FAST)

    @app_commands.command()
    async def relax(self, interaction: Interaction) -> None:
        """Run your jobs in the relax lane from now on: free, after the fast ones"""
        await self._use(interaction, Lane.RELAX)

    async def _use(self, interaction: Interaction, lane: Lane) -> None:
        where_of(interaction)
        await interaction.client.services.settings.set_member(str(interaction.user.id), "lane", lane.value)
        await interaction.response.send_message(_SAID[lane], ephemeral=True)


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    await bot.add_cog(Lanes())
