"""Forwards recorded as CUDA graphs: one launch instead of thousands. Knows nothing of models or of which are wanted."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

#: Gives the forward's outputs for its tensors.
RunForward = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]


class GraphRecorder(Protocol):
    """Makes a forward into one that may be cheaper and gives the same; `tensors` are examples of its inputs."""

    def __call__(self, run: RunForward, tensors: Sequence[Tensor]) -> RunForward: ...


def no_recording(run: RunForward, tensors: Sequence[Tensor]) -> RunForward:
    """The forward as it is."""
    return run


class CudaGraphRecorder:
    """All graphs share one pool of memory: one is replayed at a time, and its outputs are copied out at once.

    A recording lives as long as its `RunForward`. The pool goes with the last of them; its name may not be used again.
    """

    def __init__(self) -> None:
        self._pool: Any = None
        self._recorded: weakref.WeakSet[Any] = weakref.WeakSet()

    def __call__(self, run: RunForward, tensors: Sequence[Tensor]) -> RunForward:
        """Runs it to warm up on a side stream, as a capture wants it, then records. Raises RuntimeError."""
        cuda: Any = torch.cuda
        inputs = [tensor.clone() for tensor in tensors]
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(2):
                run(inputs)
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        if not self._recorded:
            self._pool = cuda.graph_pool_handle()
        with cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = run(inputs)
        self._recorded.add(graph)

        def replay(given: Sequence[Tensor]) -> tuple[Tensor, ...]:
            for mine, theirs in zip(inputs, given, strict=True):
                mine.copy_(theirs)
            graph.replay()
            return tuple(output.clone() for output in outputs)

        return replay


def graph_recorder(device: torch.device) -> GraphRecorder:
    """CUDA graphs where there are some."""
    return CudaGraphRecorder() if device.type == "cuda" else no_recording
