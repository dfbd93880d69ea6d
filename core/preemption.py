"""Says who has the worker between two steps: who enters, who waits in its memory, who goes on. Pure.

One lane has the worker at a time. Turbo comes before fast and fast before relax: while a lane above wants the worker,
the rows of those below wait in its memory, and go on from their step when it has had enough. Relax has it whenever it
has saved up a slice of its guaranteed share, until the slice is used up. A slice is short where the model is loaded,
and long where it would have to be loaded first.

Inside a lane jobs run to their end while they fit. Where they do not, a waiting job takes the place of running ones
whose account was served more in this lane, by at least as much as the waiting job will take: nobody is worse off by it
than the fair order (core/fairness.py) would have it, and a short job need not wait for the end of a long one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from core.fairness import Scope, Service, Turn, WaitingJob, choose
from core.job import Lane

#: GPU time that relax has the worker for, before the lanes above it get it back.
SLICE_MS = 200.0
#: The same where relax's model has to be loaded for it: else the swaps would take longer than the slices.
COLD_SLICE_MS = 10_000.0
#: Rows that may wait in a worker's memory beside those that it computes, at least; a worker for more rows keeps more.
PAUSED_ROWS = 64
_RANK = {lane: place for place, lane in enumerate(Lane)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job in a worker's hands. `booked_ms` is on its account's counter, `measured_ms` is what it took so far."""

    job: str
    lane: Lane
    account: str
    model: str
    rows: int
    booked_ms: float = 0.0
    measured_ms: float = 0.0
    solo: bool = False  # nothing enters beside it
    displaced: bool = False  # gave its place to another job of its lane
    queueing: bool = False  # the worker has no order of it yet, or not any more
    over: bool = False  # its last word was said; its end is being written down


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a worker can take now. None: no limit.

    `rows` are those beside the jobs of the lane that go on, `spare` those that its memory can hold at all.
    """

    rows: int | None = None
    spare: int | None = None
    alone: bool = True  # the worker has nothing, so a job that must run alone may enter
    lane: Lane | None = None  # whose turn it is, when that is known
    running_per_account: int | None = None
    off_gpu: frozenset[str] = frozenset()  # jobs that are not computed meanwhile, and so count for no cap
    warm: frozenset[str] | None = None  # the models that it has loaded
    running: tuple[RunningJob, ...] = ()  # the jobs of the lane that go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Whose turn it is, and who runs: jobs of that lane, or of another while its own are on their way."""

    lane: Lane | None
    runs: frozenset[str]


def holder(lanes: Collection[Lane], credit_ms: float, holding: Lane | None, slice_ms: float = SLICE_MS) -> Lane | None:
    """The lane whose turn it is among those that want the worker. `holding`: the one that has it."""
    first = next((lane for lane in Lane if lane in lanes), None)
    if first is Lane.RELAX or Lane.RELAX not in lanes:
        return first
    owed = credit_ms > 0 if holding is Lane.RELAX else credit_ms >= slice_ms
    return Lane.RELAX if owed else first


def slice_of(relax_models: Collection[str], warm: Collection[str]) -> float:
    """How much relax saves up before it takes the worker, in GPU milliseconds."""
    return SLICE_MS if not relax_models or set(relax_models) & set(warm) else COLD_SLICE_MS


def arrange(
    jobs: Sequence[RunningJob],
    *,
    rows: int,
    credit_ms: float,
    holding: Lane | None,
    warm: Collection[str] = (),
    expected: Collection[Lane] = (),
) -> Schedule:
    """Who of the jobs in a worker's hands runs until the next decision. `jobs`: in the order in which they came.

    `expected`: lanes whose jobs may come at any moment. Until then those below fill the gap, where that takes no load.
    """
    there = [job for job in jobs if not job.queueing]
    if solo := [job for job in there if job.solo]:  # what must run alone came alone, and is left alone
        return Schedule(lane=solo[0].lane, runs=frozenset({solo[0].job}))
    present = {job.lane for job in there}
    coming = {*expected, *(job.lane for job in jobs if job.queueing and not job.over)}
    slice_ms = slice_of({job.model for job in there if job.lane is Lane.RELAX}, warm)
    turn = holder(present | coming, credit_ms, holding, slice_ms)
    lane = turn if turn in present else holder(present, credit_ms, holding, slice_ms)
    if turn is not None and lane is not None and _RANK[lane] > _RANK[turn]:
        there = [job for job in there if job.model in warm]
    return Schedule(lane=turn, runs=_together([job for job in there if job.lane is lane], rows, warm))


def _together(jobs: Sequence[RunningJob], rows: int, warm: Collection[str]) -> frozenset[str]:
    """The jobs of a lane that fit, those that gave way last."""
    runs: list[RunningJob] = []
    left = rows
    for job in sorted(jobs, key=lambda job: job.displaced):
        if runs and job.rows > left:
            break
        if may_run_together({job.model, *(other.model for other in runs)}, warm):
            runs.append(job)
            left -= job.rows
    return frozenset(job.job for job in runs)


def may_run_together(models: Collection[str], warm: Collection[str]) -> bool:
    """Whether jobs of these models may run at the same time: where not all of them are loaded, they would be swapped
    at each step."""
    return len(models) == 1 or set(models) <= set(warm)


def capacity_of(
    jobs: Sequence[RunningJob], *, rows: int, lane: Lane, warm: frozenset[str], running_per_account: int
) -> Capacity | None:
    """What a worker with these jobs can take of a lane; None when nothing can enter."""
    if any(job.solo for job in jobs):
        return None
    mine = tuple(job for job in jobs if job.lane is lane)
    going_on = tuple(job for job in mine if not job.displaced)
    free = rows - sum(job.rows for job in going_on)
    held = sum(job.rows for job in jobs)
    return Capacity(
        # A displaced job is next when there is room, so only what displaces another may enter before it.
        rows=None if not jobs else 0 if len(going_on) < len(mine) else max(0, free),
        spare=rows + max(PAUSED_ROWS, 2 * rows) - held if jobs else None,
        alone=not jobs,
        lane=lane,
        running_per_account=running_per_account,
        off_gpu=frozenset(job.job for job in jobs if job.lane is not lane or job.displaced),
        warm=warm,
        running=going_on,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Who enters, and the jobs that give their places to it."""

    turn: Turn
    displaced: tuple[str, ...] = ()


def enter(heads: Collection[WaitingJob], service: Service, capacity: Capacity) -> Entry | None:
    """The job that enters now. If the one whose turn it is cannot, nobody overtakes it: that keeps large jobs, rare
    sizes and jobs that must run alone from starving."""
    turn = choose(heads, service, lane=capacity.lane, warm=capacity.warm)
    if turn is None:
        return None
    if fits(turn.waiting, capacity):
        return Entry(turn=turn)
    displaced = jobs_to_displace(turn.waiting, capacity, service)
    return Entry(turn=turn, displaced=displaced) if displaced else None


def fits(waiting: WaitingJob, capacity: Capacity) -> bool:
    """Whether the job may enter beside those that go on."""
    return _may_join(waiting, capacity) and (capacity.rows is None or capacity.alone or waiting.rows <= capacity.rows)


def _may_join(waiting: WaitingJob, capacity: Capacity) -> bool:
    """Whether it may, but for its rows."""
    models = {job.model for job in capacity.running} | {waiting.model}
    return (
        (not waiting.solo or capacity.alone)
        and (capacity.spare is None or capacity.alone or waiting.rows <= capacity.spare)
        and (capacity.warm is None or may_run_together(models, capacity.warm))
    )


def jobs_to_displace(waiting: WaitingJob, capacity: Capacity, service: Service) -> tuple[str, ...]:
    """The running jobs of the lane that give their places to a waiting one; empty when they need not.

    They need not where its model would have to be loaded, and theirs perhaps again after it.
    """
    cold = capacity.warm is not None and waiting.model not in capacity.warm
    if capacity.rows is None or waiting.solo or cold or not _may_join(waiting, replace(capacity, running=())):
        return ()
    bound = service.get(waiting.counters[0], 0.0) + waiting.estimate_ms
    staying, leaving = list(capacity.running), list[RunningJob]()
    while others := [job for job in staying if job.account != waiting.account]:
        served, place = max((_served(job, leaving, service), place) for place, job in enumerate(others))
        if served < bound:
            return ()
        leaving.append(others[place])
        staying.remove(others[place])
        free = capacity.rows + sum(job.rows for job in leaving)
        if waiting.rows <= free and _may_join(waiting, replace(capacity, running=tuple(staying))):
            return tuple(job.job for job in leaving)
    return ()


def _served(job: RunningJob, leaving: Collection[RunningJob], service: Service) -> float:
    """What a running job's account was served if this one stops here, with those that stop already. The newest of an
    account stops first: its counter was charged in that order, and those who came later were lifted to it."""
    stops = [other for other in leaving if other.account == job.account]
    unserved = sum(other.booked_ms - other.measured_ms for other in (*stops, job))
    return service.get((Scope.ACCOUNT, job.lane, job.account), 0.0) - unserved
