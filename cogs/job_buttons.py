"""The buttons under a job that make a new one or stop it: U, V, 🔄 and Cancel.

Each is a new interaction, which admits a job or asks the scheduler. The row says everything; the button only names it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from bot.admission import PressedButton
from bot.interactions import DarkroomBot, Press, cancel_job, check_may_manage, submission
from bot.messages import JobButton, Verb
from bot.scheduling import render_stages
from core.errors import Gone
from core.job import FINAL, Job, Kind, Lane, Request, Source, State
from core.parameters import MAX_COUNT, MAX_SEED
from core.prompt import Defaults, parse

#: How far a variation goes from its picture: 0 would be a copy, 1 something new.
VARIATION_STRENGTH = 0.6

_CROPS = frozenset({Kind.CROP})
_GRIDS = frozenset(Kind) - _CROPS
_DONE = frozenset({State.DONE})
_LIVE = frozenset(State) - FINAL

UPSCALE = JobButton(verb=Verb.UPSCALE, kinds=_GRIDS, states=_DONE, row=0, label="U", each=True)
VARY = JobButton(verb=Verb.VARY, kinds=_GRIDS, states=_DONE, row=1, label="V", each=True)
VARY_CROP = JobButton(verb=Verb.VARY, kinds=_CROPS, states=_DONE, row=0, label="Vary", of_source=True)
AGAIN = JobButton(verb=Verb.AGAIN, kinds=_GRIDS, states=_DONE, row=0, order=1, emoji="🔄")
AGAIN_FAILED = JobButton(verb=Verb.AGAIN, states=FINAL - _DONE, row=0, emoji="🔄")
CANCEL = JobButton(verb=Verb.CANCEL, states=_LIVE, row=0, label="Cancel")
BUTTONS = (UPSCALE, VARY, VARY_CROP, AGAIN, AGAIN_FAILED, CANCEL)


async def _upscale(press: Press, job: Job) -> None:
    source = _picture(job, press)
    request = replace(job.request, count=1, seed=(job.request.seed + source.index) % (MAX_SEED + 1))
    await _run(press, job, Kind.CROP, request, source)


async def _vary(press: Press, job: Job) -> None:
    services = press.services
    source = _picture(job, press)
    model = services.model_registry.get(job.request.model)
    if model is None:
        raise Gone("That picture was made with a model that is no longer here, so it cannot be varied now.")
    request = replace(
        job.request, count=MAX_COUNT, seed=services.new_seed(), strength=VARIATION_STRENGTH, model=model.name
    )
    await _run(press, job, Kind.VARIATION, request, source)


async def _again(press: Press, job: Job) -> None:
    services = press.services
    seed = services.new_seed()
    model = services.model_registry.get(job.request.model)
    if model is not None and await render_stages.is_drawable(services, job.source):
        request, kind, source = replace(job.request, seed=seed, model=model.name), job.kind, job.source
    else:  # another model has other sizes and defaults, and without its source it is a grid: read the prompt anew
        fresh = parse(job.typed, choices=services.model_registry.choices, defaults=Defaults(), seed=seed).request
        request, kind, source = replace(fresh, seed=seed), Kind.GRID, None
    await _run(press, job, kind, request, source)


async def _run(press: Press, job: Job, kind: Kind, request: Request, source: Source | None) -> None:
    lane = Lane.RELAX if press.id.relax else None
    pressed = PressedButton(parent=job.id, verb=press.id.verb, index=press.id.index)
    await submission.run(press.interaction, kind, job.typed, request, lane=lane, source=source, pressed=pressed)


def _picture(job: Job, press: Press) -> Source:
    """The picture that the button is about. Raises Gone when there is none."""
    if job.state is not State.DONE or press.id.index is None or press.id.index >= job.request.count:
        raise Gone("There is no such picture.")
    return Source(job=job.id, index=press.id.index)


async def _cancel(press: Press) -> None:
    job = await press.job()
    check_may_manage(press.interaction, job)
    if job.is_final:
        raise Gone("That job has already ended.")
    await cancel_job(press.services, job)
    await press.interaction.response.defer()  # the job's own message tells the rest


def _admits(admit: Callable[[Press, Job], Awaitable[None]]) -> Callable[[Press], Awaitable[None]]:
    """Whatever refuses the new job offers the old one's prompt for correction."""

    async def handle(press: Press) -> None:
        job = await press.job()
        with submission.carrying(job.typed):
            await admit(press, job)

    return handle


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_button(_admits(_upscale), UPSCALE)
    bot.registry.add_job_button(_admits(_vary), VARY, VARY_CROP)
    bot.registry.add_job_button(_admits(_again), AGAIN, AGAIN_FAILED)
    bot.registry.add_job_button(_cancel, CANCEL)
