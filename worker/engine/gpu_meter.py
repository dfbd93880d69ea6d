"""Device time: measures it, and books every nanosecond to a job or to overhead, which nobody pays.

At all times Σ jobs + Σ overhead = Σ busy, exactly, in nanoseconds; what is said outside is whole milliseconds, and a
job's fraction of one becomes overhead when it ends. Knows nothing of rows or of what was computed.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch

NS_PER_MS = 1_000_000
ROUNDING = "rounding"
#: The overhead's share of a forward; no job has this name.
PADDING = ""


class Span(Protocol):
    """A stretch of device time that has begun."""

    def end(self) -> None:
        """What the device is given from now on no longer counts; returns at once."""

    def ns(self, wait: bool) -> int | None:
        """Its length; None while the device is still busy with it and `wait` is false."""


class WallSpan:
    """On a CPU the loop's own thread is the device."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._from = clock_ns()
        self._to = self._from

    def end(self) -> None:
        self._to = self._clock_ns()

    def ns(self, wait: bool) -> int:
        """Its length, which is always known."""
        return self._to - self._from


class CudaSpan:
    """On a GPU two events in the stream; their distance is known once the device has passed the second."""

    def __init__(self) -> None:
        event: Any = torch.cuda.Event
        self._from, self._to = event(enable_timing=True), event(enable_timing=True)
        self._from.record()

    def end(self) -> None:
        """Puts the second event into the stream."""
        self._to.record()

    def ns(self, wait: bool) -> int | None:
        """Rounded to microseconds, which is more than the events resolve."""
        if wait:
            self._to.synchronize()
        elif not self._to.query():
            return None
        return round(float(self._from.elapsed_time(self._to)) * 1000) * 1000


class Measurement:
    """What a `measure()` block has measured so far: say whose it is with `job`, `jobs` or `overhead`, once."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.shares: Mapping[str, int] = {}
        self.cause = "unnamed"

    def job(self, key: str) -> None:
        """All of it is this job's."""
        self.shares = {key: 1}

    def jobs(self, shares: Mapping[str, int], padding: int = 0) -> None:
        """Split by these weights; `padding`: the weight of what was computed for nobody."""
        self.shares = {**shares, PADDING: padding} if padding else dict(shares)

    def overhead(self, cause: str) -> None:
        """Nobody pays it."""
        self.shares, self.cause = {}, cause


class GpuMeter:
    """The books of one device, in nanoseconds. Used by one thread; `busy_ms` may be read by others."""

    def __init__(self, begin: Callable[[], Span]) -> None:
        self._begin = begin
        self._waiting: deque[Measurement] = deque()
        self._overlapped: list[Measurement] = []
        self._jobs: dict[str, int] = {}
        self._overhead: dict[str, int] = {}
        self._closed_ns = 0
        self._busy_ns = 0

    @classmethod
    def for_device(cls, device: torch.device, clock_ns: Callable[[], int] = time.perf_counter_ns) -> "GpuMeter":
        """Events on CUDA, the wall clock elsewhere."""
        return cls(CudaSpan if device.type == "cuda" else lambda: WallSpan(clock_ns))

    @property
    def busy_ms(self) -> int:
        """All device time so far."""
        return self._busy_ns // NS_PER_MS

    @contextmanager
    def measure(self, *, overlapped: bool = False) -> Iterator[Measurement]:
        """Measures the block, also when it raises; unless told whose it is, it is overhead.

        `overlapped`: the device computes it beside the steps, and no step waits for it.
        """
        measured = Measurement(self._begin())
        try:
            yield measured
        finally:
            measured.span.end()
            (self._overlapped if overlapped else self._waiting).append(measured)

    def settle(self, keep: int = 0) -> None:
        """Books what the device has finished; waits for all but the last `keep` blocks, which bounds its lead.

        What is computed aside is only waited for where `keep` is 0.
        """
        for measured in list(self._overlapped):
            ns = measured.span.ns(wait=not keep)
            if ns is not None:
                self._overlapped.remove(measured)
                self._book(measured, ns)
        while self._waiting:
            ns = self._waiting[0].span.ns(wait=len(self._waiting) > keep)
            if ns is None:
                return
            self._book(self._waiting.popleft(), ns)

    def job_ms(self, key: str) -> int:
        """What is booked to a job, in whole milliseconds."""
        return self._jobs.get(key, 0) // NS_PER_MS

    def write_off(self, key: str, cause: str) -> None:
        """Books a job's cost so far to overhead: it has to begin anew, through no fault of its member."""
        self.settle()
        self._add_overhead(cause, self._jobs.pop(key, 0))

    def close(self, key: str) -> int:
        """The job's last number: whole milliseconds, after waiting for all its blocks. The rest is overhead."""
        self.settle()
        ns = self._jobs.pop(key, 0)
        ms = ns // NS_PER_MS
        self._closed_ns += ms * NS_PER_MS
        self._add_overhead(ROUNDING, ns - ms * NS_PER_MS)
        return ms

    def take_overhead(self) -> dict[str, int]:
        """Whole milliseconds by cause since the last time; fractions are kept together until they make one."""
        taken: dict[str, int] = {}
        fractions = 0
        for cause, ns in self._overhead.items():
            whole, rest = divmod(ns, NS_PER_MS)
            taken[cause] = whole
            fractions += rest
        whole, rest = divmod(fractions, NS_PER_MS)
        taken[ROUNDING] = taken.get(ROUNDING, 0) + whole
        self._overhead = {ROUNDING: rest}
        self._closed_ns += sum(taken.values()) * NS_PER_MS
        return {cause: ms for cause, ms in taken.items() if ms}

    def audit(self) -> tuple[int, int]:
        """(busy, booked) in nanoseconds: always equal."""
        return self._busy_ns, self._closed_ns + sum(self._jobs.values()) + sum(self._overhead.values())

    def _book(self, measured: Measurement, ns: int) -> None:
        self._busy_ns += ns
        if not measured.shares:
            self._add_overhead(measured.cause, ns)
        for key, part in split(ns, measured.shares).items():
            if key == PADDING:
                self._add_overhead("padding", part)
            else:
                self._jobs[key] = self._jobs.get(key, 0) + part

    def _add_overhead(self, cause: str, ns: int) -> None:
        if ns:
            self._overhead[cause] = self._overhead.get(cause, 0) + ns


def split(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """`total` by weights in whole numbers whose sum is `total`: the largest remainders get what is left over."""
    whole = sum(weights.values())
    if not whole:
        return {}
    parts = {key: total * weight // whole for key, weight in weights.items()}
    left = total - sum(parts.values())
    by_remainder = sorted(weights, key=lambda key: (-(total * weights[key] % whole), key))
    for key in by_remainder[:left]:
        parts[key] += 1
    return parts
