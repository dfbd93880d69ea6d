"""Says where a job stands in line, and about when it starts and ends. Pure: the line and the rates come in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.fairness import RELAX_SHARE
from core.job import Lane
from storage.jobs import QueuePlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """`place`: 1 is next, 0 is running or over. Seconds from now; None while no worker computes.

    `paused`: it runs, but has waited for a while in the worker's memory for faster lanes.
    """

    place: int
    starts_in_s: float | None = None
    ends_in_s: float | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingWork:
    """A running job. `left_ms`: GPU time until it is done."""

    job: str
    lane: Lane
    left_ms: float
    paused: bool = False


def estimates(
    remaining: Sequence[RemainingWork],
    places: Mapping[str, QueuePlace],
    *,
    pace: float,
    working: bool,
    share: float = RELAX_SHARE,
) -> dict[str, Estimate]:
    """Of all running and waiting jobs. `pace`: wall for GPU seconds; `share`: relax's own.

    Lanes follow one another, but for relax's share. The running jobs of a lane share the GPU and so end about together;
    those that wait there follow one by one.
    """
    line = _Line(remaining, places, share)
    second = pace / 1000

    def estimate(lane: Lane, place: int, starts_ms: float, ends_ms: float, paused: bool = False) -> Estimate:
        starts_s = 0.0 if place == 0 else line.until(lane, starts_ms) * second
        if not working:
            return Estimate(place=place, starts_in_s=0.0 if place == 0 else None, paused=paused)
        return Estimate(place=place, starts_in_s=starts_s, ends_in_s=line.until(lane, ends_ms) * second, paused=paused)

    found = {}
    for job in remaining:
        beside = line.running[job.lane]
        together = min(sum(beside), job.left_ms * len(beside))
        found[job.job] = estimate(job.lane, 0, 0.0, together, job.paused)
    for name, place in places.items():
        before = line.running[place.lane]
        first_free = sum(before) / max(1, len(before)) + place.ahead_ms
        found[name] = estimate(place.lane, place.place, first_free, sum(before) + place.ahead_ms + place.estimate_ms)
    return found


class _Line:
    """All work that is known, by lane, in GPU milliseconds."""

    def __init__(self, remaining: Sequence[RemainingWork], places: Mapping[str, QueuePlace], share: float) -> None:
        self.running = {lane: [job.left_ms for job in remaining if job.lane is lane] for lane in Lane}
        self._work = {lane: sum(self.running[lane]) for lane in Lane}
        for place in places.values():
            self._work[place.lane] += place.estimate_ms
        self._share = share

    def until(self, lane: Lane, own_ms: float) -> float:
        """GPU time until so much of a lane's own work is done, with what the other lanes take meanwhile."""
        aside = self._share / (1 - self._share)  # of relax's work beside the others'
        if lane is Lane.RELAX:
            metered = sum(work for other, work in self._work.items() if other is not Lane.RELAX)
            return own_ms / self._share if own_ms < metered * aside else metered + own_ms
        above = sum(self._work[other] for other in list(Lane)[: list(Lane).index(lane)])
        return above + own_ms + min(self._work[Lane.RELAX], (above + own_ms) * aside)
