"""A loaded model's compiled forwards as the loop uses them: what to follow, when there is time, what was padding.

Knows nothing of how code is made or kept.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from worker import graphs
from worker.compiling import Compiler, Subject
from worker.forward import Forward
from worker.tally import Tally
from worker.tracing import Recipe

#: The network that takes the steps, by diffusers' name for it.
DENOISERS = ("unet", "transformer")
#: The part of an autoencoder that makes pictures.
DECODER = "decoder"


class Boost:
    """Used by the loop's thread. `subjects`: the denoiser's forward is the first one."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._forwards = [subject.forward for subject in compiler.subjects]

    def follow(self, *, plain: bool) -> None:
        """Whether the next forwards are of the model as it was loaded."""
        for forward in self._forwards:
            forward.plain = plain

    def tell(self, *, idle: bool) -> None:
        """Whether there is work: the compiler may stand still meanwhile."""
        self._compiler.quiet.tell(idle=idle)

    def may_adopt(self, *, idle: bool) -> bool:
        """True when compiled code waits to be tried and this is a moment for it."""
        return any(forward.may_adopt(idle=idle) for forward in self._forwards)

    def adopt(self, *, idle: bool) -> None:
        """Tries one."""
        next(forward for forward in self._forwards if forward.may_adopt(idle=idle)).adopt()

    @property
    def padding(self) -> int:
        """Rows of the last step that nobody ordered."""
        return self._forwards[0].padding

    def close(self) -> None:
        """Ends compiling; the forwards serve on."""
        self._compiler.stop()


def boost(
    parts: Mapping[str, nn.Module], root: Path, nudge: Callable[[], None], *, joined: bool, recorded: bool
) -> Boost | None:
    """For a model's networks; None where there is nothing to compile. `recorded`: as CUDA graphs, where there are."""
    subjects = [_subject(root, parts[name], joined=joined, recorded=recorded) for name in DENOISERS if name in parts]
    if not subjects:
        return None
    if isinstance(getattr(parts.get("vae"), DECODER, None), nn.Module):
        subjects.append(_subject(root, parts["vae"], DECODER, joined=False, recorded=recorded))
    compiler = Compiler(subjects=subjects, root=root, nudge=nudge)
    compiler.start()
    return Boost(compiler)


def _subject(root: Path, module: nn.Module, part: str = "", *, joined: bool, recorded: bool) -> Subject:
    # A transformer's products are so large that joining them gains less than the second copy of its weights costs.
    recipe = Recipe.of(module, part, joined=joined and "UNet" in type(module).__name__)
    tally = Tally(root / recipe.build() / "tally.json")
    record = graphs.recorder(torch.device(recipe.device)) if recorded else graphs.plain
    return Subject(Forward(module.get_submodule(part), tally, record=record), recipe)
