"""Samplers as coefficient tables, so that every row of a batch can be at its own step of its own sampler.

diffusers' schedulers keep their step index and history on the object, for the whole batch. Here a throw-away scheduler
is asked once for its timesteps and noise levels, and each step becomes nine float64 numbers; all samplers then are two
lines:

    x0 = X0_X · x + X0_OUT · out
    x' = X · x + X0 · x0 + BEFORE · (x0 of the step before) + EARLIER · (x0 of the one before that) + NOISE · n

`table.py` has the columns and what all samplers have in common, `steps.py` the samplers without a memory,
`multistep.py` those with one, and `schedules.py` makes plans for requests of them. Knows nothing of batches or devices.
"""

from worker.samplers.schedules import Schedules, diffusers_scheduler, samplers_for, set_steps
from worker.samplers.table import (
    BEFORE,
    EARLIER,
    INPUT,
    MAX_STEPS,
    NOISE,
    TIME,
    X0,
    X0_OUT,
    X0_X,
    StepSchedule,
    X,
)

__all__ = [
    "BEFORE",
    "EARLIER",
    "INPUT",
    "MAX_STEPS",
    "NOISE",
    "TIME",
    "X0",
    "X0_OUT",
    "X0_X",
    "Schedules",
    "StepSchedule",
    "X",
    "diffusers_scheduler",
    "samplers_for",
    "set_steps",
]
