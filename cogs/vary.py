"""Variations: V below a grid, Vary Subtle and Vary Strong below a single picture, and the Vary of earlier versions."""

from dataclasses import replace

from bot.interactions import DarkroomBot, picture_actions
from bot.messages import JobButton, Verb
from bot.services import Services
from core.edits import STRONG, SUBTLE, USUAL
from core.job import SINGLES, Kind, State
from core.prompt import Parsed

_DONE = frozenset({State.DONE})

VARY = JobButton(verb=Verb.VARY, kinds=frozenset(Kind) - SINGLES, states=_DONE, row=1, label="V", each=True)
VARY_SUBTLE = JobButton(
    verb="vary-subtle", kinds=SINGLES, states=_DONE, row=0, order=1, label="Vary Subtle", of_source=True
)
VARY_STRONG = JobButton(
    verb="vary-strong", kinds=SINGLES, states=_DONE, row=0, order=2, label="Vary Strong", of_source=True
)
BUTTONS = (VARY, VARY_SUBTLE, VARY_STRONG)


def _vary(strength: float) -> picture_actions.Action:
    """Four pictures that start near one."""

    async def vary(services: Services, picture: picture_actions.Picture, read: Parsed | None) -> picture_actions.Making:
        request, _ = picture_actions.base(services, picture, read)
        other = picture_actions.other_shape(services, picture.job, read)
        width, height = other or (request.width, request.height)
        return picture_actions.Making(
            kind=Kind.VARIATION,
            request=replace(request, width=width, height=height, strength=strength),
            source=picture.source,
            notes=(picture_actions.STRETCHED,) if other else (),
        )

    return vary


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    for button, strength in ((VARY, USUAL), (VARY_SUBTLE, SUBTLE), (VARY_STRONG, STRONG)):
        picture_actions.declare(bot.registry, _vary(strength), button)
