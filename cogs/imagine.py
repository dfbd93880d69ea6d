"""/imagine: a prompt becomes pictures; and what mends a refused one: *Fix and run*, *Run it in relax*, *Try again*."""

from dataclasses import replace

from discord import app_commands
from discord.ext import commands

from bot.admission import PressedButton
from bot.interactions import DarkroomBot, Interaction, Press, refused_prompt, submission
from bot.messages import AGAIN, FIX, IN_RELAX, ComponentId
from core.job import Kind, Lane
from core.pasted_prompt import clean
from core.prompt_reading import MAX_TYPED

_FORM = ComponentId(verb="prompt")


class Imagine(commands.Cog):
    """The one command that matters."""

    @app_commands.command()
    @app_commands.describe(prompt="What the picture should show, then parameters: a red boat --ar 3:2 --seed 7")
    async def imagine(self, interaction: Interaction, prompt: app_commands.Range[str, 1, MAX_TYPED]) -> None:
        """Make pictures from words"""
        await _imagine(interaction, prompt)


async def _imagine(
    interaction: Interaction, typed: str, *, lane: Lane | None = None, pressed: PressedButton | None = None
) -> None:
    """A prompt, as typed. `lane` overrules what it says."""
    services = interaction.client.services
    typed = clean(typed)
    with submission.carrying(typed):
        read = await submission.read_typed(services, str(interaction.user.id), typed)
        chosen = lane or read.lane
        await submission.run(
            interaction, Kind.GRID, read.typed, read.request, lane=chosen, pressed=pressed, notes=read.notes
        )


async def _fix(press: Press) -> None:
    """Opens the refused prompt for correction; what was to run in relax stays there."""
    typed = refused_prompt.refused_prompt(press.interaction.message)
    await press.open(refused_prompt.form(replace(_FORM, argument=press.id.argument), typed))


async def _run_corrected(press: Press) -> None:
    """A corrected prompt comes back."""
    lane = Lane.RELAX if press.id.argument == IN_RELAX else None
    await _imagine(press.interaction, refused_prompt.written(press.fields), lane=lane)


async def _run_in_relax(press: Press) -> None:
    """Runs the refused prompt as it is, in the relax lane."""
    typed = refused_prompt.refused_prompt(press.interaction.message)
    await _imagine(press.interaction, typed, lane=Lane.RELAX, pressed=submission.once(press))


async def _run_again(press: Press) -> None:
    """Runs the refused prompt as it is, where only the moment was wrong."""
    typed = refused_prompt.refused_prompt(press.interaction.message)
    await _imagine(press.interaction, typed, pressed=submission.once(press))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_component(_fix, FIX)
    bot.registry.add_component(_run_in_relax, IN_RELAX)
    bot.registry.add_component(_run_again, AGAIN)
    bot.registry.add_form(_run_corrected, _FORM.verb)
    await bot.add_cog(Imagine())
