"""How a model lies in the device's memory: what stays there, what comes and goes, how many rows a forward may have.

Pure planning, from sizes and from what others have of the memory to a plan that says itself in one line; `placement.py`
does what it says. Knows no torch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

from worker.errors import CannotLoad, NoRoom

#: The CUDA context, the libraries' workspaces, and what the allocator cannot hand out, beside a share of the memory.
RESERVE_MB, RESERVE_SHARE = 600, 32
#: A plan that gives fewer rows than this to a forward is only taken when none gives more.
FEW_ROWS = 2
#: Two grids of four; beyond that a forward is hardly quicker for each row, and memory is better spent otherwise.
ENOUGH_ROWS = 8
#: More rows than this bring nothing on any GPU known; who wants them all the same says so.
MAX_ROWS = 16
#: As many as the device is said to take.
ANY_ROWS = 1 << 16
#: Joined projections are a second copy of so much of a UNet's weights.
JOINED_SHARE = 0.25
#: The process that compiles opens the device too: a CUDA context, and no weights.
COMPILER_MB = 512
#: Less than this in the hands of other programs (a desktop, say) is not worth a word.
MIN_REPORTED_MB = 256


class OffloadPolicy(StrEnum):
    """What lies where, from quick to slow."""

    RESIDENT = "resident"  # everything on the device
    TEXT_ON_HOST = "text on host"  # text encoders come a layer at a time, once a prompt
    DENOISER_ONLY = "denoiser only"  # the autoencoder does too, once a picture
    STREAMED = "streamed"  # the denoiser too, block by block, at each step


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizes:
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
class ReservedMemory:
    """What the model cannot have of the device's memory, in MB, and whether a process there compiles for it."""

    programs: int = 0  # of other people
    models: int = 0  # of this worker that stay beside it
    companions: int = 0  # of what lies beside the model, as far as it is in memory: upscaler, image encoder, …
    compiler: bool = True

    @property
    def mb(self) -> int:
        """All of it together."""
        return self.programs + self.models + self.companions


NOTHING_RESERVED = ReservedMemory()


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadPlan:
    """The choice. What speeds work up, from `overlaps_decode` on, is worth memory where there is some."""

    policy: OffloadPolicy
    tiled: bool
    rows: int
    fp8: bool = False
    compiler: bool = True  # there is memory for a process that compiles, and one that does
    overlaps_decode: bool = False  # a picture may be decoded while others step
    cuda_graphs: bool = False  # forwards as CUDA graphs
    joined: bool = False  # projections joined in compiled code
    reserved: ReservedMemory = NOTHING_RESERVED
    peak_mb: int = 0  # what others have and the reserve included
    compiled_mb: int = 0  # what compiled code will hold on the device, beside the weights
    memory_mb: int = 0
    sizes: ModelSizes | None = None  # that it was made from

    @property
    def compiles(self) -> bool:
        """Weights that come and go, or change their type on the way, are not for compiled code."""
        return self.compiler and self.policy is not OffloadPolicy.STREAMED and not self.fp8

    @property
    def compiles_decoder(self) -> bool:
        """Nor are tiles, which are small and many."""
        return self.compiles and not self.tiled and self.policy in {OffloadPolicy.RESIDENT, OffloadPolicy.TEXT_ON_HOST}

    @property
    def layout(self) -> tuple[object, ...]:
        """What a model gains much by; all else is a matter of degree."""
        return self.policy, self.tiled, self.rows >= FEW_ROWS

    @property
    def rank(self) -> tuple[int, ...]:
        """Larger is better. Compiled code gains more at each step than text encoders that stay do at each prompt."""
        place = list(OffloadPolicy).index(self.policy)
        quick = (self.policy is not OffloadPolicy.STREAMED, self.compiles)
        enough = min(self.rows, ENOUGH_ROWS)
        extras = (self.overlaps_decode, self.cuda_graphs, self.joined)
        return (self.rows >= FEW_ROWS, *quick, -place, not self.tiled, enough, *extras, self.rows)

    def sentence(self) -> str:
        """The plan in words, for the log and the doctor."""
        how = {
            OffloadPolicy.RESIDENT: "everything stays on the device",
            OffloadPolicy.TEXT_ON_HOST: "text encoders wait in the host's memory",
            OffloadPolicy.DENOISER_ONLY: "text encoders and autoencoder wait in the host's memory",
            OffloadPolicy.STREAMED: "all of it comes from the host's memory block by block",
        }[self.policy]
        more = [
            "fp8 weights" if self.fp8 else "",
            "pictures decoded in tiles" if self.tiled else "",
            "pictures decoded beside the steps" if self.overlaps_decode else "",
            "CUDA graphs" if self.cuda_graphs else "",
        ]
        told = "".join(f", {one}" for one in more if one)
        bounds = f"up to {self.rows} pictures per forward; about {self.peak_mb} of {self.memory_mb} MB at most"
        bounds += self._others()
        return f"{self.policy}: {how}{told}{f'; {bounds}' if self.memory_mb else ''}"

    def _others(self) -> str:
        """Who has a part of that, as far as it is worth a word."""
        reserved = self.reserved
        found = {
            "other programs": reserved.programs if reserved.programs >= MIN_REPORTED_MB else 0,
            "other models": reserved.models,
            "its companions": reserved.companions,
            "compiling": COMPILER_MB if self.compiles else 0,
        }
        told = [f"{mb} for {who}" for who, mb in found.items() if mb]
        return f" ({', '.join(told)})" if told else ""


#: All of a model is on the device.
FULLY_RESIDENT = OffloadPlan(policy=OffloadPolicy.RESIDENT, tiled=False, rows=ANY_ROWS)


def plan_beside_models(
    sizes: ModelSizes,
    memory_mb: int,
    reserved: ReservedMemory,
    *,
    fp8: bool = False,
    rows: int = 0,
    name: str = "The model",
) -> OffloadPlan:
    """The best plan where this worker's other models stay, if it is about as good as one without them.

    Raises NoRoom where it is not, and CannotLoad where nothing fits even then.
    """
    alone = plan_offload(sizes, memory_mb, replace(reserved, models=0), fp8=fp8, rows=rows, name=name)
    if not reserved.models:
        return alone
    try:
        beside = plan_offload(sizes, memory_mb, reserved, fp8=fp8, rows=rows, name=name)
    except CannotLoad as error:
        raise NoRoom(error.sentence) from error
    if beside.layout != alone.layout:
        raise NoRoom(f"{name} does not fit beside other models: {beside.sentence()}.")
    return beside


def plan_offload(
    sizes: ModelSizes, memory_mb: int, reserved: ReservedMemory = NOTHING_RESERVED, *, fp8: bool = False, rows: int = 0,
    name: str = "The model",
) -> OffloadPlan:  # fmt: skip
    """The best plan that fits into `memory_mb`; `rows`: no more than these. Raises CannotLoad with the numbers."""
    stored, most = _stored(sizes, fp8), rows or MAX_ROWS
    candidates = [found for found in _candidates(stored, memory_mb, reserved, most, fp8) if found.rows]
    if not candidates:
        raise CannotLoad(_too_large(stored, memory_mb, reserved, fp8, name))
    return replace(_with_best_extras(max(candidates, key=lambda one: one.rank), stored), sizes=sizes)


def plan_with_companions(placed: OffloadPlan, companions_mb: int, name: str = "The model") -> OffloadPlan:
    """A model's plan once so much lies beside it: fewer rows, and pictures decoded in turn, where need be.

    What lies where stays. Raises NoRoom where the model had better be placed anew, and CannotLoad where nothing fits.
    """
    reserved, sizes = replace(placed.reserved, companions=companions_mb), placed.sizes
    if sizes is None:
        return replace(placed, reserved=reserved)
    anew = plan_offload(sizes, placed.memory_mb, reserved, fp8=placed.fp8, rows=placed.rows, name=name)
    overlaps = (True, False) if placed.overlaps_decode else (False,)
    bare = [replace(placed, reserved=reserved, overlaps_decode=one) for one in overlaps]
    kept = max((_filled(one, _stored(sizes, placed.fp8), placed.rows) for one in bare), key=lambda one: one.rank)
    if kept.rows < min(FEW_ROWS, anew.rows):
        raise NoRoom(f"Where {name} lies now, memory has no room for more. Loaded anew, {anew.sentence()}.")
    return kept


def _stored(sizes: ModelSizes, fp8: bool) -> ModelSizes:
    """As the weights are kept."""
    if not fp8:
        return sizes
    return replace(sizes, denoiser=math.ceil(sizes.denoiser / 2), block=math.ceil(sizes.block / 2))


def reserve_mb(memory_mb: int) -> int:
    """What no plan may touch."""
    return RESERVE_MB + memory_mb // RESERVE_SHARE


def _candidates(
    sizes: ModelSizes, memory_mb: int, reserved: ReservedMemory, most: int, fp8: bool
) -> Iterator[OffloadPlan]:
    compilers = (True, False) if reserved.compiler else (False,)
    for policy, tiled, compiler in product(OffloadPolicy, (False, True), compilers):
        bare = OffloadPlan(
            policy=policy, tiled=tiled, rows=0, fp8=fp8, compiler=compiler, reserved=reserved, memory_mb=memory_mb
        )  # fmt: skip
        yield _filled(bare, sizes, most)


def _filled(chosen: OffloadPlan, sizes: ModelSizes, most: int) -> OffloadPlan:
    """The plan with as many rows as fit beside all else; with none when it does not fit at all."""
    fitting = (rows for rows in range(most, 0, -1) if _peak(replace(chosen, rows=rows), sizes) <= chosen.memory_mb)
    filled = replace(chosen, rows=next(fitting, 0))
    return replace(filled, peak_mb=_peak(filled, sizes), compiled_mb=_compiled_mb_of(filled, sizes))


def _peak(chosen: OffloadPlan, sizes: ModelSizes) -> int:
    step = chosen.rows * sizes.row
    decode = sizes.decode_tiled if chosen.tiled else sizes.decode
    work = step + decode if chosen.overlaps_decode else max(step, decode)
    compiler = COMPILER_MB if chosen.compiles else 0
    spoken_for = reserve_mb(chosen.memory_mb) + chosen.reserved.mb + compiler
    return spoken_for + _resident_mb(sizes, chosen.policy) + work + _compiled_mb_of(chosen, sizes)


def _compiled_mb_of(chosen: OffloadPlan, sizes: ModelSizes) -> int:
    """Graphs keep what a forward works with, the decoder's in a pool of their own; joined projections are a copy."""
    decode = sizes.decode if chosen.compiles_decoder else 0
    graphs = chosen.rows * sizes.row + decode if chosen.cuda_graphs else 0
    return graphs + (math.ceil(sizes.denoiser * JOINED_SHARE) if chosen.joined else 0)


def _resident_mb(sizes: ModelSizes, policy: OffloadPolicy) -> int:
    """What lies on the device at all times, with what is on its way."""
    passing = 2 * sizes.layer
    return {
        OffloadPolicy.RESIDENT: sizes.text + sizes.denoiser + sizes.autoencoder,
        OffloadPolicy.TEXT_ON_HOST: sizes.denoiser + sizes.autoencoder + passing,
        OffloadPolicy.DENOISER_ONLY: sizes.denoiser + passing,
        # One block computes, the next one arrives, the one before is on its way out.
        OffloadPolicy.STREAMED: max(3 * sizes.block, passing),
    }[policy]


def _with_best_extras(chosen: OffloadPlan, sizes: ModelSizes) -> OffloadPlan:
    """What memory is left buys, best first, and then more rows; a plan that has to tile has none left."""
    if chosen.tiled:
        return chosen
    best = replace(chosen, rows=min(chosen.rows, ENOUGH_ROWS))
    for richer in _with_extras(best):
        if _peak(richer, sizes) <= chosen.memory_mb:
            best = richer
            break
    return _filled(best, sizes, chosen.rows)


def _with_extras(plain: OffloadPlan) -> Iterator[OffloadPlan]:
    """With all combinations of what memory buys, the most welcome first."""
    compiled = (True, False) if plain.compiles else (False,)
    # What streams has a stream of its own already.
    stays = plain.policy in {OffloadPolicy.RESIDENT, OffloadPolicy.TEXT_ON_HOST}
    for overlaps_decode in (True, False) if stays else (False,):
        for cuda_graphs in compiled:
            for joined in compiled:
                yield replace(plain, overlaps_decode=overlaps_decode, cuda_graphs=cuda_graphs, joined=joined)


def _too_large(sizes: ModelSizes, memory_mb: int, reserved: ReservedMemory, fp8: bool, name: str) -> str:
    work = max(sizes.row, sizes.decode_tiled)
    least = _resident_mb(sizes, OffloadPolicy.STREAMED) + work + reserve_mb(memory_mb) + reserved.companions
    cures = "a smaller model" if fp8 else "DARKROOM_WEIGHTS=fp8, or a smaller model"
    there = f"{memory_mb} MB are available"
    if reserved.programs >= MIN_REPORTED_MB:
        there = f"{memory_mb - reserved.programs} MB are available beside the {reserved.programs} MB of other programs"
        cures = f"closing some of those, {cures}"
    return f"{name} needs at least {least} MB of the device's memory, but only {there}: try {cures}."
