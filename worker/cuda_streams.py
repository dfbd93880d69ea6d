"""Work beside the loop's own on a GPU: pictures decoded and copied while others step. On a CPU all of it is as ever.

The order between streams is kept by events; nobody waits on the host. Knows nothing of models or jobs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor


class HostCopy(Protocol):
    """A tensor on its way to the host."""

    def done(self) -> bool:
        """True once it is there."""

    def wait(self) -> Tensor:
        """The tensor there; blocks the calling thread until it is."""


class SideStream(Protocol):
    """Where work is ordered beside the loop's own, on the same device."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What is computed in the block comes after all that the loop has ordered, and holds up nothing of it."""

    def to_host(self, tensor: Tensor) -> HostCopy:
        """Begins to copy; called where the tensor was made."""


class FinishedCopy:
    """A copy that is done."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def done(self) -> bool:
        return True

    def wait(self) -> Tensor:
        return self._tensor


class SameStream:
    """The loop's own stream: work is done in turn."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        yield

    def to_host(self, tensor: Tensor) -> HostCopy:
        return FinishedCopy(tensor.cpu())


class _PendingCopy:
    """A copy into pinned memory, with the event that ends it."""

    def __init__(self, source: Tensor, target: Tensor, event: Any) -> None:
        self._source, self._target, self._event = source, target, event

    def done(self) -> bool:
        """True once the device has passed the event."""
        return bool(self._event.query())

    def wait(self) -> Tensor:
        """Blocks this thread alone."""
        self._event.synchronize()
        return self._target


class CudaSideStream:
    """A second CUDA stream."""

    def __init__(self, device: torch.device) -> None:
        cuda: Any = torch.cuda
        self._cuda, self._device = cuda, device
        self._stream = cuda.Stream(device)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Tensors that the loop made may be used inside once `record_stream` has named them."""
        self._stream.wait_stream(self._cuda.current_stream(self._device))
        with self._cuda.stream(self._stream):
            yield

    def to_host(self, tensor: Tensor) -> HostCopy:
        """Begins to copy on the stream that is current."""
        target = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        target.copy_(tensor, non_blocking=True)
        event = self._cuda.Event()
        event.record()
        return _PendingCopy(tensor, target, event)


#: Where memory or the device allows no work beside the loop's.
SAME_STREAM = SameStream()


def side_stream(device: torch.device) -> SideStream:
    return CudaSideStream(device) if device.type == "cuda" else SAME_STREAM


def record_stream(tensor: Tensor) -> Tensor:
    """A tensor of the loop's that another stream is about to use: its memory is not given away before that is over."""
    if tensor.device.type == "cuda":
        cuda: Any = torch.cuda
        tensor.record_stream(cuda.current_stream(tensor.device))
    return tensor
