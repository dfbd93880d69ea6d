"""Work beside the loop's own on a GPU: pictures decoded and copied while others step. On a CPU all of it is as ever.

The order between streams is kept by events; nobody waits on the host. Knows nothing of models or jobs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor


class Copy(Protocol):
    """A tensor on its way to the host."""

    def done(self) -> bool:
        """True once it is there."""

    def wait(self) -> Tensor:
        """The tensor there; blocks the calling thread until it is."""


class Lane(Protocol):
    """A second line of work on a device."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What is computed in the block comes after all that the loop has ordered, and holds up nothing of it."""

    def to_host(self, tensor: Tensor) -> Copy:
        """Begins to copy; called where the tensor was made."""


class There:
    """A copy that is done."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def done(self) -> bool:
        """It is."""
        return True

    def wait(self) -> Tensor:
        """At once."""
        return self._tensor


class PlainLane:
    """No second line: work is done in turn."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """At once."""
        yield

    def to_host(self, tensor: Tensor) -> Copy:
        """At once."""
        return There(tensor.cpu())


class _Coming:
    """A copy into pinned memory, with the event that ends it."""

    def __init__(self, source: Tensor, target: Tensor, event: Any) -> None:
        self._source, self._target, self._event = source, target, event

    def done(self) -> bool:
        """As the device says."""
        return bool(self._event.query())

    def wait(self) -> Tensor:
        """Blocks this thread alone."""
        self._event.synchronize()
        return self._target


class CudaLane:
    """A stream of its own."""

    def __init__(self, device: torch.device) -> None:
        cuda: Any = torch.cuda
        self._cuda, self._device = cuda, device
        self._stream = cuda.Stream(device)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Tensors that the loop made may be used inside once `borrow` has named them."""
        self._stream.wait_stream(self._cuda.current_stream(self._device))
        with self._cuda.stream(self._stream):
            yield

    def to_host(self, tensor: Tensor) -> Copy:
        """On the stream that is current."""
        target = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        target.copy_(tensor, non_blocking=True)
        event = self._cuda.Event()
        event.record()
        return _Coming(tensor, target, event)


#: Work is done in turn, where memory or the device leaves no other way.
IN_TURN = PlainLane()


def lane(device: torch.device) -> Lane:
    """For a device."""
    return CudaLane(device) if device.type == "cuda" else IN_TURN


def borrow(tensor: Tensor) -> Tensor:
    """A tensor of the loop's that another stream is about to use: its memory is not given away before that is over."""
    if tensor.device.type == "cuda":
        cuda: Any = torch.cuda
        tensor.record_stream(cuda.current_stream(tensor.device))
    return tensor
