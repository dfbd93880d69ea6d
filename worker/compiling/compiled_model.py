"""A loaded model's compiled forwards as the loop uses them: what to follow, when there is time, what was padding.

Knows nothing of how code is made or kept.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from worker.compiling import cuda_graphs
from worker.compiling.artifact_store import read_compiled
from worker.compiling.background_compiler import BackgroundCompiler, CompileTarget, IdleSignal, MakeArtifact
from worker.compiling.compiled_forward import CompiledForward
from worker.compiling.regions import Code
from worker.compiling.shape_counts import ShapeCounts
from worker.compiling.tracing import NetworkSpec
from worker.memory import DENOISERS, OffloadPlan

#: The part of an autoencoder that makes pictures.
DECODER = "decoder"


class CompiledModel:
    """Used by the loop's thread. `targets`: the denoiser's forward is the first one."""

    def __init__(self, compiler: BackgroundCompiler) -> None:
        self._compiler = compiler
        self._forwards = [target.forward for target in compiler.targets]

    def set_plain(self, *, plain: bool) -> None:
        """Whether the next forwards are of the model as it was loaded."""
        for forward in self._forwards:
            forward.plain = plain

    def may_adopt(self, *, idle: bool) -> bool:
        """True when compiled code waits to be tried and this is a moment for it."""
        return any(forward.may_adopt(idle=idle) for forward in self._forwards)

    def adopt(self, *, idle: bool) -> None:
        """Tries one piece of code that waits; there must be one."""
        next(forward for forward in self._forwards if forward.may_adopt(idle=idle)).adopt()

    @property
    def padding(self) -> int:
        """Rows of the last step that nobody ordered, of the denoiser."""
        return self._forwards[0].padding

    def is_settled(self) -> bool:
        """True when all that was asked for is served by compiled code, or never will be."""
        return self._compiler.next_request() is None and not any(
            forward.may_adopt(idle=True) for forward in self._forwards
        )

    def release(self) -> None:
        """Before the model goes elsewhere: nothing of it stays on the device."""
        for forward in self._forwards:
            forward.release()

    def restore(self) -> None:
        """Once it is there again. Compiled code serves anew after moments that nobody needs, eager until then."""
        for forward in self._forwards:
            forward.restore()

    def suspend(self, seconds: float) -> bool:
        """Gives back what is not needed, and takes no code for so long; False when there was nothing.

        Called while the device is still: a recording at work may not go.
        """
        given = [forward.suspend(seconds) for forward in self._forwards]
        return any(given)

    def close(self) -> None:
        """Ends compiling; the forwards serve on."""
        self._compiler.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCompiler:
    """How this worker compiles. `idle` is set while the device has no work; `wake_loop` wakes the loop."""

    root: Path
    idle: threading.Event
    wake_loop: Callable[[], None]
    make: MakeArtifact | None = None
    read: Callable[[Path], Code] = read_compiled

    def __call__(self, parts: Mapping[str, nn.Module], plan: OffloadPlan) -> CompiledModel | None:
        """For a model's networks, as they lie in memory; None where there is nothing to compile."""
        denoisers = [name for name in DENOISERS if name in parts]
        if not denoisers or not plan.compiles:
            return None
        targets = [self._target(parts[denoisers[0]], "", plan)]
        vae = parts.get("vae")
        if isinstance(getattr(vae, DECODER, None), nn.Module) and plan.compiles_decoder:
            assert vae is not None
            targets.append(self._target(vae, DECODER, plan))
        compiler = BackgroundCompiler(
            targets=targets,
            root=self.root,
            wake_loop=self.wake_loop,
            idle_signal=IdleSignal(self.idle),
            make=self.make,
            read=self.read,
        )
        compiler.start()
        return CompiledModel(compiler)

    def _target(self, module: nn.Module, part: str, plan: OffloadPlan) -> CompileTarget:
        # A transformer's products are so large that joining them gains less than a second copy of its weights costs.
        spec = NetworkSpec.of(module, part, joined=plan.joined and "UNet" in type(module).__name__)
        counts = ShapeCounts(self.root / spec.fingerprint() / "tally.json")
        record = cuda_graphs.graph_recorder(torch.device(spec.device)) if plan.cuda_graphs else cuda_graphs.no_recording
        return CompileTarget(CompiledForward(module.get_submodule(part), counts, record=record), spec)
