"""How a model lies in memory: sizes, the plan, and its placement."""

from worker.memory.offload_plan import (
    FULLY_RESIDENT,
    MIN_REPORTED_MB,
    NOTHING_RESERVED,
    OffloadPlan,
    ReservedMemory,
    plan_with_companions,
)
from worker.memory.placement import (
    DENOISERS,
    FULL,
    HOST,
    enable_tiling,
    move_networks,
    place_networks,
    plan_for_model,
    unmap_weights,
)
from worker.memory.size_estimate import TILE_SIDE

__all__ = [
    "DENOISERS",
    "FULL",
    "FULLY_RESIDENT",
    "HOST",
    "MIN_REPORTED_MB",
    "NOTHING_RESERVED",
    "TILE_SIDE",
    "OffloadPlan",
    "ReservedMemory",
    "enable_tiling",
    "move_networks",
    "place_networks",
    "plan_for_model",
    "plan_with_companions",
    "unmap_weights",
]
