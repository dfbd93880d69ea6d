"""What lies beside a model: an image adapter, an upscaler, what describes pictures and what checks them.

Each may be missing; edits say in a sentence what they lack. Knows no jobs.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from core.catalogue import Capability
from worker.errors import CannotOpen
from worker.vision.check import PictureCheck, open_check
from worker.vision.companion_paths import CompanionPaths, encoder_of, locate_companion
from worker.vision.describe import Describer, LabelDescriber, open_describer
from worker.vision.ip_adapter import IPAdapter, install
from worker.vision.upscale import Upscaler, open_upscaler

log = logging.getLogger("darkroom.companions")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """A model's companions, loaded."""

    adapter: IPAdapter | None = None
    upscaler: Upscaler | None = None
    describer: Describer | None = None
    check: PictureCheck | None = None

    def with_defaults(self, other: "Companions") -> "Companions":
        """These, and `other`'s where there are none."""
        return Companions(**{one.name: getattr(self, one.name) or getattr(other, one.name) for one in fields(self)})

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """What they hold in memory, but for the adapter's part of the UNet."""
        companions = (self.adapter, self.upscaler, self.describer, self.check)
        found = [network for tool in companions if tool is not None for network in tool.networks]
        return tuple(dict.fromkeys(found))

    @property
    def edits(self) -> tuple[Capability, ...]:
        """What they add to what the model can do by itself."""
        found: list[Capability] = []
        if self.adapter is not None:
            found += [Capability.IMAGE_PROMPT, Capability.STYLE, Capability.CHARACTER]
        if self.upscaler is not None:
            found.append(Capability.UPSCALE)
        if self.describer is not None:
            found.append(Capability.DESCRIBE)
        return tuple(found)


def open_companions(
    paths: CompanionPaths, parts: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype
) -> Companions:
    """Opens what is named; the adapter goes into the model's UNet. What cannot be opened is logged and left out."""
    # An upscaler's half precision shows as bands in skies.
    upscaler = _tried("upscaler", paths.upscaler, lambda path: open_upscaler(path, device, torch.float32))
    check = _tried("classifier", paths.classifier, lambda path: open_check(path, device))
    describer = _tried("describer", paths.describer, lambda path: open_describer(path, device, dtype))
    if describer is None and check is not None and LabelDescriber.reads(check):
        describer = LabelDescriber(check)
    adapter = _tried("image adapter", paths.adapter, lambda path: _install(path, parts))
    return Companions(adapter=adapter, upscaler=upscaler, describer=describer, check=check)


def _tried(what: str, place: str, load: Callable[[Path], T]) -> T | None:
    if not place:
        return None
    try:
        return load(locate_companion(place))
    except CannotOpen as error:
        log.warning("%s", error)
    except Exception as error:
        # Libraries raise whatever they like on a broken folder; the model works without its companion.
        log.warning("The %s %s cannot be used (%s: %s).", what, place, type(error).__name__, error)
    return None


def _install(path: Path, parts: Mapping[str, nn.Module]) -> IPAdapter:
    unet = parts.get("unet")
    if unet is None:
        raise CannotOpen(f"The image adapter {path} is left out: only models with a UNet take one.")
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file():
        raise CannotOpen(f"{path} is no image adapter: it has to be one .safetensors file, or a folder that holds one.")
    return install(unet, files[0], encoder_of(files[0]))
