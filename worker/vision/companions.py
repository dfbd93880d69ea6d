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
from worker.errors import CannotOpen
from worker.memory import unmap_weights
from worker.vision.check import PictureCheck, open_check, read_check_headers
from worker.vision.companion_paths import CompanionPaths, encoder_of, locate_companion
from worker.vision.describe import Describer, LabelDescriber, open_describer, read_describer_headers
from worker.vision.headers import Shapes, megabytes, shapes_of, weights_of
from worker.vision.ip_adapter import AdapterTarget, IPAdapter, check_adapter, open_adapter
from worker.vision.upscale import Upscaler, open_upscaler, read_upscaler_headers

log = logging.getLogger("darkroom.companions")


class CompanionKind(StrEnum):
    """What may lie beside a model, as sentences call it."""

    ADAPTER = "image adapter"
    UPSCALER = "upscaler"
    DESCRIBER = "describer"
    CLASSIFIER = "classifier"


class OpenCompanion(Protocol):
    """A companion in memory."""

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that it holds there."""

    def smoke_test(self) -> None:
        """Computes a little. Raises whatever goes wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCompanion:
    """A companion whose headers are right: what it makes possible, what it takes in memory, and how it is opened."""

    path: Path
    edits: tuple[Capability, ...]
    memory_mb: int
    open: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """The companions that are in memory."""

    adapter: IPAdapter | None = None
    upscaler: Upscaler | None = None
    describer: Describer | None = None
    check: PictureCheck | None = None


class LazyCompanions:
    """A model's. Used by the loop's thread, but for `open`, which is called by one that loads."""

    def __init__(self, known: Mapping[CompanionKind, KnownCompanion] | None = None) -> None:
        self.known: Mapping[CompanionKind, KnownCompanion] = dict(known or {})
        self._open: dict[CompanionKind, Any] = {}

    def with_defaults(self, other: "LazyCompanions") -> "LazyCompanions":
        """These, and `other`'s where there are none."""
        return LazyCompanions({**other.known, **self.known})

    @property
    def edits(self) -> tuple[Capability, ...]:
        """What they add to what the model can do by itself."""
        found = (edit for kind in CompanionKind if kind in self.known for edit in self.known[kind].edits)
        return tuple(dict.fromkeys(found))

    @property
    def in_memory(self) -> Companions:
        """Those that are in memory now."""
        check = self._open.get(CompanionKind.CLASSIFIER)
        describer = self._open.get(CompanionKind.DESCRIBER)
        if describer is None and check is not None and LabelDescriber.reads(check.labels):
            describer = LabelDescriber(check)
        return Companions(
            adapter=self._open.get(CompanionKind.ADAPTER), upscaler=self._open.get(CompanionKind.UPSCALER),
            describer=describer, check=check,
        )  # fmt: skip

    @property
    def kinds_in_memory(self) -> tuple[CompanionKind, ...]:
        """The kinds of companions that are in memory."""
        return tuple(self._open)

    @property
    def memory_mb(self) -> int:
        """What they take there."""
        return sum(self.known[kind].memory_mb for kind in self._open)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The networks of all that are in memory."""
        return tuple(network for one in self._open.values() for network in one.networks)

    def available(self, wanted: Collection[CompanionKind]) -> frozenset[CompanionKind]:
        """Which of these there are. A classifier with the right labels takes a describer's place."""
        found = {kind for kind in wanted if kind in self.known}
        classifier = self.known.get(CompanionKind.CLASSIFIER)
        describes = classifier is not None and Capability.DESCRIBE in classifier.edits
        if CompanionKind.DESCRIBER in set(wanted) - found and describes:
            found.add(CompanionKind.CLASSIFIER)
        return frozenset(found)

    def missing(self, wanted: Collection[CompanionKind]) -> CompanionKind | None:
        """One of those that there are and that are not in memory."""
        return min(self.available(wanted) - self._open.keys(), default=None)

    def open(self, kind: CompanionKind) -> OpenCompanion:
        """Reads its weights and tries it out; changes nothing here. Raises CannotOpen with a sentence."""
        known = self.known[kind]
        try:
            opened: OpenCompanion = known.open()
            for network in opened.networks:
                unmap_weights(network)
            _try_out(opened)
        except CannotOpen:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                cure = "free some of it, or use a smaller one."
                raise CannotOpen(f"The {kind} {known.path} does not fit in memory: {cure}") from error
            # Libraries raise whatever they like on damaged weights; the owner needs one sentence.
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise CannotOpen(f"The {kind} {known.path} cannot be used ({text}). Fetch it again.") from error
        return opened

    def add(self, kind: CompanionKind, opened: OpenCompanion, parts: Mapping[str, nn.Module]) -> None:
        """From now on it is in memory. `parts`: the model's networks; an adapter goes into one of them."""
        if isinstance(opened, IPAdapter):
            opened.install(parts["unet"])
        self._open[kind] = opened

    def unload(self, kind: CompanionKind, parts: Mapping[str, nn.Module]) -> None:
        """The reverse: it is opened again when a job needs it."""
        opened = self._open.pop(kind, None)
        if isinstance(opened, IPAdapter):
            opened.uninstall(parts["unet"])

    def withdraw(self, kind: CompanionKind, parts: Mapping[str, nn.Module]) -> None:
        """It is of no use: as if it had never been there."""
        self.unload(kind, parts)
        self.known = {one: known for one, known in self.known.items() if one != kind}


@torch.inference_mode()
def _try_out(opened: OpenCompanion) -> None:
    for network in opened.networks:
        for name, weight in network.state_dict().items():
            if weight.is_floating_point() and not bool(weight.isfinite().all()):
                raise ArithmeticError(f"{name} is not finite")
    opened.smoke_test()


def read_companion_headers(
    paths: CompanionPaths, parts: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype
) -> LazyCompanions:
    """What is named, by its headers. What is not right for the model is logged and left out."""
    readers: dict[CompanionKind, tuple[str, Callable[[Path], KnownCompanion]]] = {
        CompanionKind.ADAPTER: (paths.adapter, partial(_adapter, parts=parts)),
        CompanionKind.UPSCALER: (paths.upscaler, partial(_upscaler, device=device)),
        CompanionKind.DESCRIBER: (paths.describer, partial(_describer, device=device, dtype=dtype)),
        CompanionKind.CLASSIFIER: (paths.classifier, partial(_classifier, device=device)),
    }
    found = {kind: _read(kind, place, read) for kind, (place, read) in readers.items() if place}
    return LazyCompanions({kind: known for kind, known in found.items() if known is not None})


def _read(kind: CompanionKind, place: str, read: Callable[[Path], KnownCompanion]) -> KnownCompanion | None:
    try:
        return read(locate_companion(place))
    except CannotOpen as error:
        log.warning("%s", error)
    except Exception as error:
        # Libraries raise whatever they like on a broken folder; the model works without its companion.
        log.warning("The %s %s cannot be used (%s: %s).", kind, place, type(error).__name__, error)
    return None


def _adapter(path: Path, *, parts: Mapping[str, nn.Module]) -> KnownCompanion:
    unet = parts.get("unet")
    if unet is None:
        raise CannotOpen(f"The image adapter {path} is not used: only models with a UNet take one.")
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file():
        raise CannotOpen(f"{path} is not an image adapter: it has to be one .safetensors file, or a folder with one.")
    encoder, target = encoder_of(files[0]), AdapterTarget.of(unet)
    own, seeing = shapes_of(files), shapes_of(weights_of(encoder))
    check_adapter(target, own, seeing)
    edits = (Capability.IMAGE_PROMPT, Capability.STYLE, Capability.CHARACTER)
    return _known(files[0], edits, (own, seeing), target.dtype, partial(open_adapter, target, files[0], encoder))


def _upscaler(path: Path, *, device: torch.device) -> KnownCompanion:
    # Its half precision shows as bands in skies.
    full = torch.float32
    how = partial(open_upscaler, path, device, full)
    return _known(path, (Capability.UPSCALE,), (read_upscaler_headers(path),), full, how)


def _describer(path: Path, *, device: torch.device, dtype: torch.dtype) -> KnownCompanion:
    shapes, is_classifier = read_describer_headers(path)
    kept = torch.float32 if is_classifier else dtype
    return _known(path, (Capability.DESCRIBE,), (shapes,), kept, partial(open_describer, path, device, dtype))


def _classifier(path: Path, *, device: torch.device) -> KnownCompanion:
    shapes, labels = read_check_headers(path)
    edits = (Capability.DESCRIBE,) if LabelDescriber.reads(labels) else ()
    return _known(path, edits, (shapes,), torch.float32, partial(open_check, path, device))


def _known(
    path: Path, edits: tuple[Capability, ...], shapes: tuple[Shapes, ...], dtype: torch.dtype, how: Callable[[], Any]
) -> KnownCompanion:
    memory_mb = sum(megabytes(one, dtype.itemsize) for one in shapes)
    return KnownCompanion(path=path, edits=edits, memory_mb=memory_mb, open=how)
