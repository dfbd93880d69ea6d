"""Samplers as coefficient tables, so that every row of a batch can be at its own step of its own sampler.

diffusers' schedulers keep their step index and history on the object, for the whole batch. Here a throw-away scheduler
is asked once for its timesteps and sigmas, and each step becomes eight float64 numbers; all samplers then are one line:

    x0 = X0_X · x + X0_OUT · out
    x' = X · x + X0 · x0 + BEFORE · (x0 of the step before) + NOISE · n

Knows nothing of models, batches or devices.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.catalogue import SAMPLERS

Array = NDArray[np.float64]

#: Columns of a table.
TIME, INPUT, X0_X, X0_OUT, X, X0, BEFORE, NOISE = range(8)
PREDICTIONS = ("epsilon", "v_prediction")
MAX_STEPS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One picture's steps: `table` is float64 [steps, 8]; it starts at `from_source`·source + `from_noise`·noise."""

    table: Array
    from_noise: float
    from_source: float

    def __len__(self) -> int:
        return len(self.table)

    @property
    def draws_noise(self) -> bool:
        """True when its steps need noise of their own."""
        return bool(self.table[:, NOISE].any())


class Schedules:
    """Plans for one model, by its scheduler's config (`scheduler_config.json`)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)
        self.plan: Callable[[str, int, float, int], Plan] = lru_cache(maxsize=256)(self._plan)

    def _plan(self, sampler: str, steps: int, strength: float, stop: int) -> Plan:
        """The plan for a request's numbers (see `Request`). Raises ValueError for a sampler that is not known."""
        scheduler = throwaway(sampler, self.config)
        scheduler.set_timesteps(steps)
        times = np.asarray(scheduler.timesteps, dtype=np.float64)
        sigmas = np.asarray(scheduler.sigmas, dtype=np.float64)
        start = len(times) - min(len(times), max(1, round(len(times) * strength)))
        end = max(start + 1, round(len(times) * stop / 100))
        rows = _TABLES[sampler](times, sigmas, start, str(self.config.get("prediction_type", "epsilon")))
        noise, source = _start(sampler, scheduler, sigmas, start)
        table = rows[: end - start]
        table.setflags(write=False)
        return Plan(table=table, from_noise=noise, from_source=source)


def throwaway(sampler: str, config: Mapping[str, Any]) -> Any:
    """A fresh diffusers scheduler: what the tables are derived from and tested against."""
    import diffusers

    if sampler == "euler":
        return diffusers.EulerDiscreteScheduler.from_config(config)
    if sampler == "euler_a":
        return diffusers.EulerAncestralDiscreteScheduler.from_config(config)
    if sampler == "dpmpp_2m":
        fixed = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
        ends = {"final_sigmas_type": "zero", "lower_order_final": True, "thresholding": False}
        return diffusers.DPMSolverMultistepScheduler.from_config(config, **fixed, **ends)
    raise ValueError(f"There is no sampler {sampler!r} here; there are {', '.join(SAMPLERS)}.")


def _start(sampler: str, scheduler: Any, sigmas: Array, start: int) -> tuple[float, float]:
    """What the noise and the source picture are multiplied with before step `start`."""
    if sampler == "dpmpp_2m":
        alpha = 1 / np.sqrt(sigmas[start] ** 2 + 1)
        return (1.0, 0.0) if start == 0 else (float(sigmas[start] * alpha), float(alpha))
    return (float(scheduler.init_noise_sigma), 0.0) if start == 0 else (float(sigmas[start]), 1.0)


def _euler(times: Array, sigmas: Array, start: int, prediction: str) -> Array:
    here, there = sigmas[start:-1], sigmas[start + 1 :]
    table = _euler_input(times[start:], here, prediction)
    table[:, X] = there / here
    table[:, X0] = 1 - there / here
    return table


def _euler_ancestral(times: Array, sigmas: Array, start: int, prediction: str) -> Array:
    here, there = sigmas[start:-1], sigmas[start + 1 :]
    up = np.sqrt(there**2 * (here**2 - there**2) / here**2)
    down = np.sqrt(there**2 - up**2)
    table = _euler_input(times[start:], here, prediction)
    table[:, X] = down / here
    table[:, X0] = 1 - down / here
    table[:, NOISE] = up
    return table


def _euler_input(times: Array, sigmas: Array, prediction: str) -> Array:
    """Latents are x0 + sigma · noise; the model sees them scaled to unit variance."""
    table = np.zeros((len(times), 8))
    table[:, TIME] = times
    table[:, INPUT] = 1 / np.sqrt(sigmas**2 + 1)
    if prediction == "v_prediction":
        table[:, X0_X] = 1 / (sigmas**2 + 1)
        table[:, X0_OUT] = -sigmas / np.sqrt(sigmas**2 + 1)
    else:
        table[:, X0_X] = 1
        table[:, X0_OUT] = -sigmas
    return table


def _dpmpp_2m(times: Array, sigmas: Array, start: int, prediction: str) -> Array:
    """Latents are alpha · x0 + sigma · alpha · noise, as the model sees them (arXiv 2211.01095, midpoint)."""
    here, there = sigmas[start:-1], sigmas[start + 1 :]
    alpha, alpha_there = 1 / np.sqrt(here**2 + 1), 1 / np.sqrt(there**2 + 1)
    table = np.zeros((len(here), 8))
    table[:, TIME] = times[start:]
    table[:, INPUT] = 1
    if prediction == "v_prediction":
        table[:, X0_X] = alpha
        table[:, X0_OUT] = -here * alpha
    else:
        table[:, X0_X] = 1 / alpha
        table[:, X0_OUT] = -here
    table[:, X] = there * alpha_there / (here * alpha)
    table[:, X0] = alpha_there * (1 - there / here)
    # Second order, but for the first step (nothing before it) and the last (sigma 0 is infinitely far in log).
    middle = slice(1, len(here) - 1)
    extra = 0.5 * table[middle, X0] / (np.log(here[:-2] / here[1:-1]) / np.log(here[1:-1] / there[1:-1]))
    table[middle, X0] += extra
    table[middle, BEFORE] = -extra
    return table


_TABLES: Mapping[str, Callable[[Array, Array, int, str], Array]] = {
    "euler": _euler,
    "euler_a": _euler_ancestral,
    "dpmpp_2m": _dpmpp_2m,
}
