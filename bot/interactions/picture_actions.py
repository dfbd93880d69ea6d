"""What buttons make of one picture: the common way from a press, or from corrected words, to a new job.

A feature brings an `Action`: a picture, and perhaps new words, become a request. Knows no feature.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from bot.admission import PressedButton
from bot.interactions import refused_prompt, submission
from bot.interactions.registry import PanelButton, Press, Quote, Registry
from bot.messages import JobButton
from bot.scheduling import render_stages
from bot.services import Services
from core.canvas import Size
from core.catalogue import Model
from core.cost import MULTIPLIER
from core.edits import ANEW, ONWARD
from core.errors import Cure, Gone, Refused
from core.job import Canvas, Job, Kind, Lane, Request, Role, Source, State
from core.parameters import MAX_COUNT
from core.pasted_prompt import clean
from core.prompt import Parsed
from core.prompt_pieces import without

#: Small lines below a job that is not what its button makes otherwise.
NO_SOURCE = "The picture that it started from cannot be drawn again, so this is a new grid from the words."
STRETCHED = "The picture is stretched to the new ratio."
NO_TILE = "`--tile` does not count for a wider picture: it no longer repeats."
#: Below a grid that words made where U was refused: earlier versions asked for them there.
NO_WORDS = "U shows a picture as it is, so these words made a new grid."
_SAME_RATIO = 0.02
#: Lanes that cost fast time: whoever names one in a prompt chooses it for nobody else.
_METERED = frozenset({Lane.TURBO.value, Lane.FAST.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What is to be made. `notes`: small lines below the job."""

    kind: Kind
    request: Request
    source: Source | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Picture `index` of the job that made it. `drawn`: its size as it was drawn, before it was made larger.

    `part`: what else the button's id says of it, such as which part is meant.
    """

    job: Job
    index: int
    drawn: Size
    part: str = ""

    @property
    def size(self) -> Size:
        """As it is, in pixels."""
        return self.job.request.width, self.job.request.height

    @property
    def source(self) -> Source:
        """As a new job's start."""
        return Source(job=self.job.id, index=self.index)


#: Of new words, what they ask for; None: the picture's own count.
Action = Callable[[Services, Picture, Parsed | None], Awaitable[Making]]


def declare(
    registry: Registry, action: Action, *buttons: JobButton, panel: PanelButton | None = None, words: bool = True
) -> None:
    """Makes an action known: the buttons below jobs that take it, or the one behind **More**.

    Each is pressed and refused in the same way and, where it takes other `words`, mended so and offered by **Edit**.
    """
    if panel is not None:
        registry.add_panel_button(_handler(action), panel, quote_of(action), words=words)
    if buttons:
        registry.add_job_button(_handler(action), *buttons, words=words)
    if words:
        named = panel or PanelButton(verb=buttons[0].verb, row=0, name=buttons[0].label or "")
        registry.add_job_mender(_mender(action), named.verb)
        if panel is not None or buttons[0].of_source:
            registry.with_words.append(named)


def declare_elsewhere(registry: Registry, action: Action, verb: str) -> None:
    """Makes an action known whose buttons, and forms with a field of words, stand in a feature's own messages."""
    mended = _mender(action)

    async def sent(press: Press) -> None:
        await mended(press, refused_prompt.written(press.fields))

    registry.add_job_component(_handler(action), verb)
    registry.add_job_form(sent, verb)
    registry.add_job_mender(mended, verb)


def _handler(action: Action) -> Callable[[Press], Awaitable[None]]:
    async def pressed(press: Press) -> None:
        job = await press.job()
        with submission.carrying(words_under(press, job)):
            await run(press, job, await action(press.services, await picture_of(press), None))

    return pressed


def quote_of(action: Action) -> Quote:
    """What the action would ask for, for its price and for what the model lacks."""

    async def quoted(press: Press) -> tuple[Kind, Request]:
        making = await action(press.services, await picture_of(press), None)
        return making.kind, making.request

    return quoted


def _mender(action: Action) -> Callable[[Press, str], Awaitable[None]]:
    async def mended(press: Press, words: str) -> None:
        typed = clean(words)
        with submission.carrying(typed):
            read = submission.read(press.services, typed)
            picture = await picture_of(press)
            if await render_stages.is_drawable(press.services, picture.source):
                making = await action(press.services, picture, read)
            else:
                making = Making(kind=Kind.GRID, request=read.request, notes=(NO_SOURCE,))
            await run_with_words(press, typed, read, making)

    return mended


async def run(press: Press, job: Job, making: Making) -> None:
    """Admits what a press under `job` means, with that job's own words."""
    await submission.run(
        press.interaction,
        making.kind,
        words_under(press, job),
        making.request,
        lane=await lane_under(press, job),
        source=making.source,
        pressed=PressedButton(parent=job.id, verb=f"{press.id.verb}{press.id.argument}", index=press.id.index),
        notes=making.notes,
    )


async def run_with_words(press: Press, typed: str, read: Parsed, making: Making) -> None:
    """Admits what a press means with other words."""
    await submission.run(
        press.interaction,
        making.kind,
        typed,
        making.request,
        lane=Lane.RELAX if press.id.relax else read.lane,
        source=making.source,
        pressed=submission.once(press) if press.is_button else None,
        notes=(*read.notes, *making.notes),
    )


async def picture_of(press: Press) -> Picture:
    """The picture that a press is about: a crop's is its grid's. Raises Gone where there is none."""
    job, services = await press.job(), press.services
    source = await services.images.root(Source(job=job.id, index=press.id.index or 0))
    made = await services.jobs.get(source.job)
    if press.id.index is None or made is None or made.state is not State.DONE or source.index >= made.request.count:
        raise Gone("There is no such picture.")
    drawn = await _drawn(services, made)
    return Picture(job=made, index=source.index, drawn=drawn, part=press.id.argument)


async def _drawn(services: Services, job: Job | None) -> Size:
    """Without what upscales of upscales have added."""
    assert job is not None
    factor, size = 1, (job.request.width, job.request.height)
    while job is not None and job.request.upscale is not None and job.source is not None:
        factor *= job.request.upscale.factor
        job = await services.jobs.get(job.source.job)
    return size[0] // factor, size[1] // factor


def model_of(services: Services, picture: Picture) -> Model:
    """The model that made the picture. Raises Gone where it is not here any more."""
    model = services.model_registry.get(picture.job.request.model)
    if model is None:
        sentence = "That picture was made with a model that is no longer here, so nothing can be drawn on it now."
        raise Gone(f"{sentence} Other words draw it with another one.", cure=Cure.WORDS)
    return model


def base(services: Services, picture: Picture, read: Parsed | None) -> tuple[Request, Model]:
    """A request as large as the picture was drawn, by new words or its own, and who draws it.

    What was done to the picture before is not done again: no canvas, no region, no upscale.
    """
    if read is None:
        model, request = model_of(services, picture), picture.job.request
    else:
        model, request = services.model_registry.choices.models[read.request.model], read.request
    own = model.name == picture.job.request.model or read is None
    width, height = picture.drawn if own else model.size_for(*picture.drawn)
    fresh = replace(
        request,
        width=width,
        height=height,
        model=model.name,
        count=MAX_COUNT if read is None else request.count,
        seed=services.new_seed() if read is None else request.seed,
        canvas=None,
        upscale=None,
        inputs=tuple(one for one in request.inputs if one.role is not Role.MASK),
    )
    return fresh, model


def on_canvas(
    services: Services, picture: Picture, read: Parsed | None, place: Callable[[Size, Model], tuple[Size, Canvas]]
) -> Making:
    """The picture on another canvas: `place` says how large that is and where in it the picture lies.

    Under its own words what is new continues the picture; new words say what should be there instead. Raises Refused.
    """
    request, model = base(services, picture, read)
    try:
        (width, height), canvas = place((request.width, request.height), model)
    except ValueError as error:
        raise Refused(str(error)) from None
    strength = ONWARD if request.prompt == picture.job.request.prompt else ANEW
    return Making(
        kind=Kind.EDIT,
        request=replace(request, width=width, height=height, canvas=canvas, strength=strength, tile=False),
        source=picture.source,
        notes=(NO_TILE,) if request.tile else (),
    )


def other_shape(services: Services, job: Job, read: Parsed | None) -> Size | None:
    """The size that new words ask for, where their ratio is another than that of the job's own words."""
    if read is None:
        return None
    try:
        before = submission.read(services, job.typed).request
    except Refused:  # they are read otherwise today
        before = job.request
    after = read.request
    if abs(before.width / before.height / (after.width / after.height) - 1) <= _SAME_RATIO:
        return None
    return after.width, after.height


async def lane_of(press: Press, job: Job) -> Lane:
    """The lane in which a press under `job` will run."""
    return await lane_under(press, job) or await submission.usual_lane(press.client, str(press.interaction.user.id))


def words_under(press: Press, job: Job) -> str:
    """The job's prompt for whoever presses: for others without a lane that would cost them fast time, also later."""
    return job.typed if str(press.interaction.user.id) == job.user else without(job.typed, _METERED)


async def lane_under(press: Press, job: Job) -> Lane | None:
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
    return min(said, await submission.usual_lane(press.client, presser), key=MULTIPLIER.__getitem__)
