"""Makes a model follow an `Adaptation`: LoRAs on its networks, and convolutions that go round the picture's edges.

Knows nothing of how the model denoises.
"""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from worker.families.lora_switcher import LoraSwitcher
from worker.interfaces import Adaptation


class ModelAdapter:
    """What `Family.adapt` does. `round_edges`: networks whose convolutions go round the edges when a picture tiles."""

    def __init__(self, loras: LoraSwitcher | None, round_edges: Sequence[nn.Module]) -> None:
        self._loras, self._round_edges = loras, tuple(round_edges)
        self._now: Adaptation | None = Adaptation()  # None: nobody knows, for a switch broke off

    def adapt(self, wanted: Adaptation) -> None:
        """Cheap when nothing changes. Raises LookupError with a sentence, and then changes nothing."""
        if wanted == self._now:
            return
        if wanted.tile and not self._round_edges:
            raise LookupError("This model cannot make pictures whose edges meet; leave out `--tile`.")
        before, self._now = self._now, None
        try:
            if self._loras is not None and (before is None or _loras_of(wanted) != _loras_of(before)):
                self._loras.switch_to(wanted.loras, wanted.files)
            elif self._loras is None and wanted.loras:
                raise LookupError("This worker knows no LoRAs: its owner puts them into `loras` in the data folder.")
        except LookupError:
            self._now = before
            raise
        # Also when only the LoRAs changed: new ones bring convolutions of their own.
        set_circular_padding(self._round_edges, wanted.tile)
        self._now = wanted


def _loras_of(adaptation: Adaptation) -> tuple[object, object]:
    return adaptation.loras, adaptation.files


def set_circular_padding(networks: Sequence[nn.Module], whether: bool) -> None:
    """Lets every convolution that pads do it with zeros, or with what lies at the opposite edge."""
    mode: Literal["circular", "zeros"] = "circular" if whether else "zeros"
    for network in networks:
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.padding_mode != mode and any(layer.padding):
                layer.padding_mode = mode
