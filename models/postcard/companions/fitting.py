"""Fits one companion's weights for so many minutes, the rate rising, then falling; goes on from its checkpoint.

Knows no companion: a lesson is a function that gives a loss.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.postcard.checkpoints import Average, load, save
from models.postcard.team import Team, same_start

Lesson = Callable[[], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One run of a stage: where its checkpoint lies, how long and how fast it learns."""

    path: Path
    minutes: float
    lr: float
    average: float = 0.99  # a run may be short, and its rate falls to nothing anyway
    decay: float = 1e-2
    warm_up: int = 100
    save_every: int = 200

    @property
    def name(self) -> str:
        """What the stage is called in its lines."""
        return self.path.stem

    def rate(self, spent: float, step: int) -> float:
        """The learning rate after that share of the time and so many steps of this run."""
        fall = 0.01 + 0.99 * math.cos(spent * math.pi / 2) ** 2
        return self.lr * min(1.0, (step + 1) / self.warm_up) * fall


def resume(course: Course, model: nn.Module) -> tuple[Average, int]:
    """The model's running average and its step; both from the checkpoint, where there is one."""
    average = Average(model, course.average)
    return average, load(course.path, model, average)


def fit(team: Team, course: Course, model: nn.Module, average: Average, step: int, lesson: Lesson) -> int:
    """Train `model` in place and return its last step; the members of a team share their gradients."""
    same_start(model, team)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=course.lr, betas=(0.9, 0.98), weight_decay=course.decay, fused=True)
    first, shown, last = step, 0.0, time.monotonic()
    for spent in _until(team, 60 * course.minutes):
        for group in optimizer.param_groups:
            group["lr"] = course.rate(spent, step - first)
        optimizer.zero_grad()
        loss = lesson()
        loss.backward()
        team.share_gradients(model)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        average.update(model)
        step += 1
        shown += (loss.item() - shown) / min(step - first, 50)
        if step % 50 == 0 and team.leads:
            pace, last = (time.monotonic() - last) / 50, time.monotonic()
            print(f"{course.name} {step} loss {shown:.4f} {pace:.3f} s/step done {spent:.0%}", flush=True)
        if step % course.save_every == 0 and team.leads:
            save(course.path, model, average, step)
    if team.leads:
        save(course.path, model, average, step)
    return step


def _until(team: Team, seconds: float) -> Iterator[float]:
    """The share of the time that is spent, again and again until it is over; the leader's clock counts."""
    begin = time.monotonic()
    while (spent := team.leads_say((time.monotonic() - begin) / seconds)) < 1:
        yield spent
