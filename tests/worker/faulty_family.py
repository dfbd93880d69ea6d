"""A family with faults: words in a prompt make its forwards raise, hang, run out of memory or kill the process."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from worker.checkpoints import LoadedCheckpoint
from worker.interfaces import Conditions

#: The first number of a marked prompt's encoding; nothing else comes near.
MARKS = {"poison": 1e6, "hang": 2e6, "die": 3e6, "memory": 4e6, "overflow": 5e6}


class FaultyFamily:
    """Wraps a family. `widest`: samples that fit into a forward; `before` runs at each forward of a job."""

    def __init__(self, family: Any, widest: int = 1000, before: Callable[[int], None] = lambda _: None) -> None:
        self._family = family
        self.widest, self.before = widest, before
        self.forwards: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._family, name)

    def encode_prompt(self, text: str, *, negative: bool = False) -> Conditions:
        conditions = dict(self._family.encode_prompt(text, negative=negative))
        conditions["text"] = conditions["text"].clone()
        for word, mark in MARKS.items():
            if word in text.split():
                conditions["text"][0, 0] = mark
        return conditions

    def denoise(self, latents: Tensor, timesteps: Tensor, conditions: Conditions, scales: Tensor) -> Tensor:
        if not latents.any():  # it is tried out; jobs begin with noise
            return self._family.denoise(latents, timesteps, conditions, scales)
        self.before(len(latents))
        marks = set(conditions["text"][:, 0, 0].tolist())
        if MARKS["die"] in marks:
            os.kill(os.getpid(), signal.SIGKILL)
        if MARKS["hang"] in marks:
            threading.Event().wait()
        if MARKS["memory"] in marks or len(latents) > self.widest:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if MARKS["poison"] in marks:
            raise RuntimeError("poison")
        self.forwards.append(len(latents))
        out: Tensor = self._family.denoise(latents, timesteps, conditions, scales)
        return out * float("nan") if MARKS["overflow"] in marks else out


def faulty(loaded: LoadedCheckpoint, **how: Any) -> LoadedCheckpoint:
    """The same model with faults."""
    return replace(loaded, family=FaultyFamily(loaded.family, **how))
