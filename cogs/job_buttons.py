"""The buttons that every job has: 🔄 and Cancel.

Each is a new interaction, which admits a job or asks the scheduler. The row says everything; the button only names it.
"""

from dataclasses import replace

from bot.interactions import DarkroomBot, Press, cancel_job, check_may_manage, picture_actions, submission
from bot.messages import JobButton, Verb
from bot.scheduling import render_stages
from bot.services import Services
from core.edits import ANEW
from core.errors import Gone
from core.job import FINAL, SINGLES, Job, Kind, Role, State
from core.pasted_prompt import clean
from core.prompt import Parsed
from core.spelling import quoted

_DONE = frozenset({State.DONE})
_LIVE = frozenset(State) - FINAL

AGAIN = JobButton(verb=Verb.AGAIN, kinds=frozenset(Kind) - SINGLES, states=_DONE, row=0, order=1, emoji="🔄")
AGAIN_FAILED = JobButton(verb=Verb.AGAIN, states=FINAL - _DONE, row=0, emoji="🔄")
CANCEL = JobButton(verb=Verb.CANCEL, states=_LIVE, row=0, label="Cancel")
BUTTONS = (AGAIN, AGAIN_FAILED, CANCEL)


async def _again(press: Press) -> None:
    """The same once more, with another seed: a variation or an edit of the same picture, not of its result."""
    job, services = await press.job(), press.services
    with submission.carrying(picture_actions.words_under(press, job)):
        seed = services.new_seed()
        model = services.model_registry.get(job.request.model)
        if model is not None and await render_stages.is_drawable(services, job.source):
            request = replace(job.request, seed=seed, model=model.name)
            making = picture_actions.Making(kind=job.kind, request=request, source=job.source)
            await picture_actions.run(press, job, making)
            return
        # Another model has other sizes and defaults, and without its source it is a grid: read the prompt anew.
        fresh = submission.read(services, job.typed)
        notes = fresh.notes
        if model is None:
            notes += (f"{quoted(job.request.model)} is no longer here; {quoted(fresh.request.model)} draws this.",)
        if job.source is not None:
            notes += (picture_actions.NO_SOURCE,)
        request = replace(fresh.request, seed=seed)
        await picture_actions.run(press, job, picture_actions.Making(kind=Kind.GRID, request=request, notes=notes))


async def _again_with_words(press: Press, words: str) -> None:
    """What the job was, of the same picture, with other words."""
    job, services, typed = await press.job(), press.services, clean(words)
    with submission.carrying(typed):
        read = submission.read(services, typed)
        making = picture_actions.Making(kind=Kind.GRID, request=read.request)
        if job.kind is Kind.CROP:
            making = replace(making, notes=(picture_actions.NO_WORDS,))
        elif job.source is not None:
            if await render_stages.is_drawable(services, job.source):
                making = _of_its_source(press.services, job, read)
            else:
                making = replace(making, notes=(picture_actions.NO_SOURCE,))
        await picture_actions.run_with_words(press, typed, read, making)


def _of_its_source(services: Services, job: Job, read: Parsed) -> picture_actions.Making:
    """The job's own canvas, region or enlargement, and of a variation its nearness, with other words."""
    was, notes = job.request, ()
    request = replace(read.request, width=was.width, height=was.height, strength=was.strength)
    if job.kind is Kind.VARIATION:
        if other := picture_actions.other_shape(services, job, read):
            request, notes = replace(request, width=other[0], height=other[1]), (picture_actions.STRETCHED,)
    elif job.kind is Kind.UPSCALE:
        request = replace(request, count=1, upscale=was.upscale, tile=False, chaos=0, stop=100, inputs=())
    else:
        masks = tuple(one for one in was.inputs if one.role is Role.MASK)
        strength = was.strength if request.prompt == was.prompt else ANEW
        request = replace(request, canvas=was.canvas, strength=strength, tile=False, inputs=(*request.inputs, *masks))
    return picture_actions.Making(kind=job.kind, request=request, source=job.source, notes=notes)


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


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_button(_again, AGAIN, AGAIN_FAILED)
    bot.registry.add_job_mender(_again_with_words, Verb.AGAIN)
    bot.registry.add_job_button(_cancel, CANCEL)
