"""The samplers that look back: DPM++ 2M and UniPC, whose steps also follow how x0 has been changing."""

from typing import Any

import numpy as np

from worker.samplers.steps import sigmas_of
from worker.samplers.table import BEFORE, EARLIER, X0, Array, NoiseLevels, X, first_order


def variance_levels(scheduler: Any, prediction: str) -> NoiseLevels:
    """Latents are as the model sees them: alpha · x0 + sigma · noise of unit variance."""
    times, sigmas = sigmas_of(scheduler)
    alphas = 1 / np.sqrt(sigmas**2 + 1)
    return NoiseLevels.through(times, alphas, sigmas * alphas, prediction)


def dpmpp_2m(levels: NoiseLevels, scheduler: Any) -> Array:
    """arXiv 2211.01095, the midpoint rule.

    Second order, but for the first step (nothing lies before it) and the last (level 0 is infinitely far in log).
    """
    table = first_order(levels)
    distance = levels.distance()
    middle = slice(1, len(table) - 1)
    looked_back, ahead = distance[1:-1] - distance[:-2], distance[2:] - distance[1:-1]
    extra = 0.5 * table[middle, X0] * ahead / looked_back
    table[middle, X0] += extra
    table[middle, BEFORE] = -extra
    return table


def unipc(levels: NoiseLevels, scheduler: Any) -> Array:
    """arXiv 2302.04867, order 2 with B₂(h): DPM++ 2M predicts, and the next output corrects what was predicted.

    The corrected latents differ from the predicted ones by a sum of x0s alone, since both set out from the same place.
    So the correction is a part of the next step, and no older latents need to be kept: two x0s are enough.
    """
    table = dpmpp_2m(levels, scheduler)
    distance = levels.distance()
    for k in range(1, len(table)):
        now, before, earlier = _correction(levels, distance, k)
        onward = table[k, X]
        table[k, X0] += onward * now
        table[k, BEFORE] += onward * before
        table[k, EARLIER] += onward * earlier
    return table


def _correction(levels: NoiseLevels, distance: Array, k: int) -> tuple[float, float, float]:
    """What the corrector adds to the latents before step k, in x0 of this step, of the one before, and before that."""
    h = distance[k] - distance[k - 1]
    grown = np.expm1(-h)
    scale = -levels.alpha[k] * grown
    if k == 1:
        return 0.5 * scale, -0.5 * scale, 0.0
    back = (distance[k - 2] - distance[k - 1]) / h
    phi_2 = grown / -h - 1
    phi_3 = phi_2 / -h - 0.5
    of_back, of_now = np.linalg.solve([[1.0, 1.0], [back, 1.0]], [phi_2 / grown, 2 * phi_3 / grown])
    now = float(scale * of_now)
    earlier = float(scale * (of_back - 0.5) / back)
    return now, -now - earlier, earlier
