"""Companions that cost nothing, beside models that cost nothing: they note when they are opened, wait or fail."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.catalogue import Capability
from core.events import Models
from core.job import Input, Kind, Role, Upscale
from tests.worker.engine_driver import Bed, request
from tests.worker.fake_models import PATIENCE, Loads, Part
from worker.checkpoints.loader import Loaded
from worker.device import choose
from worker.engine.image_encoding import png
from worker.engine.model_cache import Shelf
from worker.vision.companions import Companion, Companions, Known

CPU = choose("cpu", "float32", 0)
SOURCE = png(np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8))
STYLE = {"inputs": (Input(role=Role.STYLE, of="a/0"),), "count": 1}
TWICE = {"upscale": Upscale(factor=2), "width": 128, "height": 128, "count": 1}


class Helper:
    """Stands for any companion. `gate` is waited for while it opens; `errors` are raised there, one at a time."""

    def __init__(self) -> None:
        self.part = Part()
        self.networks = (self.part,)
        self.look = torch.ones(2)
        self.opened: list[str] = []
        self.gate: threading.Event | None = None
        self.errors: list[Exception] = []

    def open(self) -> "Helper":
        self.opened.append(threading.current_thread().name)
        if self.gate is not None:
            assert self.gate.wait(PATIENCE)
        if self.errors:
            raise self.errors.pop(0)
        return self

    def try_out(self) -> None:
        pass

    def describe(self, pixels: Any) -> tuple[str, ...]:
        return ("a boat",)

    def tokens(self, pixels: Any) -> torch.Tensor:
        return torch.ones(3, 8)

    def nothing(self) -> torch.Tensor:
        return torch.zeros(3, 8)

    def enlarge(self, pixels: Any, factor: int) -> Iterator[None]:
        yield
        return pixels.repeat(factor, 0).repeat(factor, 1)


EDITS = {
    Companion.ADAPTER: (Capability.IMAGE_PROMPT, Capability.STYLE, Capability.CHARACTER),
    Companion.UPSCALER: (Capability.UPSCALE,),
    Companion.DESCRIBER: (Capability.DESCRIBE,),
}


def with_helpers(model: Any, memory_mb: int = 10, **helpers: Helper) -> Loaded:
    """The model with these beside it, by the names of their kinds; as `furnish` leaves it."""
    kinds = {Companion[name.upper()]: helper for name, helper in helpers.items()}
    known = {
        one: Known(path=Path(f"/models/{one}.safetensors"), edits=EDITS[one], memory_mb=memory_mb, open=helper.open)
        for one, helper in kinds.items()
    }
    edits = tuple(edit.value for one in kinds for edit in EDITS[one])
    return replace(model, companions=Companions(known), info=replace(model.info, edits=("variation", *edits)))


def bed_of(*there: Any, budget_mb: int = 1000, **loads: Any) -> tuple[Bed, Loads]:
    """A bed on these models, and what loads others."""
    loader = Loads(**loads)
    return Bed(*there, shelf=Shelf(loader, CPU, budget_mb)), loader


def ask(bed: Bed, job: str, kind: Kind = Kind.GRID, model: str = "one", **changes: Any) -> None:
    """Orders a job that brings as many pictures as it names."""
    wish = request(model=model, **changes)
    source = b"" if kind is Kind.GRID else SOURCE
    bed.submit(job, wish, kind=kind, source=source, pictures=(SOURCE,) * len(wish.inputs))


def told(bed: Bed, name: str = "one") -> set[str]:
    """What the bot was told last that this model can do."""
    last = [event for event in bed.events if isinstance(event, Models)][-1]
    return set(next(info.edits for info in last.known if info.name == name))
