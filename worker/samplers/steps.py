"""The samplers without a memory: each step hangs on nothing but the present latents, and noise of its own."""

from typing import Any

import numpy as np

from worker.samplers.table import FLOW, NOISE, X0, X0_OUT, X0_X, Array, NoiseLevels, X, first_order


def sigmas_of(scheduler: Any) -> tuple[Array, Array]:
    """A scheduler's timesteps and its sigmas; those are one longer, and end at 0."""
    return np.asarray(scheduler.timesteps, dtype=np.float64), np.asarray(scheduler.sigmas, dtype=np.float64)


def euler_levels(scheduler: Any, prediction: str) -> NoiseLevels:
    """Latents are x0 + sigma · noise (arXiv 2206.00364)."""
    times, sigmas = sigmas_of(scheduler)
    return NoiseLevels.through(times, np.ones_like(sigmas), sigmas, prediction)


def flow_levels(scheduler: Any, prediction: str) -> NoiseLevels:
    """Latents are (1 - sigma) · x0 + sigma · noise."""
    times, sigmas = sigmas_of(scheduler)
    return NoiseLevels.through(times, 1 - sigmas, sigmas, FLOW)


def ddim_levels(scheduler: Any, prediction: str) -> NoiseLevels:
    """diffusers steps back by whole strides, so with some spacings a step does not lead to where the next begins.

    Where its last stride ends just before the picture, with a little noise left, ours goes all the way.
    """
    times = np.asarray(scheduler.timesteps)
    back = times - scheduler.config.num_train_timesteps // len(times)
    kept = np.asarray(scheduler.alphas_cumprod, dtype=np.float64)
    here, there = kept[times], np.where(back >= 0, kept[np.maximum(back, 0)], 1.0)
    there[-1] = 1.0
    return NoiseLevels(
        times=times.astype(np.float64), alpha=np.sqrt(here), sigma=np.sqrt(1 - here), alpha_there=np.sqrt(there),
        sigma_there=np.sqrt(1 - there), prediction=prediction,
    )  # fmt: skip


def lcm_levels(scheduler: Any, prediction: str) -> NoiseLevels:
    """The levels of its timesteps, and at the end the picture."""
    times = np.asarray(scheduler.timesteps)
    kept = np.append(np.asarray(scheduler.alphas_cumprod, dtype=np.float64)[times], 1.0)
    return NoiseLevels.through(times.astype(np.float64), np.sqrt(kept), np.sqrt(1 - kept), prediction)


def first_order_table(levels: NoiseLevels, scheduler: Any) -> Array:
    """Euler, DDIM and flow matching."""
    return first_order(levels)


def ancestral(levels: NoiseLevels, scheduler: Any) -> Array:
    """Euler to a lower level than the next, and fresh noise up to that."""
    here, there = levels.sigma, levels.sigma_there
    up = np.sqrt(there**2 * (here**2 - there**2) / here**2)
    down = np.sqrt(there**2 - up**2)
    table = first_order(levels)
    table[:, X] = down / here
    table[:, X0] = 1 - down / here
    table[:, NOISE] = up
    return table


def consistency(levels: NoiseLevels, scheduler: Any) -> Array:
    """LCM (arXiv 2310.04378): x0, bent so that it is the latents themselves at time 0, and noise anew on top of it."""
    table = first_order(levels)
    scaled = levels.times * scheduler.config.timestep_scaling
    skip = 0.25 / (scaled**2 + 0.25)
    out = scaled / np.sqrt(scaled**2 + 0.25)
    table[:, X0_X] = out * table[:, X0_X] + skip
    table[:, X0_OUT] *= out
    table[:, X] = 0
    table[:, X0] = levels.alpha_there
    table[:, NOISE] = levels.sigma_there
    return table
