"""Job -> card: the text and the buttons that its message has now. Pure: knows no discord, no storage and no clock."""

from dataclasses import dataclass
from enum import StrEnum

from bot.event_bus import Status, WorkerState
from bot.text import gpu_time, harmless, link, place_in_line, settings, shortened, when
from core.catalogue import SAMPLERS
from core.job import Job, Kind, Lane, State

#: Discord's limit for a message is 2,000; delivery may add a line of its own. The prompt has what the rest leaves.
_ROOM = 1900
_PROMPT_ROOM, _NOTES_ROOM, _FAILURE_ROOM = 1400, 400, 300
_STEADY_SECONDS = 5
#: A place is looked up every 20 s: a moment nearer than that is "soon", or its stamp would count up from the past.
_SOON_SECONDS, _MOMENT_SECONDS = 25, 5

#: Below the state of a job whose rows wait.
PAUSED = "-# Paused while faster lanes have the GPU. It goes on from here by itself."
#: Said in a result's place when its pictures were deleted, or lost with the disk, before they could be posted.
LOST_GRID = "Its pictures were deleted before they could be shown. U draws one again, for free."
LOST_CROP = "This picture was deleted before it could be shown."


class Verb(StrEnum):
    """What a job's button does; stands in its custom id."""

    UPSCALE = "u"
    VARY = "v"
    AGAIN = "again"
    INFO = "info"
    CANCEL = "cancel"
    DELETE = "delete"


class Style(StrEnum):
    """The colour of a button."""

    QUIET = "secondary"
    MAIN = "primary"
    DANGER = "danger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button that works for ever: all that it knows is a job's id and a verb. `index` is a picture, 0-based."""

    job: str
    verb: Verb
    index: int | None = None
    relax: bool = False
    label: str | None = None
    emoji: str | None = None
    style: Style = Style.QUIET

    @property
    def custom_id(self) -> str:
        """`job:<id>:<verb>[:<index>][:relax]`."""
        index = () if self.index is None else (str(self.index),)
        return ":".join(("job", self.job, self.verb, *index, *(("relax",) if self.relax else ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a message shows: the files come from elsewhere."""

    content: str
    rows: tuple[tuple[Button, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """All that a card depends on. Moments are seconds since the epoch; `fraction` (0 … 1) is None before a step."""

    job: Job
    now: float = 0.0
    place: int | None = None
    starts_at: float | None = None
    ends_at: float | None = None
    fraction: float | None = None
    paused: bool = False  # it runs, but its rows wait for faster lanes
    worker: WorkerState | None = None
    pictures_kept: bool = True


def render_job(view: JobView) -> Card:
    """The card of a job in any state."""
    job = view.job
    lines = [f"-# {settings(job.request)} · {job.lane}"]
    if job.notes:
        lines.append(shortened("\n".join(f"-# {note}" for note in job.notes), _NOTES_ROOM))
    if not view.pictures_kept:
        lines.append(LOST_CROP if job.kind is Kind.CROP else LOST_GRID)
    lines += filter(None, [_state(view)])
    return Card(content=_headed(job, _about(job), lines), rows=_rows(job))


def render_info(job: Job, parent: Job | None, *, may_delete: bool) -> Card:
    """The private card behind ⓘ: every number that made the picture."""
    request = job.request
    lines = [
        settings(request),
        f"cfg {request.guidance:g} · {SAMPLERS.get(request.sampler, request.sampler)} · {job.lane} lane",
        _made(job),
        f"Asked for by <@{job.user}> {when(job.created_at)}",
    ]
    if parent is not None and job.source is not None:
        address = link(parent)
        name = f"picture {job.source.index + 1} of {address or 'a job whose message is gone'}"
        lines.append(f"From {name}")
    lines.append(f"-# job {job.id}")
    delete = Button(job=job.id, verb=Verb.DELETE, label="Delete", style=Style.DANGER)
    return Card(content=_headed(job, "", [line for line in lines if line]), rows=((delete,),) if may_delete else ())


def _headed(job: Job, about: str, lines: list[str]) -> str:
    """The prompt in bold, with as much of it as there is room for, then the lines."""
    rest = "\n".join([about, *lines])
    return f"**{harmless(job.request.prompt, min(_PROMPT_ROOM, _ROOM - len(rest) - 4))}**{rest}"


def _about(job: Job) -> str:
    picture = job.source.index + 1 if job.source is not None else 0
    what = {Kind.VARIATION: f" · near picture {picture}", Kind.CROP: f" · picture {picture}"}.get(job.kind, "")
    return f"{what} · <@{job.user}>"


def _state(view: JobView) -> str:
    job = view.job
    if job.state in (State.QUEUED, State.PREPARING):
        return _waiting(view)
    if job.state is State.RUNNING:
        return _running(view)
    if job.state is State.FAILED:
        reason = shortened(job.failure or "Something went wrong while it was made.", _FAILURE_ROOM)
        return f"Not made: {reason}\n-# Nothing was charged."
    return "Cancelled." if job.state is State.CANCELLED else ""


def _waiting(view: JobView) -> str:
    worker = view.worker
    if worker is not None and worker.stopping:
        return "In line · Darkroom restarts, then this goes on by itself"
    parts = [place_in_line(view.place) if view.place is not None else "In line"]
    if view.job.attempt > 0:
        parts.append("starts again")  # its worker was lost, or a pause or a restart put it back
    if worker is not None and worker.paused:
        parts.append("the GPU is paused")
    elif worker is not None and worker.status is Status.AWAY:
        parts.append(f"the GPU went away {when(worker.since)}")
    elif worker is not None and worker.status is Status.LOADING:
        parts.append("the model is loading")
    elif view.starts_at is not None:
        soon = view.starts_at < view.now + _SOON_SECONDS
        parts.append("starts soon" if soon else f"starts {when(_steady(view.starts_at))}")
    return " · ".join(parts)


def _running(view: JobView) -> str:
    if view.job.cancel_requested:
        return "Stopping"
    done = ""
    if view.ends_at is not None:
        nearly = view.ends_at < view.now + _MOMENT_SECONDS
        done = " · done in a moment" if nearly else f" · done {when(_steady(view.ends_at))}"
    state = "Starting" if view.fraction is None else f"{min(99, int(view.fraction * 100))} %{done}"
    return f"{state}\n{PAUSED}" if view.paused else state


def _steady(at: float) -> float:
    """Rounded, so that an estimate that hardly moved costs no edit."""
    return round(at / _STEADY_SECONDS) * _STEADY_SECONDS


def _rows(job: Job) -> tuple[tuple[Button, ...], ...]:
    if not job.is_final:
        return ((Button(job=job.id, verb=Verb.CANCEL, label="Cancel"),),)
    info = Button(job=job.id, verb=Verb.INFO, label="ⓘ")
    again = Button(job=job.id, verb=Verb.AGAIN, emoji="🔄")
    if job.state is not State.DONE:
        return ((again, info),)
    if job.kind is Kind.CROP and job.source is not None:
        vary = Button(job=job.source.job, verb=Verb.VARY, index=job.source.index, label="Vary")
        return ((vary, info),)
    return (
        (*_numbered(job, Verb.UPSCALE, "U"), again),
        (*_numbered(job, Verb.VARY, "V"), info),
    )


def _numbered(job: Job, verb: Verb, letter: str) -> list[Button]:
    return [Button(job=job.id, verb=verb, index=i, label=f"{letter}{i + 1}") for i in range(job.request.count)]


def _made(job: Job) -> str:
    time = f"{gpu_time(job.gpu_ms)} of GPU time" if job.gpu_ms is not None else ""
    charged = (
        f", {gpu_time(job.charged_ms)} charged" if job.charged_ms is not None and job.lane is not Lane.RELAX else ""
    )
    made = job.made_with
    weights = (
        f" · {harmless(made.model, 60)} {made.digest[:8]}, {made.dtype} on {harmless(made.device, 40)}" if made else ""
    )
    return f"{time}{charged}{weights}".removeprefix(" · ")
