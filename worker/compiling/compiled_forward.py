"""A denoiser's forward as the families call it: eager, until the very shape that is asked for has compiled code.

It stands in the model's own `forward`, so that no family knows of it. Compiled code serves only after it has given what
the eager forward gives. Knows nothing of how code is made, of jobs, or of when there is time.
"""

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from worker.compiling import batch_buckets, call_signature
from worker.compiling.cuda_graphs import GraphRecorder, RunForward, no_recording
from worker.compiling.regions import ActiveCode, BoundCode, CompiledArtifact, Region, WeightLookup, bind, regions_of
from worker.compiling.shape_counts import ShapeCounts, ShapeRequest
from worker.device import is_out_of_memory

log = logging.getLogger("darkroom.compiling")

#: Under steady load an artifact that is ready waits so long for an idle moment, then takes a busy one: about a second,
#: which the next grids give back.
OVERDUE_SECONDS = 60.0
#: Compiled code may round differently, by so much of the output's own size.
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 6e-2, torch.float16: 2e-2}
_A_TIME = 500.0  # some timestep


class CompiledForward:
    """`plain` is False while the model is not as it was loaded (LoRAs, tiling): then all is eager.

    Where the model leaves the device, `release` comes before and `restore` after; both from the thread that moves it,
    while nothing else uses the model.
    """

    def __init__(
        self,
        module: nn.Module,
        counts: ShapeCounts,
        *,
        record: GraphRecorder = no_recording,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.counts = counts
        self.plain = True
        self.padding = 0  # rows that nobody ordered, of the last call
        self._module, self._record, self._clock = module, record, clock
        self._weights = WeightLookup(module)
        self._active = ActiveCode()
        self._ready: dict[str, dict[int, RunForward]] = {}
        self._proven: dict[ShapeRequest, CompiledArtifact] = {}  # what is ready is made from
        self._released = False
        self._suspended_until = -math.inf
        self._single = False  # it answers with one tensor, not a tuple
        self._addresses = self._weights.addresses()  # where the weights were when code was adopted
        self._refused: set[ShapeRequest] = set()
        self._discards: dict[ShapeRequest, Callable[[], None]] = {}
        self._offers: list[tuple[ShapeRequest, CompiledArtifact, float]] = []
        self._lock = threading.Lock()
        self._whole = "" in regions_of(module)
        if not self._whole:
            for parts in regions_of(module).values():
                for part in parts:
                    Region(part, self._active)
        self._eager = module.forward
        module.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the model itself would answer, for the shape's rows in as many forwards as they are served best by."""
        self.padding = 0
        call = self._read(args, kwargs) if self.plain else None
        self._follow_weights()
        ready = self._ready.get(call.shape) if call is not None else None
        parts = batch_buckets.pieces(call.rows, ready) if call is not None and ready else ()
        if call is None or not ready or not parts:
            return self._eager(*args, **kwargs)
        try:
            answer = self._compiled(call, parts, ready)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            log.warning("Compiled code failed and is dropped: %s", _first_line(error))
            self._refuse(*(ShapeRequest(bucket, call.shape) for bucket in self._ready.pop(call.shape)), bad=True)
            return self._eager(*args, **kwargs)
        self.padding = sum(piece.padding for piece in parts)
        return answer

    def _compiled(
        self, call: call_signature.Call, parts: Sequence[batch_buckets.Piece], ready: Mapping[int, RunForward]
    ) -> Any:
        outs, start = [], 0
        for piece in parts:
            given = ready[piece.bucket](call.part(start, piece.rows, piece.bucket))
            outs.append([out[: piece.rows] for out in given])
            start += piece.rows
        whole = [column[0] if len(column) == 1 else torch.cat(column) for column in zip(*outs, strict=True)]
        return whole[0] if self._single else tuple(whole)

    def _read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> call_signature.Call | None:
        """None for what is not compiled: arguments without a text, and what only attention of our own understands."""
        if kwargs.get("cross_attention_kwargs"):
            return None
        try:
            call = call_signature.signature_of(args, kwargs)
        except TypeError:
            return None
        self.counts.count(call.rows, call.shape)
        return call

    def _follow_weights(self) -> None:
        """After weights have moved: recorded forwards and joined weights are of where they lay before."""
        if self._ready and self._weights.addresses() != self._addresses:
            self._release_memory()

    def _release_memory(self) -> None:
        """Frees all that holds the device's memory; the code itself is offered anew."""
        self._ready.clear()
        self._weights.drop_joined()
        with self._lock:
            self._offers += [(request, artifact, self._clock()) for request, artifact in self._proven.items()]
            self._proven.clear()

    def _refuse(self, *requests: ShapeRequest, bad: bool) -> None:
        """Not to be tried again in this start. `bad`: nor in the next one, as it is."""
        with self._lock:
            self._refused.update(requests)
            for request in requests:
                self._proven.pop(request, None)
            discards = [self._discards.pop(request, _nothing) for request in requests]
        for discard in discards if bad else ():
            discard()

    # --- from the thread that compiles -----------------------------------------------------------------------------

    def offer(
        self, request: ShapeRequest, artifact: CompiledArtifact, discard: Callable[[], None] | None = None
    ) -> None:
        """Compiled code that may serve once the loop has found a moment to try it; `discard`, if it is of no use."""
        with self._lock:
            self._offers.append((request, artifact, self._clock()))
            self._discards[request] = discard or _nothing

    def has(self, request: ShapeRequest) -> bool:
        """True when that shape is served by compiled code, or is about to be, or never will be."""
        with self._lock:
            known = self._refused | self._proven.keys()
            return request in known or any(request == mine for mine, *_ in self._offers)

    # --- from the loop ---------------------------------------------------------------------------------------------

    def may_adopt(self, *, idle: bool) -> bool:
        """True when `adopt` has something to try now."""
        now = self._clock()
        if not self._offers or not self.plain or self._released or now < self._suspended_until:
            return False
        return idle or now - max(self._offers[0][2], self._suspended_until) >= OVERDUE_SECONDS

    def adopt(self) -> bool:
        """Tries the oldest offer on numbers of its shape; False when it did not pass, and eager stays."""
        self._follow_weights()
        self._addresses = self._weights.addresses()
        with self._lock:
            request, artifact, _ = self._offers.pop(0)
            self._proven[request] = artifact
        try:
            run = self._verified(request, artifact)
            self._ready.setdefault(request.shape, {})[request.bucket] = run
        except Exception as error:
            # Whatever a compiler, a driver or a full memory may raise: the eager forward works.
            log.warning("Compiled code for %d rows is not used: %s", request.bucket, _first_line(error))
            self._refuse(request, bad=not is_out_of_memory(error))
            return False
        log.info("From now on %d rows of this size take compiled code.", request.bucket)
        return True

    def release(self) -> None:
        """The model goes elsewhere: its recordings and second copies of weights free the device's memory."""
        self._released = True
        self._release_memory()

    def restore(self) -> None:
        """The model lies where it lay: what served before is tried again, as any offer is, when there is time."""
        with self._lock:
            self._offers = [(request, artifact, self._clock()) for request, artifact, _ in self._offers]
        self._released = False

    def suspend(self, seconds: float) -> bool:
        """The same while the model stays: eager for so long, and then tried again. False when it frees no memory."""
        had_code = bool(self._ready)
        self._release_memory()
        self._suspended_until = max(self._suspended_until, self._clock() + seconds)
        return had_code

    def _verified(self, request: ShapeRequest, artifact: CompiledArtifact) -> RunForward:
        table = bind(artifact, self._module, self._weights)
        examples = self._examples(request)
        args, kwargs = call_signature.with_tensors(request.shape, examples)
        answer = self._eager(*args, **kwargs)
        self._single = isinstance(answer, Tensor)
        expected = _listed(answer)
        run = self._record(self._runner(request.shape, table), examples)
        for mine, theirs in zip(run(examples), expected, strict=True):
            difference = (mine.float() - theirs.float()).norm() / theirs.float().norm().clamp_min(1e-6)
            if not float(difference) <= TOLERANCE.get(theirs.dtype, TOLERANCE[torch.float32]):
                raise ArithmeticError(f"it differs by {float(difference):.2g} of the output's size")
        return run

    def _runner(self, shape: str, table: dict[tuple[int, str], BoundCode]) -> RunForward:
        if self._whole:
            (bound,) = table.values()
            return lambda tensors: _listed(bound(tensors))

        def run(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            args, kwargs = call_signature.with_tensors(shape, tensors)
            self._active.table = table
            try:
                return _listed(self._eager(*args, **kwargs))
            finally:
                self._active.table = None

        return run

    def _examples(self, request: ShapeRequest) -> list[Tensor]:
        device = next(self._module.parameters()).device

        def make(dims: tuple[int, ...], dtype: torch.dtype, batched: bool) -> Tensor:
            size = (request.bucket, *dims) if batched else dims
            if len(size) <= 1 or not dtype.is_floating_point:
                return torch.full(size, _A_TIME if dtype.is_floating_point else 1, dtype=dtype, device=device)
            return torch.randn(size, dtype=dtype, device=device)

        return call_signature.tensors(request.shape, make)


def _nothing() -> None:
    """Where there is nothing to discard."""


def _listed(answer: Any) -> tuple[Tensor, ...]:
    return (answer,) if isinstance(answer, Tensor) else tuple(answer)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no word'}"[:300]
