"""More below a single picture: a private panel with what else can be made of it, unusual prices and its lineage.

Which buttons stand there is what other files declare (`registry.add_panel_button`). Makes nothing itself.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from bot.interactions import DarkroomBot, Handler, PanelButton, Press, Quote, Reader, picture_actions
from bot.messages import Button, Card, JobButton, card_text, job_component, made_of
from bot.services import Services
from bot.text import gpu_time, settings
from core.errors import Refused
from core.job import SINGLES, Job, Kind, Lane, Request, State
from core.model_capabilities import missing_capability
from core.parameters import MAX_COUNT

MORE = JobButton(
    verb="more", kinds=SINGLES, states=frozenset({State.DONE}), row=1, order=1, label="More", of_source=True
)
BUTTONS = (MORE,)
_MOST_ANCESTORS = 6
#: Seconds of a first answer for all links together.
_LOOK_SECONDS = 1.0
#: In place of a link.
_CLOSED = "a job whose message you cannot open"


class Panel:
    """Of the declared buttons those that make sense here, with what each would cost; `unable`: why others are not."""

    def __init__(self, press: Press, lane: Lane) -> None:
        self._press = press
        self.lane = lane
        self.rows: dict[int, list[Button]] = {}
        self.prices: list[tuple[str, int]] = []
        self.unable: list[str] = []

    async def add(self, button: PanelButton, quote: Quote | None) -> None:
        """Looks what the button would ask for."""
        if quote is not None:
            try:
                kind, request = await quote(self._press)
            except Refused as error:
                self.unable.append(error.sentence)
                return
            if lacks := _lacks(self._press.services, kind, request):
                self.unable.append(lacks)
                return
            self.prices.append((button.name, await self._press.services.admission.price_ms(request, self.lane)))
        about = job_component(self._press.id.job or "", button.verb, self._press.id.index)
        self.rows.setdefault(button.row, []).append(Button(id=about, label=button.label, emoji=button.emoji))


def _lacks(services: Services, kind: Kind, request: Request) -> str:
    """Why the request's model cannot do it; empty where it can."""
    choices = services.model_registry.choices
    model = choices.get(request.model)
    found = missing_capability(request, model, kind, choices.models.values()) if model is not None else None
    return found[1] if found is not None else ""


def dearer(prices: Sequence[tuple[str, int]], grid_ms: int) -> str:
    """What costs more than a grid, in one line; empty where nothing does."""
    dear = [f"{name} about {gpu_time(price)}" for name, price in prices if price > grid_ms > 0]
    return f"Takes more fast time than a grid ({gpu_time(grid_ms)}): {', '.join(dear)}." if dear else ""


async def _lineage(press: Press, job: Job) -> list[str]:
    """What the picture's job was made from, and that from what; a place is named only to who may see it."""
    lines, reader = list[str](), Reader.of(press.interaction)
    until = asyncio.get_running_loop().time() + _LOOK_SECONDS
    while job.source is not None and len(lines) < _MOST_ANCESTORS:
        parent = await press.services.jobs.get(job.source.job)
        if parent is None:
            break
        place = await _link_until(until, reader, parent) or _CLOSED
        lines.append(f"{'from' if lines else 'Made from'} {made_of(job, f' of {place}')}")
        job = parent
    return lines


async def _link_until(until: float, reader: Reader, job: Job) -> str | None:
    """The job's address; None also where Discord takes longer to say who may read there than an answer may take."""
    try:
        async with asyncio.timeout_at(until):
            return await reader.link(job)
    except TimeoutError:
        return None


def more(registry_panel: Sequence[tuple[PanelButton, Quote | None]]) -> Handler:
    """The handler of More, over what is declared until it is pressed."""

    async def pressed(press: Press) -> None:
        picture = await picture_actions.picture_of(press)
        job = picture.job
        panel = Panel(press, await picture_actions.lane_of(press, job))
        for button, quote in sorted(registry_panel, key=lambda entry: (entry[0].row, entry[0].order)):
            if button.fits(picture.drawn):
                await panel.add(button, quote)
        lines = [f"-# {settings(job.request)}", *(f"-# {line}" for line in await _lineage(press, job))]
        grid = await press.services.admission.price_ms(_grid_of(picture), panel.lane)
        lines += filter(None, [dearer(panel.prices, grid)])
        lines += [f"-# {sentence}" for sentence in dict.fromkeys(panel.unable)]
        rows = tuple(tuple(buttons) for _, buttons in sorted(panel.rows.items()))
        await press.reply(Card(content=card_text(job, f" · picture {picture.index + 1}", lines), rows=rows))

    return pressed


def _grid_of(picture: picture_actions.Picture) -> Request:
    """The grid that such a picture is one of."""
    width, height = picture.drawn
    return replace(
        picture.job.request, width=width, height=height, count=MAX_COUNT, strength=1.0, canvas=None, upscale=None
    )


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_button(more(bot.registry.panel), MORE)
