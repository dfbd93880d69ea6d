"""The loop over rows: prepare, step, emit. Does what it is told, decides nothing."""

from worker.engine.engine import Engine
from worker.engine.gpu_meter import GpuMeter
from worker.engine.loaded_model import LoadedModel, smoke_test
from worker.engine.model_cache import ModelCache

__all__ = [
    "Engine",
    "GpuMeter",
    "LoadedModel",
    "ModelCache",
    "smoke_test",
]
