"""Training's own memory: weights, their running average and the step, as safetensors outside of the shipped folder."""

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """An exponential running average of a model's weights: what is shipped."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay
        self._step = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move a little towards the model; more so at the start."""
        self._step += 1
        decay = min(self._decay, (1 + self._step) / (10 + self._step))
        get_ema_multi_avg_fn(decay)(list(self.model.parameters()), list(model.parameters()), None)

    def skip_warm_up(self) -> None:
        """After resuming, the average is already worth keeping."""
        self._step = 10_000


def save(path: Path, model: nn.Module, average: Average, step: int) -> None:
    """Write both sets of weights; a crash in between leaves the older file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{k}": v.detach().clone().contiguous() for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v.detach().clone().contiguous() for k, v in average.model.state_dict().items()}
    fresh = path.with_suffix(".part")
    save_file(tensors, fresh, metadata={"step": str(step)})
    fresh.replace(path)


def load(path: Path, model: nn.Module, average: Average) -> int:
    """Read what `save` wrote and return its step; 0 when there is nothing yet."""
    if not path.exists():
        return 0
    tensors = load_file(path)
    for prefix, target in (("model.", model), ("average.", average.model)):
        target.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    average.skip_warm_up()
    return step_of(path)


def step_of(path: Path) -> int:
    """The step at which a checkpoint was written."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return int((file.metadata() or {})["step"])
