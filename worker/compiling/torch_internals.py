"""What Darkroom uses of torch although torch does not promise it; nothing else here may, and tests/meta looks for it.

Tried with torch 2.13, in its CPU and CUDA builds: the worker's own tests compile, keep, read and serve code by these
functions, and so pyproject.toml allows that minor version and no other. After another one has been tried both change
together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn


def weightless() -> Any:
    """A context in which new tensors only know their shape, type, layout and device, and graphs can be traced."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    return FakeTensorMode(shape_env=ShapeEnv())


def compile_to(path: Path, graph: torch.fx.GraphModule, examples: Sequence[Tensor]) -> None:
    """Compiles a graph by inductor and keeps the code in that file."""
    from torch._inductor import standalone_compile

    artifact = standalone_compile(graph, list(examples), dynamic_shapes="from_graph")
    artifact.save(path=str(path), format="binary")


def read_compiled(path: Path) -> Any:
    """The code that `compile_to` kept, to be called with what the graph takes."""
    from torch._inductor.standalone_compile import CompiledArtifact

    return CompiledArtifact.load(path=str(path), format="binary")


def weight_dicts(layer: nn.Module) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """A layer's own dictionaries of parameters and of buffers: what is put in a weight's place is found there too.

    The public way is an attribute, and Python code for each of some two thousand weights before each forward.
    """
    return cast("Mapping[str, Tensor]", layer._parameters), cast("Mapping[str, Tensor]", layer._buffers)


def forget_compiled(module: nn.Module) -> None:
    """The reverse of `Module.compile`."""
    module._compiled_call_impl = None
