"""Who runs when, on which worker, at which cost. Knows nothing of Discord."""

from bot.scheduling import render_stages
from bot.scheduling.cost_estimator import CostEstimator
from bot.scheduling.queue_estimate import Estimate
from bot.scheduling.render_stages import OTHER_MODEL
from bot.scheduling.scheduler import Scheduler

__all__ = [
    "OTHER_MODEL",
    "CostEstimator",
    "Estimate",
    "Scheduler",
    "render_stages",
]
