"""A model that leaves the device leaves nothing there, and what it had compiled serves again once it is back."""

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.worker.compiling.traced_networks import FakeCompiler, TracedNetwork, unet, unet_call
from worker.compiling import CompiledModel, ShapeRequest, call_signature
from worker.compiling.background_compiler import BackgroundCompiler, CompileTarget
from worker.compiling.compiled_forward import OVERDUE_SECONDS
from worker.compiling.cuda_graphs import CudaGraphRecorder, RunForward


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


class FakeRecorder:
    """Stands for graphs: each recording has memory of its own, for as long as it is there."""

    def __init__(self) -> None:
        self.memory: weakref.WeakSet[Tensor] = weakref.WeakSet()
        self.recorded = 0

    def __call__(self, run: RunForward, tensors: Sequence[Tensor]) -> RunForward:
        static = torch.zeros(8)
        self.memory.add(static)
        self.recorded += 1
        return lambda given: run([*given, static][: len(given)])


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def network(recorder: FakeRecorder) -> TracedNetwork:
    """A UNet with recorded code for four rows, its projections joined."""
    made = TracedNetwork(unet(), unet_call, joined=True)
    made.forward._record = recorder
    return made.adopted(4)


def compiled_model_of(network: TracedNetwork, tmp_path: Any) -> CompiledModel:
    fake_compiler = FakeCompiler()
    return CompiledModel(
        BackgroundCompiler(
            targets=[CompileTarget(network.forward, network.spec)], root=tmp_path, wake_loop=lambda: None,
            make=fake_compiler.make, read=fake_compiler.read,
        )
    )  # fmt: skip


def request(rows: int) -> ShapeRequest:
    args, kwargs = unet_call(rows)
    return ShapeRequest(rows, call_signature.signature_of(args, kwargs).shape)


def test_a_model_that_leaves_takes_its_recordings_and_joined_weights_along(
    network: TracedNetwork, recorder: FakeRecorder, tmp_path: Any
) -> None:
    joined = [weakref.ref(weight) for weight in network.forward._weights._joined.values()]
    assert joined and len(recorder.memory) == 1
    compiled_model_of(network, tmp_path).release()
    gc.collect()
    assert not recorder.memory and not any(weight() is not None for weight in joined)


def test_what_served_before_the_model_left_serves_again_without_being_compiled_again(
    network: TracedNetwork, recorder: FakeRecorder, tmp_path: Any
) -> None:
    compiled_model, expected = compiled_model_of(network, tmp_path), network.expected(4)
    compiled_model.release()
    network.module.to(torch.float32)
    compiled_model.restore()
    assert network.forward.has(request(4)), "nobody compiles it a second time"
    network.served = 0
    assert torch.equal(network.answer(4), expected) and network.served == 0, "a job that comes now waits for nothing"
    assert compiled_model.may_adopt(idle=True)
    compiled_model.adopt(idle=True)
    network.served = 0
    assert torch.allclose(network.answer(4), expected, atol=1e-5) and network.served == 1
    assert recorder.recorded == 2 and len(recorder.memory) == 1


def test_nothing_is_tried_while_the_model_is_away_and_no_job_is_held_up_when_it_returns(
    network: TracedNetwork, tmp_path: Any
) -> None:
    compiled_model = compiled_model_of(network, tmp_path)
    compiled_model.release()
    network.clock.now += OVERDUE_SECONDS
    network.offer(1)
    assert not compiled_model.may_adopt(idle=True), "its weights are elsewhere"
    network.clock.now += OVERDUE_SECONDS
    compiled_model.restore()
    assert compiled_model.may_adopt(idle=True) and not compiled_model.may_adopt(idle=False), (
        "the time away was nobody's patience"
    )
    network.clock.now += OVERDUE_SECONDS
    assert compiled_model.may_adopt(idle=False)


def test_a_model_whose_code_rests_gives_its_memory_back_and_is_eager_for_so_long(
    network: TracedNetwork, recorder: FakeRecorder, tmp_path: Any
) -> None:
    compiled_model = compiled_model_of(network, tmp_path)
    assert compiled_model.suspend(600)
    gc.collect()
    assert not recorder.memory and not network.forward._weights._joined
    network.served = 0
    network.clock.now = 599
    assert not compiled_model.may_adopt(idle=True) and network.answer(4) is not None and network.served == 0
    compiled_model.release()
    compiled_model.restore()
    assert not compiled_model.may_adopt(idle=True), "as before, when the model was away meanwhile"
    assert not compiled_model.suspend(1), "there is no more to give"
    network.clock.now = 600
    assert compiled_model.may_adopt(idle=True) and not compiled_model.may_adopt(idle=False), (
        "nor is a job held up at once"
    )
    compiled_model.adopt(idle=True)
    assert torch.allclose(network.answer(4), network.expected(4), atol=1e-4) and recorder.recorded == 2


def test_a_model_may_leave_twice_as_when_its_first_way_out_broke_off(network: TracedNetwork, tmp_path: Any) -> None:
    compiled_model = compiled_model_of(network, tmp_path)
    compiled_model.release()
    compiled_model.release()
    compiled_model.restore()
    while compiled_model.may_adopt(idle=True):
        compiled_model.adopt(idle=True)
    network.served = 0
    assert torch.allclose(network.answer(4), network.expected(4), atol=1e-5) and network.served == 1


@pytest.mark.parametrize("number", [1, -1])
def test_one_weight_that_moved_is_noticed_wherever_it_is(
    network: TracedNetwork, recorder: FakeRecorder, number: int
) -> None:
    weight = list(network.module.parameters())[number]
    weight.data = weight.data * 1.5
    network.served = 0
    assert torch.equal(network.answer(4), network.expected(4)) and network.served == 0
    assert not recorder.memory, "what was recorded of where it lay is gone"
    assert network.forward.adopt()
    network.served = 0
    assert torch.allclose(network.answer(4), network.expected(4), atol=1e-4) and network.served == 1


def test_code_that_failed_while_it_served_stays_away_when_the_model_returns(
    network: TracedNetwork, tmp_path: Any
) -> None:
    (shape,) = network.forward._ready
    network.forward._ready[shape][4] = lambda tensors: 1 / 0  # type: ignore[assignment, return-value]
    network.answer(4)
    compiled_model = compiled_model_of(network, tmp_path)
    compiled_model.release()
    compiled_model.restore()
    assert not compiled_model.may_adopt(idle=True) and network.forward.has(request(4))


# --- recordings ------------------------------------------------------------------------------------------------------


class FakeStream:
    """One that has nothing to wait for."""

    def wait_stream(self, other: Any) -> None: ...


class FakeGraph:
    """Plays nothing."""

    def replay(self) -> None: ...


class FakeCuda:
    """What a recorder uses of torch.cuda; notes each pool that it was asked to record into."""

    Stream, CUDAGraph = FakeStream, FakeGraph

    def __init__(self) -> None:
        self.pools: list[int] = []
        self._handles = iter(range(100))

    def graph_pool_handle(self) -> int:
        return next(self._handles)

    def current_stream(self) -> FakeStream:
        return FakeStream()

    def stream(self, _: FakeStream) -> Any:
        return nullcontext()

    @contextmanager
    def graph(self, _: FakeGraph, *, pool: int, capture_error_mode: str) -> Iterator[None]:
        self.pools.append(pool)
        yield


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeCuda, Callable[[], RunForward]]:
    """torch.cuda as a recorder sees it, and what records."""
    cuda = FakeCuda()
    for name in ("Stream", "CUDAGraph", "graph_pool_handle", "current_stream", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(cuda, name))
    recorder = CudaGraphRecorder()
    return cuda, lambda: recorder(lambda tensors: (tensors[0] + 1,), [torch.zeros(2)])


def test_recordings_share_their_memory_and_one_after_the_last_has_gone_takes_memory_of_its_own(
    record: tuple[FakeCuda, Callable[[], RunForward]],
) -> None:
    cuda, recorded = record
    first, second = recorded(), recorded()
    del first
    third = recorded()
    assert cuda.pools == [0, 0, 0]
    del second, third
    recorded()
    assert cuda.pools == [0, 0, 0, 1], "the first pool went with its last recording"
