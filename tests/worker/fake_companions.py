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
from tests.worker.engine_driver import EngineDriver, request
from tests.worker.fake_models import PATIENCE, FakeNetwork, FakeSource
from worker.checkpoints import LoadedCheckpoint
from worker.device import choose_device
from worker.engine import ModelCache
from worker.engine.image_encoding import png
from worker.vision import CompanionKind, LazyCompanions
from worker.vision.companions import KnownCompanion

CPU = choose_device("cpu", "float32", 0)
SOURCE = png(np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8))
STYLE = {"inputs": (Input(role=Role.STYLE, of="a/0"),), "count": 1}
TWICE = {"upscale": Upscale(factor=2), "width": 128, "height": 128, "count": 1}


class FakeCompanion:
    """Stands for any companion. `gate` is waited for while it opens; `errors` are raised there, one at a time."""

    def __init__(self) -> None:
        self.part = FakeNetwork()
        self.networks = (self.part,)
        self.style_layers = torch.ones(2)
        self.opened: list[str] = []
        self.gate: threading.Event | None = None
        self.errors: list[Exception] = []

    def open(self) -> "FakeCompanion":
        self.opened.append(threading.current_thread().name)
        if self.gate is not None:
            assert self.gate.wait(PATIENCE)
        if self.errors:
            raise self.errors.pop(0)
        return self

    def smoke_test(self) -> None:
        pass

    def describe(self, pixels: Any) -> tuple[str, ...]:
        return ("a boat",)

    def tokens(self, pixels: Any) -> torch.Tensor:
        return torch.ones(3, 8)

    def empty_tokens(self) -> torch.Tensor:
        return torch.zeros(3, 8)

    def enlarge(self, pixels: Any, factor: int) -> Iterator[None]:
        yield
        return pixels.repeat(factor, 0).repeat(factor, 1)


EDITS = {
    CompanionKind.ADAPTER: (Capability.IMAGE_PROMPT, Capability.STYLE, Capability.CHARACTER),
    CompanionKind.UPSCALER: (Capability.UPSCALE,),
    CompanionKind.DESCRIBER: (Capability.DESCRIBE,),
}


def with_companions(model: Any, memory_mb: int = 10, **companions: FakeCompanion) -> LoadedCheckpoint:
    """The model with these beside it, by the names of their kinds; as `add_companions` leaves it."""
    kinds = {CompanionKind[name.upper()]: companion for name, companion in companions.items()}
    known = {
        one: KnownCompanion(
            path=Path(f"/models/{one}.safetensors"), edits=EDITS[one], memory_mb=memory_mb, open=companion.open
        )
        for one, companion in kinds.items()
    }
    edits = tuple(edit.value for one in kinds for edit in EDITS[one])
    return replace(model, companions=LazyCompanions(known), info=replace(model.info, edits=("variation", *edits)))


def driver_of(*there: Any, budget_mb: int = 1000, **loads: Any) -> tuple[EngineDriver, FakeSource]:
    """A driver on these models, and what loads others."""
    loader = FakeSource(**loads)
    return EngineDriver(*there, cache=ModelCache(loader, CPU, budget_mb)), loader


def ask(driver: EngineDriver, job: str, kind: Kind = Kind.GRID, model: str = "one", **changes: Any) -> None:
    """Orders a job that brings as many pictures as it names."""
    wanted = request(model=model, **changes)
    source = b"" if kind is Kind.GRID else SOURCE
    driver.submit(job, wanted, kind=kind, source=source, pictures=(SOURCE,) * len(wanted.inputs))


def told(driver: EngineDriver, name: str = "one") -> set[str]:
    """What the bot was told last that this model can do."""
    last = [event for event in driver.events if isinstance(event, Models)][-1]
    return set(next(info.edits for info in last.known if info.name == name))
