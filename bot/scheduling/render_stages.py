"""Works out what has to be computed for a job, and in which order. Knows nothing of workers or time.

Mostly that is the job itself. Where the picture that it starts from was pruned, that one is rendered again first, from
its own job's row, and so on up the line of ancestors.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from bot.resources import Resources
from core.errors import Gone
from core.events import ModelInfo
from core.job import Job, Kind, MadeWith, Source

_MAX_DEPTH = 200
#: Kinds that are made from their picture however much of it is anew: a wider canvas of noise alone still holds it.
_FROM_A_PICTURE = frozenset({Kind.EDIT, Kind.UPSCALE, Kind.DESCRIBE})
_NO_VERSION = re.compile(r"[^A-Za-z0-9.+-]")

#: Said instead of showing a picture that only resembles the one that was there.
LOST_MODEL = (
    "That picture's file is gone, and the model that made it is no longer here, so it cannot be drawn again. "
    "🔄 makes new ones."
)
OTHER_MODEL = "It was made for a model that is no longer here. 🔄 makes it with another one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Pictures `indices` of job `of`. `own` is False for an ancestor's, whose GPU time is overhead."""

    of: Job
    indices: tuple[int, ...]
    own: bool


def start(job: Job) -> Source | None:
    """The picture that computing this job begins with, if any."""
    return job.source if job.kind in _FROM_A_PICTURE or job.request.strength < 1.0 else None


def check_redrawn(made: MadeWith | None, digest: str) -> None:
    """Raises Gone unless these weights made the pictures. An empty `digest` is not known yet."""
    if made is not None and digest and made.digest != digest:
        raise Gone(LOST_MODEL)


def redrawn_note(before: MadeWith | None, now: MadeWith) -> str:
    """A line for the job that needed a picture which another engine draws again; empty where it is the same one."""
    if before is None or before.engine == now.engine:
        return ""
    engines = f"engine {_plain(now.engine)}, not {_plain(before.engine)} as at first"
    return f"Drawn again by {engines}: it may differ from the picture that was shown."


def _plain(version: str) -> str:
    """As a line on Discord shows it, whoever wrote it: nothing in it is a sign of Discord's."""
    return _NO_VERSION.sub("", version)[:20]


def check_model(stage: Stage, offered: Collection[str], known: Mapping[str, ModelInfo]) -> None:
    """Raises Gone where the worker can neither load the model that this stage needs, nor has it."""
    name = stage.of.request.model
    if name not in offered and name not in known:
        raise Gone(OTHER_MODEL if stage.own else LOST_MODEL)
    if not stage.own and name in known:
        check_redrawn(stage.of.made_with, known[name].digest)


async def plan(
    job: Job,
    *,
    get: Callable[[str], Awaitable[Job | None]],
    kept: Callable[[Source], Awaitable[bool]],
    root: Callable[[Source], Awaitable[Source]],
) -> list[Stage]:
    """Stages in order; empty for a crop whose picture is kept. Raises Gone when an ancestor's row is not there."""
    if job.kind is Kind.CROP:
        stages, need = [], job.source
    else:
        stages, need = [Stage(of=job, indices=tuple(range(job.request.count)), own=True)], start(job)
    while need is not None and len(stages) < _MAX_DEPTH:
        need = await root(need)
        if await kept(need):
            break
        ancestor = await get(need.job)
        if ancestor is None or need.index >= ancestor.request.count:
            raise Gone("The picture that this starts from is gone, and so is its job.")
        stages.append(Stage(of=ancestor, indices=(need.index,), own=False))
        need = start(ancestor)
    return stages[::-1]


async def check_drawable(resources: Resources, source: Source) -> None:
    """Raises Gone for a pruned picture whose model is gone or has other weights: it would come out as another one."""
    root = await resources.images.root(source)
    drawn = await resources.jobs.get(root.job)
    if drawn is not None and await resources.images.read(root.job, root.index) is None:
        model = resources.model_registry.get(drawn.request.model)
        if model is None:
            raise Gone(LOST_MODEL)
        check_redrawn(drawn.made_with, model.digest)


async def is_drawable(resources: Resources, source: Source | None) -> bool:
    """Whether a job that starts from this picture, if from any, can be made again."""
    try:
        if source is not None:
            await check_drawable(resources, source)
    except Gone:
        return False
    return True
