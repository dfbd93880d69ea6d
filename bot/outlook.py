"""Says where a job stands in line, and about when it starts and ends. Pure: the line and the rates come in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.flights import Flight
from storage.jobs import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """`place`: 1 is next, 0 is running or over. Seconds from now; None while no worker computes."""

    place: int
    starts_in_s: float | None = None
    ends_in_s: float | None = None


def outlook(
    flights: Sequence[Flight],
    places: Mapping[str, Place],
    *,
    estimates: Mapping[str, int],
    pace: float,
    working: bool,
) -> dict[str, Estimate]:
    """Of all running and waiting jobs. `estimates`: GPU ms of the running ones; `pace`: wall for GPU seconds.

    The running ones share the GPU and so end about together; those that wait follow one by one.
    """
    second = pace / 1000
    left = {flight.id: estimates[flight.id] * (1.0 - flight.fraction) for flight in flights}
    running_ms = sum(left.values())
    found = {
        job: Estimate(place=0, starts_in_s=0.0, ends_in_s=min(running_ms, ms * len(left)) * second if working else None)
        for job, ms in left.items()
    }
    first_free_ms = running_ms / max(1, len(left))
    for job, place in places.items():
        found[job] = Estimate(
            place=place.place,
            starts_in_s=(first_free_ms + place.ahead_ms) * second if working else None,
            ends_in_s=(running_ms + place.ahead_ms + place.estimate_ms) * second if working else None,
        )
    return found
