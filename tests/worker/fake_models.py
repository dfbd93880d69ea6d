"""Models that cost nothing, for what is tested about several of them: any name, any size, loads that fail or wait."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.events import Catalogue, ModelInfo
from core.job import Request
from tests.worker.checkpoint import SCHEDULER
from worker.checkpoints import LoadedCheckpoint
from worker.checkpoints.catalogue_loader import UnknownModel
from worker.engine.loaded_model import SMOKE_TEST_PROMPT
from worker.interfaces import Adaptation, Conditions, Guidance, Pixels
from worker.memory import NOTHING_RESERVED, ReservedMemory
from worker.samplers import samplers_for

PATIENCE = 60.0


class FakeNetwork(nn.Module):
    """A network that notes where it is moved to."""

    def __init__(self, stuck: bool = False) -> None:
        super().__init__()
        self.moves: list[str] = []
        self.stuck = stuck

    def to(self, place: Any) -> "FakeNetwork":
        self.moves.append(str(place))
        if self.stuck and len(self.moves) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self


class FakeFamily:
    """A family by formulas; notes its forwards, what it was adapted to, and what it was asked to encode.

    Not when it is tried out, which fails in no way.
    """

    name, device, guidance = "fake", torch.device("cpu"), Guidance.CLASSIFIER_FREE
    native, multiple, factor, channels = 64, 8, 8, 4
    scheduler: Mapping[str, Any] = SCHEDULER
    edits = ()

    def __init__(self, log: Callable[[str], None] = lambda _: None, stuck: bool = False) -> None:
        self.parts = {"unet": FakeNetwork(stuck)}
        self.log = log
        self.now = Adaptation()
        self.forwards: list[tuple[int, Adaptation]] = []
        self.full = 0  # so many forwards find no memory

    def encode_prompt(self, text: str, *, negative: bool = False) -> Conditions:
        if text != SMOKE_TEST_PROMPT:
            self.log(f"encode {text!r} {self.now.loras}")
        if "weightless" in text:
            raise ValueError("A weight must be a number.")
        return {"text": torch.full((4, 8), len(text) / 100)}

    def pad_to_longest(self, texts: Sequence[Conditions]) -> list[Conditions]:
        return list(texts)

    def encode_picture(self, pixels: Pixels) -> Tensor:
        image = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
        small = functional.avg_pool2d(image, self.factor)[0]
        return torch.cat([small, small.mean(0, keepdim=True)])

    def adapt(self, adaptation: Adaptation) -> None:
        if any(name == "missing" for name, _ in adaptation.loras):
            raise LookupError("There is no LoRA named missing.")
        self.now = adaptation

    def denoise(self, latents: Tensor, timesteps: Tensor, conditions: Conditions, scales: Tensor) -> Tensor:
        if not latents.any():  # jobs begin with noise
            return latents
        if self.full:
            self.full -= 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.log("step")
        self.forwards.append((len(latents), self.now))
        return torch.tanh(latents + conditions["text"][:, :1, :1, None])

    def decode(self, latents: Tensor) -> Tensor:
        self.log(f"decode {self.now.tile}")
        return functional.interpolate((latents[None, :3] / 2 + 0.5).clamp(0, 1), scale_factor=self.factor)[0]


class FakeRun:
    """A run of a pipeline of its own; see `interfaces.GenerationRun`."""

    def __init__(self, steps: int, count: int, rows: int, fails: int) -> None:
        self.steps, self.done, self._count, self.fails = steps, 0, count, fails
        self.largest_batch = min(count, rows)
        self.closed = False

    def advance(self) -> None:
        if self.fails:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.done += 1

    def preview(self) -> Tensor | None:
        return torch.full((self._count, 16, 16, 3), 100, dtype=torch.uint8)

    def pictures(self) -> list[Tensor]:
        return [torch.full((3, 64, 64), place / 10) for place in range(self._count)]

    def close(self) -> None:
        self.closed = True


class FakePipelineModel(FakeFamily):
    """A model that is computed by a pipeline of its own. `fails`: so many runs find no memory."""

    guidance = Guidance.NONE
    fails = 0

    def begin(self, request: Request, indices: Sequence[int], rows: int) -> FakeRun:
        if request.loras:
            raise ValueError("This model makes pictures from words alone.")
        if request.prompt == SMOKE_TEST_PROMPT:
            return FakeRun(request.steps, len(indices), rows, 0)
        self.run = FakeRun(request.steps, len(indices), rows, self.fails)
        self.fails = max(0, self.fails - 1)
        return self.run


def fake_model(name: str, memory_mb: int = 100, family: FakeFamily | None = None, **how: Any) -> LoadedCheckpoint:
    """A loaded model of that name and size."""
    family = family or FakeFamily(**how)
    info = ModelInfo(
        name=name, family=family.name, digest=f"digest of {name}", dtype="float32", native=64, multiple=8, steps=6,
        guidance=5.0, sampler="euler", samplers=samplers_for(family.scheduler),
    )  # fmt: skip
    return LoadedCheckpoint(family=family, info=info, memory_mb=memory_mb)


class FakeSource:
    """Loads what it is given, by name; an exception is raised. A name in `gates` waits there."""

    def __init__(self, **models: Any) -> None:
        self.models = models
        self.asked: list[str] = []
        self.reservations: list[ReservedMemory] = []
        self.gates: dict[str, threading.Event] = {}
        self.before: Callable[[str], None] = lambda _: None

        self.sizes: dict[str, int] = {}
        self.current: Callable[[str], bool] = lambda _: True

    def set_catalogue(self, catalogue: Catalogue) -> None:
        pass

    def size_mb(self, name: str) -> int:
        return self.sizes.get(name, 0)

    def is_current(self, name: str) -> bool:
        return self.current(name)

    def load(self, name: str, reserved: ReservedMemory = NOTHING_RESERVED) -> LoadedCheckpoint:
        self.asked.append(name)
        self.reservations.append(reserved)
        self.before(name)
        if name in self.gates:
            assert self.gates[name].wait(PATIENCE)
        model = self.models.get(name) or UnknownModel(f"There is no model {name!r}.")
        if callable(model):
            model = model()
        if isinstance(model, Exception):
            raise model
        assert isinstance(model, LoadedCheckpoint)
        return model
