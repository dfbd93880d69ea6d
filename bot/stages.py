"""Works out what has to be computed for a job, and in which order. Knows nothing of workers or time.

Mostly that is the job itself. Where the picture that it starts from was pruned, that one is rendered again first, from
its own job's row, and so on up the line of ancestors.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core.errors import Gone
from core.job import Job, Kind, Source

_MAX_DEPTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Pictures `indices` of job `of`. `own` is False for an ancestor's, whose GPU time is the house's."""

    of: Job
    indices: tuple[int, ...]
    own: bool


def start(job: Job) -> Source | None:
    """The picture that computing this job begins with, if any."""
    return job.source if job.request.strength < 1.0 else None


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
