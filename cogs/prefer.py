"""/prefer: a suffix for every prompt, and options of your own that stand for words and parameters."""

from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction, saved_settings, where_of
from bot.text import harmless
from core.spelling import quoted

_MOST_SHOWN = 80
_MOST_CHOICES = 25


class Prefer(commands.GroupCog, group_name="prefer", group_description="A suffix and options of your own"):
    """What you have saved for your prompts."""

    option = app_commands.Group(name="option", description="Names of your own for words and parameters")

    @app_commands.command()
    @app_commands.describe(new_value="Parameters, as in --ar 3:2 --no text; leave it out to have none")
    async def suffix(
        self, interaction: Interaction, new_value: app_commands.Range[str, 0, saved_settings.MOST_CHARACTERS] = ""
    ) -> None:
        """Parameters that are added to every prompt of yours"""
        where_of(interaction)
        kept = await saved_settings.keep_suffix(interaction.client.services, str(interaction.user.id), new_value)
        said = f"{quoted(kept)} is added to every prompt of yours from now on." if kept else "You have no suffix now."
        await interaction.response.send_message(said, ephemeral=True)

    @option.command(name="set")
    @app_commands.describe(
        option="Its name: film is used as --film", value="Words and parameters; leave it out to delete the option"
    )
    async def set_option(
        self,
        interaction: Interaction,
        option: app_commands.Range[str, 1, 32],
        value: app_commands.Range[str, 0, saved_settings.MOST_CHARACTERS] = "",
    ) -> None:
        """Make --name stand for words and parameters, in your prompts"""
        where_of(interaction)
        services = interaction.client.services
        name = await saved_settings.keep_macro(services, str(interaction.user.id), option, value)
        said = f"`--{name}` stands for {quoted(value)} in your prompts." if value.strip() else f"`--{name}` is deleted."
        await interaction.response.send_message(said, ephemeral=True)

    @set_option.autocomplete("option")
    async def _own_options(self, interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        settings = await saved_settings.of(interaction.client.services, str(interaction.user.id))
        names = [name for name in sorted(settings.macros) if typed.removeprefix("--").lower() in name]
        return [app_commands.Choice(name=name, value=name) for name in names[:_MOST_CHOICES]]

    @option.command(name="list")
    async def list_options(self, interaction: Interaction) -> None:
        """Your own options, and what they stand for"""
        where_of(interaction)
        settings = await saved_settings.of(interaction.client.services, str(interaction.user.id))
        lines = [f"- `--{name}` {harmless(value, _MOST_SHOWN)}" for name, value in sorted(settings.macros.items())]
        said = "\n".join(["**Your options**", *lines]) if lines else "You have none. `/prefer option set` makes one."
        await interaction.response.send_message(said, ephemeral=True)


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    await bot.add_cog(Prefer())
