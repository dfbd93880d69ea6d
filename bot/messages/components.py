"""Turns a card's buttons into Discord's, and finds their meaning again in a press, after any restart.

A button holds an id and a verb; everything else is in the job's row. Decides nothing: see bot/presses.py.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.messages.job_card import Button, Card, Style, Verb

if TYPE_CHECKING:
    from bot.interactions.client import DarkroomBot

    Interaction = discord.Interaction[DarkroomBot]

_STYLES = {
    Style.QUIET: discord.ButtonStyle.secondary,
    Style.MAIN: discord.ButtonStyle.primary,
    Style.DANGER: discord.ButtonStyle.danger,
}


_JOB = re.compile(
    r"job:(?P<job>[0-9a-z]{1,20}):(?P<verb>u|v|again|info|cancel|delete)(?::(?P<index>[0-9]{1,2}))?(?P<relax>:relax)?"
)


class _Ours(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"never"):
    """What both kinds share: the one error handler. (discord.py only logs what a dynamic item raises.)"""

    pressed: Button | None = None

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answers a press."""
        try:
            if not interaction.client.too_late(interaction):
                await self.press(interaction)
        except Exception as error:
            await interaction.client.explain(interaction, error, pressed=self.pressed)

    async def press(self, interaction: "Interaction") -> None:
        """What the button does."""
        raise NotImplementedError


class JobButton(_Ours, template=_JOB):
    """A button of a job: `job:<id>:<verb>[:<index>][:relax]`."""

    def __init__(self, button: Button) -> None:
        super().__init__(
            discord.ui.Button(
                label=button.label, emoji=button.emoji, style=_STYLES[button.style], custom_id=button.custom_id
            )
        )
        self.pressed: Button = button

    @classmethod
    async def from_custom_id(cls, _: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str]) -> Self:
        """From what stands in the message."""
        index = int(match["index"]) if match["index"] is not None else None
        label = item.label if isinstance(item, discord.ui.Button) else None
        verb = Verb(match["verb"])
        return cls(
            Button(job=match["job"], verb=verb, index=index, relax=match["relax"] is not None, label=label or "-")
        )

    async def press(self, interaction: "Interaction") -> None:
        """Does what the verb says."""
        from bot import presses

        await presses.press(interaction, self.pressed)


class AskButton(_Ours, template=r"ask:(?P<verb>fix|relax)"):
    """A button of a refusal; the prompt that was refused stands in the refusal itself."""

    def __init__(self, verb: str) -> None:
        label = {"fix": "Fix and run", "relax": "Run it in relax"}[verb]
        style = discord.ButtonStyle.primary if verb == "fix" else discord.ButtonStyle.secondary
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=f"ask:{verb}"))
        self.verb = verb

    @classmethod
    async def from_custom_id(cls, _: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str]) -> Self:
        """From what stands in the message."""
        return cls(match["verb"])

    async def press(self, interaction: "Interaction") -> None:
        """Opens the prompt for correction, or runs it in the relax lane."""
        from bot.interactions import submission

        await submission.press(interaction, self.verb)


def buttons_in(message: discord.Message) -> Iterator[re.Match[str]]:
    """The job buttons in a message of ours, as their parts: `job`, `verb`, `index`, `relax`."""
    for row in message.components:
        for item in getattr(row, "children", ()):
            if match := _JOB.fullmatch(getattr(item, "custom_id", None) or ""):
                yield match


def refusal_view(*, relax: Button | None, relax_prompt: bool) -> discord.ui.View:
    """The buttons of a refusal: correct it, or do without fast time. `relax` repeats a press, in the relax lane."""
    view = discord.ui.View(timeout=None)
    view.add_item(AskButton("fix"))
    if relax is not None:
        view.add_item(JobButton(relax))
    elif relax_prompt:
        view.add_item(AskButton("relax"))
    return view


def view_of(card: Card) -> discord.ui.View:
    """A fresh view. Never edit a message with a view that it was given before, and never mix these with other buttons:
    discord.py would then forget the class for the whole client."""
    view = discord.ui.View(timeout=None)
    for row, buttons in enumerate(card.rows):
        for button in buttons:
            item = JobButton(button)
            item.row = row
            view.add_item(item)
    return view
