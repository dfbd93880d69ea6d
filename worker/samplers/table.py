"""What all samplers have in common: the columns of a table, noise levels, and the step of first order.

Latents at a level are `alpha` · x0 + `sigma` · noise. Three scales are in use, and the formulas here hold in all:
Euler's (alpha is 1), the one that keeps the variance (alpha² + sigma² is 1), and flow matching (alpha + sigma is 1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Columns of a table.
TIME, INPUT, X0_X, X0_OUT, X, X0, BEFORE, EARLIER, NOISE = range(9)
COLUMNS = 9
MAX_STEPS = 1000
#: What a flow-matching model predicts: noise minus picture.
FLOW = "flow_prediction"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSchedule:
    """One picture's steps: `table` is float64 [steps, 9]; it starts at `from_source`·source + `from_noise`·noise.

    `level` is (alpha, sigma) of the latents before the first step. `rescale` (0 … 1): how far guidance may not widen
    what the model puts out (arXiv 2305.08891, 3.4).
    """

    table: Array
    from_noise: float
    from_source: float
    level: tuple[float, float]
    rescale: float = 0.0

    def __len__(self) -> int:
        return len(self.table)

    @property
    def lookback(self) -> int:
        """How many earlier x0 its steps look at: 0, 1 or 2."""
        return 2 if self.table[:, EARLIER].any() else int(self.table[:, BEFORE].any())


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLevels:
    """The levels that the steps go through: step k is at `times[k]` and leads from (alpha, sigma)[k] to (…)_there[k].

    Where one step leads to is where the next one begins, but for DDIM with some spacings.
    """

    times: Array
    alpha: Array
    sigma: Array
    alpha_there: Array
    sigma_there: Array
    prediction: str

    @classmethod
    def through(cls, times: Array, alphas: Array, sigmas: Array, prediction: str) -> "NoiseLevels":
        """From level to level: `alphas` and `sigmas` are one longer than `times`."""
        return cls(
            times=times, alpha=alphas[:-1], sigma=sigmas[:-1], alpha_there=alphas[1:], sigma_there=sigmas[1:],
            prediction=prediction,
        )  # fmt: skip

    def since(self, start: int) -> "NoiseLevels":
        """Without its first steps."""
        parts = (self.times, self.alpha, self.sigma, self.alpha_there, self.sigma_there)
        times, alpha, sigma, alpha_there, sigma_there = (part[start:] for part in parts)
        return NoiseLevels(
            times=times, alpha=alpha, sigma=sigma, alpha_there=alpha_there, sigma_there=sigma_there,
            prediction=self.prediction,
        )  # fmt: skip

    def distance(self) -> Array:
        """log(alpha / sigma) at the beginning of each step: between two of these lies the size of a step."""
        return np.log(self.alpha) - np.log(self.sigma)


def first_order(levels: NoiseLevels) -> Array:
    """The table of the step that takes x0 for final: straight towards it, as far as the level says.

    It is DDIM, Euler, the first-order step of DPM-Solver++ and flow matching's Euler step, each in its own scale.
    """
    table = np.zeros((len(levels.times), COLUMNS))
    table[:, TIME] = levels.times
    _set_x0(table, levels)
    ratio = levels.sigma_there / levels.sigma
    table[:, X] = ratio
    table[:, X0] = levels.alpha_there - levels.alpha * ratio
    return table


def _set_x0(table: Array, levels: NoiseLevels) -> None:
    """How the model's input and its output make x0; UNets were trained on latents of unit variance."""
    alpha, sigma = levels.alpha, levels.sigma
    if levels.prediction == FLOW:
        table[:, INPUT], table[:, X0_X], table[:, X0_OUT] = 1, 1, -sigma
        return
    norm = np.sqrt(alpha**2 + sigma**2)
    table[:, INPUT] = 1 / norm
    if levels.prediction == "v_prediction":
        table[:, X0_X] = alpha / norm**2
        table[:, X0_OUT] = -sigma / norm
    else:
        table[:, X0_X] = 1 / alpha
        table[:, X0_OUT] = -sigma / alpha
