"""What lies beside a model: an image adapter, an upscaler, what describes pictures and what checks them.

Known from headers and configs, which say what it makes possible; its weights are read when a job needs them. Each may
be missing; edits say in a sentence what they lack. Knows no jobs.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from core.catalogue import Capability
from worker.device import is_out_of_memory
from worker.memory.placement import own
from worker.vision import CannotOpen
from worker.vision.check import PictureCheck, check_classifier, open_check
from worker.vision.companion_paths import Places, encoder_of, find
from worker.vision.describe import Describer, LabelDescriber, check_describer, open_describer
from worker.vision.headers import Shapes, megabytes, shapes_of, weights_of
from worker.vision.ip_adapter import ImageAdapter, Spot, check_adapter, open_adapter
from worker.vision.upscale import Upscaler, check_upscaler, open_upscaler

log = logging.getLogger("darkroom.tools")


class Companion(StrEnum):
    """What may lie beside a model, as sentences call it."""

    ADAPTER = "image adapter"
    UPSCALER = "upscaler"
    DESCRIBER = "describer"
    CLASSIFIER = "classifier"


class Opened(Protocol):
    """A companion in memory."""

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that it holds there."""

    def try_out(self) -> None:
        """Computes a little. Raises whatever goes wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A companion whose headers are right: what it makes possible, what it takes in memory, and how it is opened."""

    path: Path
    edits: tuple[Capability, ...]
    memory_mb: int
    open: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The companions that are in memory."""

    adapter: ImageAdapter | None = None
    upscaler: Upscaler | None = None
    describer: Describer | None = None
    check: PictureCheck | None = None


class Companions:
    """A model's. Used by the loop's thread, but for `open`, which is called by one that loads."""

    def __init__(self, known: Mapping[Companion, Known] | None = None) -> None:
        self.known: Mapping[Companion, Known] = dict(known or {})
        self._open: dict[Companion, Any] = {}

    def over(self, other: "Companions") -> "Companions":
        """These, and `other`'s where there are none."""
        return Companions({**other.known, **self.known})

    @property
    def edits(self) -> tuple[Capability, ...]:
        """What they add to what the model can do by itself."""
        found = (edit for one in Companion if one in self.known for edit in self.known[one].edits)
        return tuple(dict.fromkeys(found))

    @property
    def tools(self) -> Tools:
        """Those in memory."""
        check = self._open.get(Companion.CLASSIFIER)
        describer = self._open.get(Companion.DESCRIBER)
        if describer is None and check is not None and LabelDescriber.reads(check.labels):
            describer = LabelDescriber(check)
        return Tools(
            adapter=self._open.get(Companion.ADAPTER), upscaler=self._open.get(Companion.UPSCALER),
            describer=describer, check=check,
        )  # fmt: skip

    @property
    def opened(self) -> tuple[Companion, ...]:
        """Those in memory, by kind."""
        return tuple(self._open)

    @property
    def memory_mb(self) -> int:
        """What those in memory take there."""
        return sum(self.known[one].memory_mb for one in self._open)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Of those in memory."""
        return tuple(network for one in self._open.values() for network in one.networks)

    def of(self, wanted: Collection[Companion]) -> frozenset[Companion]:
        """Which of these there are. A classifier with the right labels takes a describer's place."""
        found = {one for one in wanted if one in self.known}
        labels = self.known.get(Companion.CLASSIFIER)
        if Companion.DESCRIBER in set(wanted) - found and labels is not None and Capability.DESCRIBE in labels.edits:
            found.add(Companion.CLASSIFIER)
        return frozenset(found)

    def missing(self, wanted: Collection[Companion]) -> Companion | None:
        """One of those that there are and that are not in memory."""
        return min(self.of(wanted) - self._open.keys(), default=None)

    def open(self, companion: Companion) -> Opened:
        """Reads its weights and tries it out; changes nothing here. Raises CannotOpen with a sentence."""
        known = self.known[companion]
        try:
            opened: Opened = known.open()
            for network in opened.networks:
                own(network)
            _try_out(opened)
        except CannotOpen:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                cure = "leave it more, or name a smaller one."
                raise CannotOpen(f"The {companion} {known.path} finds no room in memory: {cure}") from error
            # Libraries raise whatever they like on damaged weights; the owner needs one sentence.
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise CannotOpen(f"The {companion} {known.path} cannot be used ({text}). Fetch it again.") from error
        return opened

    def take(self, companion: Companion, opened: Opened, parts: Mapping[str, nn.Module]) -> None:
        """From now on it is in memory. `parts`: the model's networks; an adapter goes into one of them."""
        if isinstance(opened, ImageAdapter):
            opened.install(parts["unet"])
        self._open[companion] = opened

    def drop(self, companion: Companion, parts: Mapping[str, nn.Module]) -> None:
        """The reverse: it is opened again when a job needs it."""
        opened = self._open.pop(companion, None)
        if isinstance(opened, ImageAdapter):
            opened.remove(parts["unet"])

    def withdraw(self, companion: Companion, parts: Mapping[str, nn.Module]) -> None:
        """It is of no use: as if it had never been there."""
        self.drop(companion, parts)
        self.known = {one: known for one, known in self.known.items() if one != companion}


@torch.inference_mode()
def _try_out(opened: Opened) -> None:
    for network in opened.networks:
        for name, weight in network.state_dict().items():
            if weight.is_floating_point() and not bool(weight.isfinite().all()):
                raise ArithmeticError(f"{name} holds what is no number")
    opened.try_out()


def read_companions(
    places: Places, parts: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype
) -> Companions:
    """Reads the headers of what is named. What is not right for the model is logged and left out."""
    readers: dict[Companion, tuple[str, Callable[[Path], Known]]] = {
        Companion.ADAPTER: (places.adapter, partial(_adapter, parts=parts)),
        Companion.UPSCALER: (places.upscaler, partial(_upscaler, device=device)),
        Companion.DESCRIBER: (places.describer, partial(_describer, device=device, dtype=dtype)),
        Companion.CLASSIFIER: (places.classifier, partial(_classifier, device=device)),
    }
    found = {one: _read(one, place, read) for one, (place, read) in readers.items() if place}
    return Companions({one: known for one, known in found.items() if known is not None})


def _read(what: Companion, place: str, read: Callable[[Path], Known]) -> Known | None:
    try:
        return read(find(place))
    except CannotOpen as error:
        log.warning("%s", error)
    except Exception as error:
        # Libraries raise whatever they like on a broken folder; the model works without its companion.
        log.warning("The %s %s cannot be used (%s: %s).", what, place, type(error).__name__, error)
    return None


def _adapter(path: Path, *, parts: Mapping[str, nn.Module]) -> Known:
    unet = parts.get("unet")
    if unet is None:
        raise CannotOpen(f"The image adapter {path} is left out: only models with a UNet take one.")
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file():
        raise CannotOpen(f"{path} is no image adapter: it has to be one .safetensors file, or a folder that holds one.")
    encoder, spot = encoder_of(files[0]), Spot.of(unet)
    own, seeing = shapes_of(files), shapes_of(weights_of(encoder))
    check_adapter(spot, own, seeing)
    edits = (Capability.IMAGE_PROMPT, Capability.STYLE, Capability.CHARACTER)
    return _known(files[0], edits, (own, seeing), spot.dtype, partial(open_adapter, spot, files[0], encoder))


def _upscaler(path: Path, *, device: torch.device) -> Known:
    # Its half precision shows as bands in skies.
    full = torch.float32
    how = partial(open_upscaler, path, device, full)
    return _known(path, (Capability.UPSCALE,), (check_upscaler(path),), full, how)


def _describer(path: Path, *, device: torch.device, dtype: torch.dtype) -> Known:
    shapes, classifies = check_describer(path)
    kept = torch.float32 if classifies else dtype
    return _known(path, (Capability.DESCRIBE,), (shapes,), kept, partial(open_describer, path, device, dtype))


def _classifier(path: Path, *, device: torch.device) -> Known:
    shapes, labels = check_classifier(path)
    edits = (Capability.DESCRIBE,) if LabelDescriber.reads(labels) else ()
    return _known(path, edits, (shapes,), torch.float32, partial(open_check, path, device))


def _known(
    path: Path, edits: tuple[Capability, ...], shapes: tuple[Shapes, ...], dtype: torch.dtype, how: Callable[[], Any]
) -> Known:
    memory_mb = sum(megabytes(one, dtype.itemsize) for one in shapes)
    return Known(path=path, edits=edits, memory_mb=memory_mb, open=how)
