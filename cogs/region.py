"""Vary Region behind More: numbered areas over the picture, of which several are chosen and drawn again.

The chosen areas are shown on the picture before anything runs, and travel in the ids of the buttons below it.
"""

from dataclasses import replace

from bot import lattice_image
from bot.interactions import DarkroomBot, NamedFile, PanelButton, Press, picture_actions, refused_prompt
from bot.messages import Button, Card, Option, Select, Style, job_component
from bot.services import Services
from bot.thread_pool import ThreadPool
from core import lattice
from core.edits import ANEW
from core.errors import Gone, Refused
from core.job import Input, Kind, Role
from core.prompt import Parsed

_OPEN, _CHOSEN, _DRAW, _WORDS = "region", "region-areas", "region-draw", "region-words"
REGION = PanelButton(verb=_OPEN, row=3, label="Vary Region", name="Vary Region")
_drawing = ThreadPool("lattice", 1)


async def _open(press: Press) -> None:
    """A new private message, so that the panel stays."""
    picture = await picture_actions.picture_of(press)
    card = Card(content="Which areas shall be drawn again?", rows=((_select(press, frozenset()),),))
    await press.reply(card, file=await _seen(press.services, picture, frozenset()))


async def _chosen(press: Press) -> None:
    """Shows what was chosen, and what may be done with it."""
    picture = await picture_actions.picture_of(press)
    areas = _areas(lattice.code(frozenset(int(value) for value in press.values)))
    said, job = lattice.code(areas), press.id.job or ""
    draw = Button(id=job_component(job, _DRAW, press.id.index, said), label="Draw it again", style=Style.MAIN)
    words = Button(id=job_component(job, _WORDS, press.id.index, said), label="With other words")
    content = "The coloured part is drawn again, the rest stays as it is."
    card = Card(content=content, rows=((_select(press, areas),), (draw, words)))
    await press.update(card, file=await _seen(press.services, picture, areas))


async def _ask(press: Press) -> None:
    """The prompt for the part, before it is drawn."""
    job = await press.job()
    about = job_component(job.id, _DRAW, press.id.index, press.id.argument)
    await press.open(refused_prompt.form(about, picture_actions.words_under(press, job), "Vary Region"))


async def _region(services: Services, picture: picture_actions.Picture, read: Parsed | None) -> picture_actions.Making:
    """The picture with these areas anew. New words say what is there instead."""
    said = lattice.code(_areas(picture.part))
    request, _ = picture_actions.base(services, picture, read)
    mask = Input(role=Role.MASK, of=f"{lattice.PREFIX}{said}")
    request = replace(request, inputs=(*request.inputs, mask), strength=ANEW, tile=False)
    return picture_actions.Making(kind=Kind.EDIT, request=request, source=picture.source)


async def _any_region(
    services: Services, picture: picture_actions.Picture, read: Parsed | None
) -> picture_actions.Making:
    """What any choice of areas asks of the model."""
    return await _region(services, replace(picture, part=lattice.code(frozenset({0}))), read)


def _areas(said: str) -> frozenset[int]:
    """Raises Refused for what names no part of the picture."""
    try:
        return lattice.areas_of(said)
    except ValueError as error:
        raise Refused(str(error)) from None


def _select(press: Press, areas: frozenset[int]) -> Select:
    options = tuple(
        Option(value=str(area), label=lattice.name(area), chosen=area in areas) for area in range(lattice.AREAS)
    )
    about = job_component(press.id.job or "", _CHOSEN, press.id.index)
    return Select(id=about, options=options, placeholder="Choose areas", most=lattice.MOST)


async def _seen(services: Services, picture: picture_actions.Picture, areas: frozenset[int]) -> NamedFile:
    """The picture under its lattice. Raises Gone where its file is not kept: U draws it again."""
    png = await services.images.use(picture.job.id, picture.index)
    if png is None:
        raise Gone("That picture's file is gone. U below its grid draws it again; then this works.")
    return NamedFile(name="areas.jpg", data=await _drawing.run(lattice_image.numbered, png, areas))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_panel_button(_open, REGION, picture_actions.quote_of(_any_region), words=False)
    bot.registry.add_job_component(_chosen, _CHOSEN)
    bot.registry.add_job_component(_ask, _WORDS)
    picture_actions.declare_elsewhere(bot.registry, _region, _DRAW)
