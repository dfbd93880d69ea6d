"""How a model lies in the device's memory: what stays there, what comes and goes, how many rows a forward may have.

Pure planning, from sizes to a plan that says itself in one line; `placing.py` does what it says. Knows no torch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from worker.kinds import CannotLoad

#: The CUDA context, the libraries' workspaces, and what the allocator cannot hand out, beside a share of the memory.
RESERVE_MB, RESERVE_SHARE = 600, 32
#: A plan that gives fewer rows than this to a forward is only taken when none gives more.
FEW_ROWS = 2
#: Two grids of four; beyond that a forward is hardly quicker for each row, and memory is better spent otherwise.
ENOUGH_ROWS = 8
#: More rows than this bring nothing on any GPU known; who wants them all the same says so.
MOST_ROWS = 16
#: As many as the device is said to take.
ANY_ROWS = 1 << 16
#: Joined projections are a second copy of so much of a UNet's weights.
JOINED_SHARE = 0.25


class Policy(StrEnum):
    """What lies where, from quick to slow."""

    RESIDENT = "resident"  # everything on the device
    TEXT_ON_HOST = "text on host"  # text encoders come a layer at a time, once a prompt
    DENOISER_ONLY = "denoiser only"  # the autoencoder does too, once a picture
    STREAMED = "streamed"  # the denoiser too, block by block, at each step


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What a model takes, in MB. `row`: a picture's share of a forward at the native size, guidance included."""

    text: int
    denoiser: int
    autoencoder: int
    block: int  # the denoiser's largest block
    row: int
    decode: int  # one picture of the native size
    decode_tiled: int  # the same, in tiles
    layer: int = 0  # the largest layer of what may come and go a layer at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The choice. `aside`: a picture may be decoded while others step; the rest is worth memory where there is some."""

    policy: Policy
    tiled: bool
    rows: int
    fp8: bool = False
    aside: bool = False
    recorded: bool = False  # forwards as CUDA graphs
    joined: bool = False  # projections joined in compiled code
    peak_mb: int = 0
    memory_mb: int = 0

    @property
    def compiles(self) -> bool:
        """Weights that come and go, or change their type on the way, are not for compiled code."""
        return self.policy is not Policy.STREAMED and not self.fp8

    @property
    def rank(self) -> tuple[int, ...]:
        """Larger is better."""
        place = list(Policy).index(self.policy)
        enough = min(self.rows, ENOUGH_ROWS)
        extras = (self.aside, self.recorded, self.joined)
        return (self.rows >= FEW_ROWS, -place, not self.tiled, enough, *extras, self.rows)

    def sentence(self) -> str:
        """For the log and the doctor."""
        how = {
            Policy.RESIDENT: "everything stays on the device",
            Policy.TEXT_ON_HOST: "text encoders wait in the host's memory",
            Policy.DENOISER_ONLY: "text encoders and autoencoder wait in the host's memory",
            Policy.STREAMED: "all of it comes from the host's memory block by block",
        }[self.policy]
        more = [
            "fp8 weights" if self.fp8 else "",
            "pictures decoded in tiles" if self.tiled else "",
            "pictures decoded aside" if self.aside else "",
            "CUDA graphs" if self.recorded else "",
        ]
        told = "".join(f", {one}" for one in more if one)
        bounds = f"up to {self.rows} pictures a forward; about {self.peak_mb} of {self.memory_mb} MB at most"
        return f"{self.policy}: {how}{told}{f'; {bounds}' if self.memory_mb else ''}"


#: All of a model is on the device.
UNPLANNED = Plan(policy=Policy.RESIDENT, tiled=False, rows=ANY_ROWS)


def plan(sizes: Sizes, memory_mb: int, *, fp8: bool = False, rows: int = 0, name: str = "The model") -> Plan:
    """The best plan that fits into `memory_mb`; `rows`: no more than these. Raises CannotLoad with the numbers."""
    if fp8:
        sizes = replace(sizes, denoiser=math.ceil(sizes.denoiser / 2), block=math.ceil(sizes.block / 2))
    most = rows or MOST_ROWS
    candidates = [found for found in _candidates(sizes, memory_mb, most, fp8) if found.rows]
    if not candidates:
        raise CannotLoad(_too_large(sizes, memory_mb, fp8, name))
    return _enriched(max(candidates, key=lambda one: one.rank), sizes)


def reserve_mb(memory_mb: int) -> int:
    """What no plan may touch."""
    return RESERVE_MB + memory_mb // RESERVE_SHARE


def _candidates(sizes: Sizes, memory_mb: int, most: int, fp8: bool) -> Iterator[Plan]:
    for policy in Policy:
        for tiled in (False, True):
            bare = Plan(policy=policy, tiled=tiled, rows=0, fp8=fp8, memory_mb=memory_mb)
            yield _filled(bare, sizes, most)


def _filled(chosen: Plan, sizes: Sizes, most: int) -> Plan:
    """The plan with as many rows as fit beside all else; with none when it does not fit at all."""
    fitting = (rows for rows in range(most, 0, -1) if _peak(replace(chosen, rows=rows), sizes) <= chosen.memory_mb)
    filled = replace(chosen, rows=next(fitting, 0))
    return replace(filled, peak_mb=_peak(filled, sizes))


def _peak(chosen: Plan, sizes: Sizes) -> int:
    step = chosen.rows * sizes.row
    decode = sizes.decode_tiled if chosen.tiled else sizes.decode
    work = step + decode if chosen.aside else max(step, decode)
    graphs = step if chosen.recorded else 0
    joined = math.ceil(sizes.denoiser * JOINED_SHARE) if chosen.joined else 0
    return reserve_mb(chosen.memory_mb) + _held(sizes, chosen.policy) + work + graphs + joined


def _held(sizes: Sizes, policy: Policy) -> int:
    """What lies on the device at all times, with what is on its way."""
    passing = 2 * sizes.layer
    return {
        Policy.RESIDENT: sizes.text + sizes.denoiser + sizes.autoencoder,
        Policy.TEXT_ON_HOST: sizes.denoiser + sizes.autoencoder + passing,
        Policy.DENOISER_ONLY: sizes.denoiser + passing,
        # One block computes, the next one arrives, the one before is on its way out.
        Policy.STREAMED: max(3 * sizes.block, passing),
    }[policy]


def _enriched(chosen: Plan, sizes: Sizes) -> Plan:
    """What memory is left buys, best first, and then more rows; a plan that has to tile has none left."""
    if chosen.tiled:
        return chosen
    best = replace(chosen, rows=min(chosen.rows, ENOUGH_ROWS))
    for richer in _richer(best):
        if _peak(richer, sizes) <= chosen.memory_mb:
            best = richer
            break
    return _filled(best, sizes, chosen.rows)


def _richer(plain: Plan) -> Iterator[Plan]:
    """With all combinations of what memory buys, the most welcome first."""
    compiled = (True, False) if plain.compiles else (False,)
    # What streams has a stream of its own already.
    stays = plain.policy in {Policy.RESIDENT, Policy.TEXT_ON_HOST}
    for aside in (True, False) if stays else (False,):
        for recorded in compiled:
            for joined in compiled:
                yield replace(plain, aside=aside, recorded=recorded, joined=joined)


def _too_large(sizes: Sizes, memory_mb: int, fp8: bool, name: str) -> str:
    least = _held(sizes, Policy.STREAMED) + max(sizes.row, sizes.decode_tiled) + reserve_mb(memory_mb)
    cures = "a smaller model" if fp8 else "DARKROOM_WEIGHTS=fp8, or a smaller model"
    return f"{name} needs at least {least} MB of the device's memory, and {memory_mb} MB are there: try {cures}."
