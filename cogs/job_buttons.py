"""The buttons under a job that make a new one or stop it: U, V, 🔄 and Cancel.

Each is a new interaction, which admits a job or asks the scheduler. The row says everything; the button only names it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from bot.admission import PressedButton
from bot.interactions import (
    DarkroomBot,
    Press,
    cancel_job,
    check_may_manage,
    refused_prompt,
    submission,
    usual_lane,
)
from bot.messages import JobButton, Verb
from bot.scheduling import render_stages
from core.cost import MULTIPLIER
from core.errors import Gone, Refused
from core.job import FINAL, Job, Kind, Lane, Request, Source, State
from core.parameters import MAX_COUNT, MAX_SEED
from core.pasted_prompt import clean
from core.prompt_pieces import without
from core.spelling import quoted

#: How far a variation goes from its picture: 0 would be a copy, 1 something new.
VARIATION_STRENGTH = 0.6

#: Small lines below a job that is not what its button makes otherwise.
NO_SOURCE = "The picture that it started from cannot be drawn again, so this is a new grid from the words."
NO_UPSCALE = "U shows a picture as it is, so these words made a new grid."
STRETCHED = "The picture is stretched to the new ratio."
_SAME_RATIO = 0.02

#: Lanes that cost fast time: whoever names one in a prompt chooses it for nobody else.
_METERED = frozenset({Lane.TURBO.value, Lane.FAST.value})

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
        request = replace(job.request, seed=seed, model=model.name)
        await _run(press, job, job.kind, request, job.source)
        return
    # Another model has other sizes and defaults, and without its source it is a grid: read the prompt anew.
    fresh = submission.read(services, job.typed)
    notes = fresh.notes
    if model is None:
        notes += (f"{quoted(job.request.model)} is no longer here; {quoted(fresh.request.model)} draws this.",)
    if job.source is not None:
        notes += (NO_SOURCE,)
    await _run(press, job, Kind.GRID, replace(fresh.request, seed=seed), None, notes=notes)


async def _run(
    press: Press, job: Job, kind: Kind, request: Request, source: Source | None, notes: tuple[str, ...] = ()
) -> None:
    lane = await _lane_under(press, job)
    pressed = PressedButton(parent=job.id, verb=press.id.verb, index=press.id.index)
    await submission.run(
        press.interaction, kind, _words(press, job), request, lane=lane, source=source, pressed=pressed, notes=notes
    )


def _words(press: Press, job: Job) -> str:
    """The job's prompt for whoever presses: for others without a lane that would cost them fast time, also later."""
    return job.typed if str(press.interaction.user.id) == job.user else without(job.typed, _METERED)


async def _lane_under(press: Press, job: Job) -> Lane | None:
    """The lane that a prompt names goes with it wherever it is run again; None: it names none, the usual one counts.

    What somebody else typed never makes a press dearer than the presser's own choice.
    """
    if press.id.relax:
        return Lane.RELAX
    try:
        said = submission.read(press.services, job.typed).lane
    except Refused:  # the model that it names is gone, or it is read otherwise today: nothing free becomes dear by that
        said = Lane.RELAX if job.lane is Lane.RELAX else None
    presser = str(press.interaction.user.id)
    if said is None or presser == job.user:
        return said
    return min(said, await usual_lane(press.client, presser), key=MULTIPLIER.__getitem__)


async def _with_other_words(press: Press, words: str) -> None:
    """**Fix and run** below a refused press: what was pressed, with the corrected prompt."""
    job, services, typed = await press.job(), press.services, clean(words)
    with submission.carrying(typed):
        read = submission.read(services, typed)
        kind, request, source, note = await _meant(press, job, read.request)
        await submission.run(
            press.interaction,
            kind,
            typed,
            request,
            lane=Lane.RELAX if press.id.relax else read.lane,
            source=source,
            pressed=submission.once(press) if press.is_button else None,
            notes=(*read.notes, *note),
        )


async def _meant(press: Press, job: Job, request: Request) -> tuple[Kind, Request, Source | None, tuple[str, ...]]:
    """Kind, request, source and a note of what a press means with these words in place of its job's own."""
    verb = refused_prompt.plain_verb(press.id.verb)
    if verb == Verb.UPSCALE:
        return Kind.GRID, request, None, (NO_UPSCALE,)
    kind = Kind.VARIATION if verb == Verb.VARY else job.kind
    source = _picture(job, press) if verb == Verb.VARY else job.source
    if source is None or kind is Kind.CROP:
        return Kind.GRID, request, None, (NO_UPSCALE,) if kind is Kind.CROP else ()
    if not await render_stages.is_drawable(press.services, source):
        return Kind.GRID, request, None, (NO_SOURCE,)
    strength = VARIATION_STRENGTH if verb == Verb.VARY else job.request.strength
    before, after = job.request.width / job.request.height, request.width / request.height
    stretched = (STRETCHED,) if abs(before / after - 1) > _SAME_RATIO else ()
    return kind, replace(request, strength=strength), source, stretched


def _picture(job: Job, press: Press) -> Source:
    """The picture that the button is about. Raises Gone when there is none."""
    if job.state is not State.DONE or press.id.index is None or press.id.index >= job.request.count:
        raise Gone("There is no such picture.")
    return Source(job=job.id, index=press.id.index)


async def _cancel(press: Press) -> None:
    job = await press.job()
    check_may_manage(press.interaction, job)
    if job.is_final:
        raise Gone(f"That job has already ended.{await _elsewhere(press, job)}")
    await cancel_job(press.services, job)
    await press.interaction.response.defer()  # the job's own message tells the rest


async def _elsewhere(press: Press, job: Job) -> str:
    """Where the result is, when its own message still shows Cancel."""
    delivery = await press.services.outbox.get(job.id)
    if delivery is None or delivery.is_posted or delivery.late_at is None:
        return ""
    return " Its result came as a direct message." if delivery.told_message else " `/info` has its result."


def _admits(admit: Callable[[Press, Job], Awaitable[None]]) -> Callable[[Press], Awaitable[None]]:
    """Whatever refuses the new job offers the old one's prompt for correction."""

    async def handle(press: Press) -> None:
        job = await press.job()
        with submission.carrying(_words(press, job)):
            await admit(press, job)

    return handle


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_button(_admits(_upscale), UPSCALE)
    bot.registry.add_job_button(_admits(_vary), VARY, VARY_CROP)
    bot.registry.add_job_button(_admits(_again), AGAIN, AGAIN_FAILED)
    for verb in (Verb.UPSCALE, Verb.VARY, Verb.AGAIN):
        bot.registry.add_job_mender(_with_other_words, verb)
    bot.registry.add_job_button(_cancel, CANCEL)
