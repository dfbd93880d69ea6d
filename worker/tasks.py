"""A job in the worker's hands: its order, its rows, what is finished. Knows nothing of how rows are computed."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from core.events import Submit
from worker.families.base import Family, Pixels
from worker.rows import Row
from worker.samplers import MAX_STEPS, samplers_for

#: A first preview after this share of the steps, but after no more than `FIRST_AT_MOST` of them.
FIRST_SHARE = 8
FIRST_AT_MOST = 3


class CannotCompute(Exception):
    """This job can never work here; the text is the sentence its reader sees."""


@dataclass(slots=True, eq=False, kw_only=True)
class Task:
    """One attempt at one job."""

    order: Submit
    rows: list[Row] = field(default_factory=list)
    undecoded: int = 0
    alone: bool = False  # its last shared forward raised: from now on no other job is in its batch
    spoke_at: float = 0.0  # monotonic seconds of its last progress
    sketched_at: float | None = None

    @property
    def id(self) -> str:
        """The job."""
        return self.order.job

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.order.request.width, self.order.request.height

    @property
    def step(self) -> int:
        """Steps done by the slowest row."""
        return min(row.done for row in self.rows)

    @property
    def steps(self) -> int:
        """Steps that each row takes."""
        return len(self.rows[0].plan)

    def wants_sketch(self, now: float, every: float) -> bool:
        """True when a preview is due: one early, then by the clock; none when the pictures themselves come next."""
        if not self.order.previews or self.step == 0 or self.step >= self.steps:
            return False
        if self.sketched_at is None:
            return self.step >= min(FIRST_AT_MOST, max(1, self.steps // FIRST_SHARE))
        return now - self.sketched_at >= every


def check(order: Submit, family: Family) -> None:
    """Raises CannotCompute when the numbers of a request cannot work with this model."""
    request = order.request
    unit, samplers = family.factor, samplers_for(family.scheduler)
    problems: Mapping[str, bool] = {
        f"This model has no sampler {request.sampler!r}; it has {', '.join(samplers)}.": request.sampler
        not in samplers,
        f"{request.width}×{request.height} is no size of this model: both sides must be multiples of {unit} pixels.": (
            min(request.width, request.height) < unit or bool(request.width % unit or request.height % unit)
        ),
        f"{request.steps} steps are not possible: 1 to {MAX_STEPS} are.": not 1 <= request.steps <= MAX_STEPS,
        "The order names no picture.": not order.indices or min(order.indices) < 0,
        "The order starts near a picture, but brings none.": request.strength < 1 and not order.source,
    }
    for sentence, wrong in problems.items():
        if wrong:
            raise CannotCompute(sentence)


def source_pixels(order: Submit) -> Pixels:
    """The picture that the job starts near, at the request's size. Raises CannotCompute when it cannot be read."""
    size = order.request.width, order.request.height
    try:
        with Image.open(io.BytesIO(order.source), formats=["PNG"]) as image:
            whole = image.convert("RGB")
    except Exception as error:
        # Pillow raises many kinds on broken files; all mean the same here.
        raise CannotCompute("The picture to start from cannot be read.") from error
    fitted = whole if whole.size == size else whole.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(fitted)
