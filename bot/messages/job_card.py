"""Job -> card: the text and the buttons that its message has now. Pure: knows no discord, no storage and no clock.

Which buttons there are is a table that features fill (`JobCards.add`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bot.event_bus import Status, WorkerState
from bot.messages.components import Button, Card, ComponentId, Style, job_component
from bot.text import harmless, place_in_line, sentence, settings, shortened, when
from core.canvas import in_words
from core.edits import STRONG, SUBTLE
from core.job import Job, Kind, Source, State
from core.parameters import MAX_COUNT

#: Discord's limit for a message is 2,000; delivery may add a line of its own. The prompt has what the rest leaves.
_ROOM = 1900
_PROMPT_ROOM, _NOTES_ROOM, _FAILURE_ROOM = 1400, 400, 300
_STEADY_SECONDS = 5
#: A place is looked up every 20 s: a moment nearer than that is "soon", or its stamp would count up from the past.
_SOON_SECONDS, _MOMENT_SECONDS = 25, 5

#: Below the state of a job whose rows wait.
PAUSED = "-# Paused while faster lanes use the GPU. It continues from here by itself."
#: Said in a result's place when its pictures were deleted, damaged or lost with the disk before they could be posted.
LOST_GRID = "Its pictures were deleted or damaged before they could be shown. U draws one again, for free."
LOST_UPSCALE = "This picture was deleted or damaged before it could be shown. Upscale makes it again."
LOST_CROP = "This picture was deleted or damaged before it could be shown. U below its grid draws it again, for free."
#: Behind "near picture 2", for a variation that is nearer or further than V's.
_NEARNESS = {SUBTLE: ", subtly", STRONG: ", strongly"}

ALL_KINDS = frozenset(Kind)
#: Discord's limits for the components of a message.
_MOST_ROWS, _MOST_IN_ROW = 5, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class JobButton:
    """Where a button stands: on which kinds of jobs, in which states, in which row (0-based).

    `order`: its place among the row's buttons, smallest first. `each`: one for each picture, numbered behind its label.
    `of_source`: it is about the one picture that the message shows: the one that a crop came from, else the job's own.
    """

    verb: str
    states: frozenset[State]
    row: int
    kinds: frozenset[Kind] = ALL_KINDS
    order: int = 0
    label: str | None = None
    emoji: str | None = None
    style: Style = Style.QUIET
    each: bool = False
    of_source: bool = False

    def on(self, job: Job) -> tuple[Button, ...]:
        """The buttons that it makes under this job."""
        if job.kind not in self.kinds or job.state not in self.states:
            return ()
        if self.of_source:
            shown = job.source if job.kind is Kind.CROP else Source(job=job.id, index=0)
            return (
                () if shown is None else (self._button(job_component(shown.job, self.verb, shown.index), self.label),)
            )
        if self.each:
            count = range(job.request.count)
            return tuple(self._button(job_component(job.id, self.verb, i), f"{self.label}{i + 1}") for i in count)
        return (self._button(job_component(job.id, self.verb), self.label),)

    def _button(self, component_id: ComponentId, label: str | None) -> Button:
        return Button(id=component_id, label=label, emoji=self.emoji, style=self.style)


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


class JobCards:
    """The cards of all jobs, with the buttons that features have declared for them."""

    def __init__(self, buttons: Iterable[JobButton] = ()) -> None:
        self._buttons: list[JobButton] = []
        for button in buttons:
            self.add(button)

    def add(self, button: JobButton) -> None:
        """Raises ValueError where a message could not hold it."""
        buttons = sorted([*self._buttons, button], key=lambda one: (one.row, one.order))
        for kind in button.kinds:
            for state in button.states:
                beside = [one for one in buttons if one.row == button.row and kind in one.kinds and state in one.states]
                if sum(MAX_COUNT if one.each else 1 for one in beside) > _MOST_IN_ROW or button.row >= _MOST_ROWS:
                    verbs = ", ".join(one.verb for one in beside)
                    raise ValueError(f"Row {button.row} of a {kind} that is {state} has no room for all of: {verbs}.")
        self._buttons = buttons

    def render(self, view: JobView) -> Card:
        """The card of a job in any state."""
        job = view.job
        lines = [f"-# {settings(job.request)} · {job.lane}"]
        if job.notes:
            lines.append(shortened("\n".join(f"-# {note}" for note in job.notes), _NOTES_ROOM))
        if not view.pictures_kept:
            lines.append(_lost(job))
        lines += filter(None, [_state(view)])
        return Card(content=card_text(job, _about(job), lines), rows=self._rows(job))

    def _rows(self, job: Job) -> tuple[tuple[Button, ...], ...]:
        rows: dict[int, list[Button]] = {}
        for spec in self._buttons:
            rows.setdefault(spec.row, []).extend(spec.on(job))
        return tuple(tuple(buttons) for _, buttons in sorted(rows.items()) if buttons)


def card_text(job: Job, about: str, lines: list[str]) -> str:
    """The prompt in bold, with as much of it as there is room for, then the lines."""
    rest = "\n".join([about, *lines])
    return f"**{harmless(job.request.prompt, min(_PROMPT_ROOM, _ROOM - len(rest) - 4))}**{rest}"


def _about(job: Job) -> str:
    what = [made_of(job)] if job.source is not None else []
    return " · ".join(("", *what, f"<@{job.user}>"))


def made_of(job: Job, of: str = "") -> str:
    """What a job made of the picture that it came from: "near picture 2", "picture 2, panned left".

    `of`: stands behind the picture, and says where that is.
    """
    assert job.source is not None
    request, picture = job.request, f"picture {job.source.index + 1}{of}"
    if job.kind is Kind.VARIATION:
        return f"near {picture}{_NEARNESS.get(request.strength, '')}"
    if job.kind is Kind.UPSCALE and request.upscale is not None:
        return f"{picture}, {request.upscale.factor}× as large{', redrawn' if request.upscale.creative else ''}"
    if job.kind is Kind.EDIT and request.canvas is not None:
        return f"{picture}, {in_words((request.width, request.height), request.canvas)}"
    if job.kind is Kind.EDIT:
        return f"{picture}, a part of it anew"
    return picture


def _lost(job: Job) -> str:
    return {Kind.CROP: LOST_CROP, Kind.UPSCALE: LOST_UPSCALE}.get(job.kind, LOST_GRID)


def _state(view: JobView) -> str:
    job = view.job
    if job.state in (State.QUEUED, State.PREPARING):
        return _waiting(view)
    if job.state is State.RUNNING:
        return _running(view)
    if job.state is State.FAILED:
        reason = sentence(job.failure or "Something went wrong while it was being made.", _FAILURE_ROOM)
        return f"Not made: {reason}\n-# Nothing was charged."
    return "Cancelled." if job.state is State.CANCELLED else ""


def _waiting(view: JobView) -> str:
    worker = view.worker
    if worker is not None and worker.stopping:
        return "In line · Darkroom is restarting, then this continues by itself"
    parts = [place_in_line(view.place) if view.place is not None else "In line"]
    if view.job.attempt > 0:
        parts.append("will start again")  # its worker was lost, or a pause or a restart put it back
    if worker is not None and worker.paused:
        parts.append("the GPU is paused")
    elif worker is not None and worker.status is Status.AWAY:
        parts.append(f"the GPU went offline {when(worker.since)}")
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
