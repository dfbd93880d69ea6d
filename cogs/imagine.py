"""/imagine: a prompt becomes pictures; and what mends a refused one, *Fix and run* and *Run it in relax*."""

from discord import app_commands
from discord.ext import commands

from bot.admission import PressedButton
from bot.interactions import DarkroomBot, Interaction, Press, submission
from bot.messages import FIX, IN_RELAX, ComponentId, Field, Form
from bot.text import first_of, from_code_block
from core.job import Kind, Lane
from core.prompt import MAX_TYPED, Defaults, clean, parse

_FORM = ComponentId(verb="prompt")
_FIELD = "prompt"
_MOST_IGNORED = 8


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
        parsed = parse(typed, choices=services.model_registry.choices, defaults=Defaults(), seed=services.new_seed())
        services.moderation.check_text(*parsed.unread)  # the rest is a part of the request, which admission checks
        chosen, notes = lane or parsed.lane, (*_ignored(parsed.ignored), *parsed.notes)
        await submission.run(interaction, Kind.GRID, typed, parsed.request, lane=chosen, pressed=pressed, notes=notes)


def _ignored(names: tuple[str, ...]) -> tuple[str, ...]:
    """One small line of names alone: what stood behind them is nobody's to read, and there may be much of it."""
    return (f"Ignored: {first_of(names, _MOST_IGNORED)}",) if names else ()


async def _fix(press: Press) -> None:
    """Opens the refused prompt for correction."""
    words = Field(
        name=_FIELD,
        label="Prompt",
        description="Words first, then --parameters.",
        value=_refused_prompt(press)[:MAX_TYPED],
        long=True,
        max_length=MAX_TYPED,
    )
    await press.open(Form(id=_FORM, title="Fix and run", fields=(words,)))


async def _run_corrected(press: Press) -> None:
    """A corrected prompt comes back."""
    await _imagine(press.interaction, press.fields.get(_FIELD, ""))


async def _run_in_relax(press: Press) -> None:
    """Runs the refused prompt as it is, in the relax lane."""
    refusal = press.message or str(press.interaction.id)
    pressed = PressedButton(parent=refusal, verb=press.id.verb)
    await _imagine(press.interaction, _refused_prompt(press), lane=Lane.RELAX, pressed=pressed)


def _refused_prompt(press: Press) -> str:
    """What stands in the refusal's own message."""
    message = press.interaction.message
    embeds = message.embeds if message else ()
    return from_code_block(embeds[0].description or "") if embeds else ""


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_component(_fix, FIX)
    bot.registry.add_component(_run_in_relax, IN_RELAX)
    bot.registry.add_form(_run_corrected, _FORM.verb)
    await bot.add_cog(Imagine())
