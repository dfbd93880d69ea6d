"""Compiled forwards: made behind the work, kept on disk, served where they fit. Knows no family."""

from worker.compiling import artifact_store
from worker.compiling.background_compiler import IdleSignal, set_torch_cache_folders
from worker.compiling.compiled_model import CompiledModel, ModelCompiler
from worker.compiling.shape_counts import ShapeRequest
from worker.compiling.torch_internals import forget_compiled
from worker.compiling.tracing import NetworkSpec, Traced, trace

__all__ = [
    "CompiledModel",
    "IdleSignal",
    "ModelCompiler",
    "NetworkSpec",
    "ShapeRequest",
    "Traced",
    "artifact_store",
    "forget_compiled",
    "set_torch_cache_folders",
    "trace",
]
