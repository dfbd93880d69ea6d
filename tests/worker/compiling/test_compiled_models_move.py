"""A model that leaves the device leaves nothing there, and what it had compiled serves again once it is back."""

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.worker.compiling.traced_networks import Kept, Watched, unet, unet_call
from worker.compiling import call_signature
from worker.compiling.background_compiler import Compiler, Subject
from worker.compiling.compiled_forward import OVERDUE_SECONDS
from worker.compiling.compiled_model import Boost
from worker.compiling.cuda_graphs import CudaRecorder, Run
from worker.compiling.shape_counts import Wish


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


class Recorder:
    """Stands for graphs: each recording has memory of its own, for as long as it is there."""

    def __init__(self) -> None:
        self.memory: weakref.WeakSet[Tensor] = weakref.WeakSet()
        self.recorded = 0

    def __call__(self, run: Run, tensors: Sequence[Tensor]) -> Run:
        static = torch.zeros(8)
        self.memory.add(static)
        self.recorded += 1
        return lambda given: run([*given, static][: len(given)])


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def watched(recorder: Recorder) -> Watched:
    """A UNet with recorded code for four rows, its projections joined."""
    made = Watched(unet(), unet_call, joined=True)
    made.forward._record = recorder
    return made.adopted(4)


def boost_of(watched: Watched, tmp_path: Any) -> Boost:
    kept = Kept()
    return Boost(
        Compiler(
            subjects=[Subject(watched.forward, watched.recipe)], root=tmp_path, nudge=lambda: None, make=kept.make,
            read=kept.read,
        )
    )  # fmt: skip


def wish(rows: int) -> Wish:
    args, kwargs = unet_call(rows)
    return Wish(rows, call_signature.read(args, kwargs).shape)


def test_a_model_that_leaves_takes_its_recordings_and_joined_weights_along(
    watched: Watched, recorder: Recorder, tmp_path: Any
) -> None:
    joined = [weakref.ref(weight) for weight in watched.forward._weights._joined.values()]
    assert joined and len(recorder.memory) == 1
    boost_of(watched, tmp_path).leave()
    gc.collect()
    assert not recorder.memory and not any(weight() is not None for weight in joined)


def test_what_served_before_the_model_left_serves_again_without_being_compiled_again(
    watched: Watched, recorder: Recorder, tmp_path: Any
) -> None:
    boost, expected = boost_of(watched, tmp_path), watched.expected(4)
    boost.leave()
    watched.module.to(torch.float32)
    boost.come_back()
    assert watched.forward.has(wish(4)), "nobody compiles it a second time"
    watched.served = 0
    assert torch.equal(watched.answer(4), expected) and watched.served == 0, "a job that comes now waits for nothing"
    assert boost.may_adopt(idle=True)
    boost.adopt(idle=True)
    watched.served = 0
    assert torch.allclose(watched.answer(4), expected, atol=1e-5) and watched.served == 1
    assert recorder.recorded == 2 and len(recorder.memory) == 1


def test_nothing_is_tried_while_the_model_is_away_and_no_job_is_held_up_when_it_returns(
    watched: Watched, tmp_path: Any
) -> None:
    boost = boost_of(watched, tmp_path)
    boost.leave()
    watched.clock.now += OVERDUE_SECONDS
    watched.offer(1)
    assert not boost.may_adopt(idle=True), "its weights are elsewhere"
    watched.clock.now += OVERDUE_SECONDS
    boost.come_back()
    assert boost.may_adopt(idle=True) and not boost.may_adopt(idle=False), "the time away was nobody's patience"
    watched.clock.now += OVERDUE_SECONDS
    assert boost.may_adopt(idle=False)


def test_a_model_whose_code_rests_gives_its_memory_back_and_is_eager_for_so_long(
    watched: Watched, recorder: Recorder, tmp_path: Any
) -> None:
    boost = boost_of(watched, tmp_path)
    assert boost.rest(600)
    gc.collect()
    assert not recorder.memory and not watched.forward._weights._joined
    watched.served = 0
    watched.clock.now = 599
    assert not boost.may_adopt(idle=True) and watched.answer(4) is not None and watched.served == 0
    boost.leave()
    boost.come_back()
    assert not boost.may_adopt(idle=True), "as before, when the model was away meanwhile"
    assert not boost.rest(1), "there is no more to give"
    watched.clock.now = 600
    assert boost.may_adopt(idle=True) and not boost.may_adopt(idle=False), "nor is a job held up at once"
    boost.adopt(idle=True)
    assert torch.allclose(watched.answer(4), watched.expected(4), atol=1e-4) and recorder.recorded == 2


def test_a_model_may_leave_twice_as_when_its_first_way_out_broke_off(watched: Watched, tmp_path: Any) -> None:
    boost = boost_of(watched, tmp_path)
    boost.leave()
    boost.leave()
    boost.come_back()
    while boost.may_adopt(idle=True):
        boost.adopt(idle=True)
    watched.served = 0
    assert torch.allclose(watched.answer(4), watched.expected(4), atol=1e-5) and watched.served == 1


@pytest.mark.parametrize("number", [1, -1])
def test_one_weight_that_moved_is_noticed_wherever_it_is(watched: Watched, recorder: Recorder, number: int) -> None:
    weight = list(watched.module.parameters())[number]
    weight.data = weight.data * 1.5
    watched.served = 0
    assert torch.equal(watched.answer(4), watched.expected(4)) and watched.served == 0
    assert not recorder.memory, "what was recorded of where it lay is gone"
    assert watched.forward.adopt()
    watched.served = 0
    assert torch.allclose(watched.answer(4), watched.expected(4), atol=1e-4) and watched.served == 1


def test_code_that_failed_while_it_served_stays_away_when_the_model_returns(watched: Watched, tmp_path: Any) -> None:
    (shape,) = watched.forward._ready
    watched.forward._ready[shape][4] = lambda tensors: 1 / 0  # type: ignore[assignment, return-value]
    watched.answer(4)
    boost = boost_of(watched, tmp_path)
    boost.leave()
    boost.come_back()
    assert not boost.may_adopt(idle=True) and watched.forward.has(wish(4))


# --- recordings ------------------------------------------------------------------------------------------------------


class Stream:
    """One that has nothing to wait for."""

    def wait_stream(self, other: Any) -> None: ...


class Graph:
    """Plays nothing."""

    def replay(self) -> None: ...


class Cuda:
    """What a recorder uses of torch.cuda; notes each pool that it was asked to record into."""

    Stream, CUDAGraph = Stream, Graph

    def __init__(self) -> None:
        self.pools: list[int] = []
        self._handles = iter(range(100))

    def graph_pool_handle(self) -> int:
        return next(self._handles)

    def current_stream(self) -> Stream:
        return Stream()

    def stream(self, _: Stream) -> Any:
        return nullcontext()

    @contextmanager
    def graph(self, _: Graph, *, pool: int, capture_error_mode: str) -> Iterator[None]:
        self.pools.append(pool)
        yield


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> tuple[Cuda, Callable[[], Run]]:
    """torch.cuda as a recorder sees it, and what records."""
    cuda = Cuda()
    for name in ("Stream", "CUDAGraph", "graph_pool_handle", "current_stream", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(cuda, name))
    recorder = CudaRecorder()
    return cuda, lambda: recorder(lambda tensors: (tensors[0] + 1,), [torch.zeros(2)])


def test_recordings_share_their_memory_and_one_after_the_last_has_gone_takes_memory_of_its_own(
    record: tuple[Cuda, Callable[[], Run]],
) -> None:
    cuda, recorded = record
    first, second = recorded(), recorded()
    del first
    third = recorded()
    assert cuda.pools == [0, 0, 0]
    del second, third
    recorded()
    assert cuda.pools == [0, 0, 0, 1], "the first pool went with its last recording"
