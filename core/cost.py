"""What a job costs in GPU milliseconds and what a plan allows. Pure: knows nothing of SQLite, Discord or clocks.

A price is quoted before the job runs and never exceeded: the account pays the smaller of the quote and what was
measured, the rest is overhead, which nobody is billed for. So the quote is a high quantile of what such jobs cost on
this device before.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from core.job import Lane, Request

#: What a millisecond costs in each lane.
MULTIPLIER: Mapping[Lane, float] = {Lane.TURBO: 2.0, Lane.FAST: 1.0, Lane.RELAX: 0.0}
#: The share of such jobs that cost no more than the quote.
QUANTILE = 0.9
SAMPLES = 32  # kept for each kind of job
CELLS = 64  # kinds of job kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """GPU milliseconds: a megapixel through one step, a megapixel through the decoder, a job's text encoding."""

    per_megapixel_step_ms: float
    per_megapixel_ms: float
    per_job_ms: float

    def times(self, factor: float) -> Self:
        """The same shape, `factor` times as dear."""
        return type(self)(
            per_megapixel_step_ms=self.per_megapixel_step_ms * factor,
            per_megapixel_ms=self.per_megapixel_ms * factor,
            per_job_ms=self.per_job_ms * factor,
        )


#: Before anything was measured, by kind of device: a middling GPU with a Stable Diffusion 1.5, two cores with Postcard.
_FIRST_RATES = {
    "cuda": Rate(per_megapixel_step_ms=200.0, per_megapixel_ms=300.0, per_job_ms=50.0),
    "cpu": Rate(per_megapixel_step_ms=2500.0, per_megapixel_ms=2500.0, per_job_ms=150.0),
}


#: How many times dearer than Stable Diffusion 1.x a step of a megapixel is, by its multiplications (docs/models.md).
_EFFORT = {"sdxl": 2.1, "flux": 11.0}


def default_rate(device: str, family: str = "") -> Rate:
    """The rate to start from, for a family of core.catalogue. A device is `cpu`, or has its card's name or torch's."""
    rate = _FIRST_RATES["cpu" if device.startswith("cpu") else "cuda"]
    return rate.times(_EFFORT[family]) if family in _EFFORT else rate


def estimate_ms(request: Request, rate: Rate) -> int:
    """GPU time that a request should cost, in milliseconds; at least one."""
    megapixels = request.width * request.height * request.count / 1e6
    steps = megapixels * request.steps_to_run() * rate.per_megapixel_step_ms
    return max(1, math.ceil(steps + megapixels * rate.per_megapixel_ms + rate.per_job_ms))


def price_ms(estimate: int, multiplier: float) -> int:
    """What is reserved from the account for an estimate."""
    return math.ceil(estimate * multiplier)


def grids_left(balance_ms: int, price_of_one_ms: int) -> int | None:
    """How many jobs of that price the balance covers; None when they are free."""
    return balance_ms // price_of_one_ms if price_of_one_ms > 0 else None


def cell_of(request: Request) -> str:
    """Jobs of one cell cost alike per unit of work: size, and steps by powers of two, e.g. `256x256/16`."""
    return f"{request.width}x{request.height}/{1 << (request.steps_to_run().bit_length() - 1)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a model costs on a device: a first rate, and how many times dearer jobs of each cell really were.

    One value for each (model, device); the newest cell is the last. Bounded: SAMPLES a cell, CELLS cells. `cold` is the
    smallest ratio among jobs that bore the costs of a beginning: a device's first pictures take several times as long
    as those after them, so one of them says little, and it counts only until there is a better one.
    """

    base: Rate
    ratios: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    cold: float | None = None

    def with_sample(self, request: Request, gpu_ms: int, *, cold: bool = False) -> Self:
        """The calibration after such a job was measured; `cold`: it was among the first of its cell."""
        if gpu_ms <= 0:
            return self
        ratio = gpu_ms / estimate_ms(request, self.base)
        if cold:
            return replace(self, cold=ratio if self.cold is None else min(ratio, self.cold))
        cells = dict(self.ratios)
        cell = cell_of(request)
        cells[cell] = (*cells.pop(cell, ()), ratio)[-SAMPLES:]
        return replace(self, ratios=dict(list(cells.items())[-CELLS:]))

    def rate_for(self, request: Request) -> Rate:
        """The rate that covers most jobs like this one: by its cell, else the nearest, else the first jobs or rate."""
        cell = cell_of(request)
        if self.ratios:
            nearest = min(self.ratios, key=lambda known: _distance(known, cell))
            return self.base.times(_quantile(self.ratios[nearest]))
        return self.base if self.cold is None else self.base.times(self.cold)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        base = (self.base.per_megapixel_step_ms, self.base.per_megapixel_ms, self.base.per_job_ms)
        ratios = {cell: [round(x, 4) for x in xs] for cell, xs in self.ratios.items()}
        return {"base": list(base), "ratios": ratios, "cold": self.cold}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of `to_dict`. Raises KeyError, TypeError or ValueError for anything else."""
        step, picture, job = (float(number) for number in data["base"])
        cold = data.get("cold")
        for cell in data["ratios"]:
            _parts_of(cell)
        return cls(
            base=Rate(per_megapixel_step_ms=step, per_megapixel_ms=picture, per_job_ms=job),
            ratios={cell: tuple(float(x) for x in xs) for cell, xs in data["ratios"].items() if xs},
            cold=None if cold is None else float(cold),
        )


def _distance(one: str, other: str) -> float:
    """How unlike two cells are: doublings of pixels and of steps between them; 0 only for the same."""
    (width, height, steps), (wide, high, more) = _parts_of(one), _parts_of(other)
    doublings = abs(math.log2(width * height / (wide * high))) + abs(math.log2(steps / more))
    return doublings + (0.0 if one == other else 0.001)  # the same area in another shape is still another cell


def _parts_of(cell: str) -> tuple[int, int, int]:
    """Width, height and steps of a cell's name. Raises ValueError."""
    size, _, steps = cell.partition("/")
    width, _, height = size.partition("x")
    parts = int(width), int(height), int(steps)
    if min(parts) < 1:
        raise ValueError(cell)
    return parts


def _quantile(samples: tuple[float, ...]) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, math.ceil(QUANTILE * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPlan:
    """What an account may do."""

    name: str
    fast_ms_per_period: int  # GPU time of the fast lane, each calendar month
    running: int  # jobs at once
    waiting: int  # jobs in the queue
    max_work: int  # pixels × steps × pictures of one job


def period_of(now: float) -> tuple[float, float]:
    """Start and end of the calendar month (UTC) that holds `now`; both in seconds since the epoch."""
    start = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start.timestamp(), end.timestamp()
