"""How a model lies in the device's memory: what stays there, what comes and goes, how many rows a forward may have.

Pure planning, from sizes and from what others have of the memory to a plan that says itself in one line; `placing.py`
does what it says. Knows no torch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

from worker.checkpoint_formats.kinds import CannotLoad

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
#: The process that compiles opens the device too: a CUDA context, and no weights.
COMPILER_MB = 512
#: Less than this in the hands of other programs (a desktop, say) is not worth a word.
NOTICED_MB = 256


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
class Company:
    """What the model cannot have of the device's memory, in MB, and whether a process there compiles for it."""

    programs: int = 0  # of other people
    models: int = 0  # of this worker that stay beside it
    tools: int = 0  # what lies beside the model itself: upscaler, image encoder, …
    compiler: bool = True

    @property
    def mb(self) -> int:
        """All that is spoken for."""
        return self.programs + self.models + self.tools


ALONE = Company()


class NoRoom(CannotLoad):
    """It would lie much better without this worker's other models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The choice. `aside`: a picture may be decoded while others step; the rest is worth memory where there is some."""

    policy: Policy
    tiled: bool
    rows: int
    fp8: bool = False
    compiler: bool = True  # there is room for a process that compiles, and one that does
    aside: bool = False
    recorded: bool = False  # forwards as CUDA graphs
    joined: bool = False  # projections joined in compiled code
    company: Company = ALONE
    peak_mb: int = 0  # company and reserve included
    later_mb: int = 0  # what compiled code will hold on the device, beside the weights
    memory_mb: int = 0

    @property
    def compiles(self) -> bool:
        """Weights that come and go, or change their type on the way, are not for compiled code."""
        return self.compiler and self.policy is not Policy.STREAMED and not self.fp8

    @property
    def compiles_decoder(self) -> bool:
        """Nor are tiles, which are small and many."""
        return self.compiles and not self.tiled and self.policy in {Policy.RESIDENT, Policy.TEXT_ON_HOST}

    @property
    def lies(self) -> tuple[object, ...]:
        """What a model gains much by; all else is a matter of degree."""
        return self.policy, self.tiled, self.rows >= FEW_ROWS

    @property
    def rank(self) -> tuple[int, ...]:
        """Larger is better. Compiled code gains more at each step than text encoders that stay do at each prompt."""
        place = list(Policy).index(self.policy)
        quick = (self.policy is not Policy.STREAMED, self.compiles)
        enough = min(self.rows, ENOUGH_ROWS)
        extras = (self.aside, self.recorded, self.joined)
        return (self.rows >= FEW_ROWS, *quick, -place, not self.tiled, enough, *extras, self.rows)

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
        bounds = f"up to {self.rows} pictures per forward; about {self.peak_mb} of {self.memory_mb} MB at most"
        bounds += self._others()
        return f"{self.policy}: {how}{told}{f'; {bounds}' if self.memory_mb else ''}"

    def _others(self) -> str:
        """Who has a part of that, as far as it is worth a word."""
        company = self.company
        found = {
            "other programs": company.programs if company.programs >= NOTICED_MB else 0,
            "other models": company.models,
            "its companions": company.tools,
            "compiling": COMPILER_MB if self.compiles else 0,
        }
        told = [f"{mb} for {who}" for who, mb in found.items() if mb]
        return f" ({', '.join(told)})" if told else ""


#: All of a model is on the device.
UNPLANNED = Plan(policy=Policy.RESIDENT, tiled=False, rows=ANY_ROWS)


def plan_beside(
    sizes: Sizes, memory_mb: int, company: Company, *, fp8: bool = False, rows: int = 0, name: str = "The model"
) -> Plan:
    """The best plan where this worker's other models stay, if it is about as good as one without them.

    Raises NoRoom where it is not, and CannotLoad where nothing fits even then.
    """
    alone = plan(sizes, memory_mb, replace(company, models=0), fp8=fp8, rows=rows, name=name)
    if not company.models:
        return alone
    try:
        beside = plan(sizes, memory_mb, company, fp8=fp8, rows=rows, name=name)
    except CannotLoad as error:
        raise NoRoom(error.sentence) from error
    if beside.lies != alone.lies:
        raise NoRoom(f"{name} finds no room beside other models: {beside.sentence()}.")
    return beside


def plan(
    sizes: Sizes, memory_mb: int, company: Company = ALONE, *, fp8: bool = False, rows: int = 0,
    name: str = "The model",
) -> Plan:  # fmt: skip
    """The best plan that fits into `memory_mb`; `rows`: no more than these. Raises CannotLoad with the numbers."""
    if fp8:
        sizes = replace(sizes, denoiser=math.ceil(sizes.denoiser / 2), block=math.ceil(sizes.block / 2))
    most = rows or MOST_ROWS
    candidates = [found for found in _candidates(sizes, memory_mb, company, most, fp8) if found.rows]
    if not candidates:
        raise CannotLoad(_too_large(sizes, memory_mb, company, fp8, name))
    return _enriched(max(candidates, key=lambda one: one.rank), sizes)


def reserve_mb(memory_mb: int) -> int:
    """What no plan may touch."""
    return RESERVE_MB + memory_mb // RESERVE_SHARE


def _candidates(sizes: Sizes, memory_mb: int, company: Company, most: int, fp8: bool) -> Iterator[Plan]:
    compilers = (True, False) if company.compiler else (False,)
    for policy, tiled, compiler in product(Policy, (False, True), compilers):
        bare = Plan(
            policy=policy, tiled=tiled, rows=0, fp8=fp8, compiler=compiler, company=company, memory_mb=memory_mb
        )  # fmt: skip
        yield _filled(bare, sizes, most)


def _filled(chosen: Plan, sizes: Sizes, most: int) -> Plan:
    """The plan with as many rows as fit beside all else; with none when it does not fit at all."""
    fitting = (rows for rows in range(most, 0, -1) if _peak(replace(chosen, rows=rows), sizes) <= chosen.memory_mb)
    filled = replace(chosen, rows=next(fitting, 0))
    return replace(filled, peak_mb=_peak(filled, sizes), later_mb=_later(filled, sizes))


def _peak(chosen: Plan, sizes: Sizes) -> int:
    step = chosen.rows * sizes.row
    decode = sizes.decode_tiled if chosen.tiled else sizes.decode
    work = step + decode if chosen.aside else max(step, decode)
    compiler = COMPILER_MB if chosen.compiles else 0
    spoken_for = reserve_mb(chosen.memory_mb) + chosen.company.mb + compiler
    return spoken_for + _held(sizes, chosen.policy) + work + _later(chosen, sizes)


def _later(chosen: Plan, sizes: Sizes) -> int:
    """Graphs keep what a forward works with, the decoder's in a pool of their own; joined projections are a copy."""
    decode = sizes.decode if chosen.compiles_decoder else 0
    graphs = chosen.rows * sizes.row + decode if chosen.recorded else 0
    return graphs + (math.ceil(sizes.denoiser * JOINED_SHARE) if chosen.joined else 0)


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


def _too_large(sizes: Sizes, memory_mb: int, company: Company, fp8: bool, name: str) -> str:
    least = _held(sizes, Policy.STREAMED) + max(sizes.row, sizes.decode_tiled) + reserve_mb(memory_mb) + company.tools
    cures = "a smaller model" if fp8 else "DARKROOM_WEIGHTS=fp8, or a smaller model"
    there = f"{memory_mb} MB are available"
    if company.programs >= NOTICED_MB:
        there = f"{memory_mb - company.programs} MB are available beside the {company.programs} MB of other programs"
        cures = f"closing some of those, {cures}"
    return f"{name} needs at least {least} MB of the device's memory, but only {there}: try {cures}."
