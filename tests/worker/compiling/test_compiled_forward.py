"""Compiled forwards: they serve only what is ready, give what the eager forward gives, and never stand in its way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.compiling.traced_networks import TracedNetwork, flux, flux_call, unet, unet_call
from worker.compiling import ShapeRequest, batch_buckets, call_signature
from worker.compiling.batch_buckets import Piece, pieces
from worker.compiling.compiled_forward import OVERDUE_SECONDS
from worker.compiling.shape_counts import ShapeCounts

READY = st.sets(st.sampled_from(batch_buckets.BUCKETS))


@given(rows=st.integers(1, 80), ready=READY)
def test_pieces_serve_every_row_once_with_little_padding_and_few_forwards(rows: int, ready: set[int]) -> None:
    served = pieces(rows, ready)
    if served:
        assert sum(piece.rows for piece in served) == rows
        assert len(served) <= batch_buckets.MAX_PIECES
        assert {piece.bucket for piece in served} <= ready
        assert sum(piece.padding for piece in served) <= rows * batch_buckets.MAX_PADDING


@given(rows=st.sampled_from(batch_buckets.BUCKETS), ready=READY)
def test_a_bucket_that_fits_is_taken_alone(rows: int, ready: set[int]) -> None:
    assert pieces(rows, ready | {rows}) == (Piece(rows, rows),)


def test_five_rows_are_four_and_one_and_seven_are_eight() -> None:
    assert pieces(5) == (Piece(4, 4), Piece(1, 1))
    assert pieces(7) == (Piece(7, 8),)
    assert pieces(5, {8}) == ()
    assert pieces(0) == ()


def test_a_call_is_told_by_shapes_and_constants_but_not_by_values() -> None:
    first = call_signature.signature_of(
        (torch.zeros(4, 3, 8), torch.zeros(4)), {"more": {"ids": torch.zeros(4, 6)}, "flag": False}
    )
    second = call_signature.signature_of(
        (torch.ones(4, 3, 8), torch.ones(4)), {"more": {"ids": torch.ones(4, 6)}, "flag": False}
    )
    third = call_signature.signature_of(
        (torch.ones(4, 3, 9), torch.ones(4)), {"more": {"ids": torch.ones(4, 6)}, "flag": False}
    )
    assert first.shape == second.shape != third.shape
    assert first.rows == 4 and first.batched == (True, True, True)


def test_arguments_come_back_as_they_were_given() -> None:
    args, kwargs = (
        (torch.rand(2, 3), [torch.rand(2), None]),
        {"a": {"b": (torch.rand(5, 3), 1.5)}, "txt_ids": torch.rand(2)},
    )
    call = call_signature.signature_of(args, kwargs)
    assert call.batched == (True, True, False, False)  # txt_ids has no batch axis, whatever its length
    back, named = call_signature.with_tensors(call.shape, call.tensors)
    assert back[0] is args[0] and back[1][0] is args[1][0] and back[1][1] is None
    assert named["a"]["b"][0] is kwargs["a"]["b"][0] and named["a"]["b"][1] == 1.5  # type: ignore[index]


def test_what_has_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        call_signature.signature_of((torch.zeros(1), object()), {})


def test_a_part_of_a_call_repeats_its_last_row_as_padding() -> None:
    call = call_signature.signature_of((torch.arange(5.0)[:, None],), {"img_ids": torch.ones(3)})
    rows, ids = call.part(2, 3, 4)
    assert rows.flatten().tolist() == [2, 3, 4, 4] and ids.tolist() == [1, 1, 1]


def test_the_most_used_shape_comes_first_also_after_a_restart(tmp_path: Path) -> None:
    counts = ShapeCounts(tmp_path / "deep" / "tally.json")
    for shape, times in (("rare", 1), ("often", 5), ("some", 3)):
        for _ in range(times):
            counts.count(8, shape)
    counts.save()
    again = ShapeCounts(tmp_path / "deep" / "tally.json")
    assert (
        again.most_used()
        == counts.most_used()
        == [ShapeRequest(8, "often"), ShapeRequest(8, "some"), ShapeRequest(8, "rare")]
    )


def test_counts_that_cannot_be_read_are_empty(tmp_path: Path) -> None:
    (tmp_path / "tally.json").write_text("{broken")
    assert ShapeCounts(tmp_path / "tally.json").most_used() == []


def test_counts_stay_few() -> None:
    counts = ShapeCounts()
    for number in range(200):
        counts.count(1, str(number))
    assert len(counts.most_used()) == 64


# --- forwards ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ready() -> TracedNetwork:
    """A UNet with code for four rows and for one."""
    with torch.inference_mode():
        return TracedNetwork(unet(), unet_call, joined=True).adopted(4, 1)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize(
    ("rows", "served", "padding"), [(4, 1, 0), (3, 1, 1), (5, 2, 0), (1, 1, 0), (2, 2, 0), (8, 2, 0)]
)
def test_rows_take_compiled_code_and_get_what_the_eager_forward_gives(
    ready: TracedNetwork, rows: int, served: int, padding: int
) -> None:
    ready.served = 0
    out = ready.answer(rows)
    assert torch.allclose(out, ready.expected(rows), atol=1e-5)
    assert (ready.served, ready.forward.padding) == (served, padding)


def test_a_size_that_is_not_ready_is_served_at_once_and_counted(ready: TracedNetwork) -> None:
    ready.served = 0
    args, kwargs = unet_call(4, side=16)
    assert ready.module(*args, **kwargs)[0].shape == (4, 4, 16, 16)
    assert ready.served == 0 and ready.forward.padding == 0
    assert ShapeRequest(4, call_signature.signature_of(args, kwargs).shape) in ready.forward.counts.most_used()


def test_rows_that_no_bucket_serves_well_stay_eager(ready: TracedNetwork) -> None:
    ready.served = 0
    assert torch.equal(ready.answer(16), ready.expected(16))
    assert ready.served == 0


def test_an_adapted_model_is_eager(ready: TracedNetwork) -> None:
    ready.served, ready.forward.plain = 0, False
    try:
        ready.answer(4)
        assert ready.served == 0
        ready.offer(8)
        assert not ready.forward.may_adopt(idle=True)
    finally:
        ready.forward.plain = True
        ready.forward._offers.clear()


def test_a_transformer_takes_code_for_each_kind_of_block() -> None:
    network = TracedNetwork(flux(), flux_call).adopted(2)
    out = network.answer(2)
    assert network.served == 4  # two blocks of each kind
    assert torch.allclose(out, network.expected(2), atol=1e-5)


def test_a_decoder_that_answers_with_one_tensor_keeps_doing_so() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4).eval().requires_grad_(False)
    network = TracedNetwork(vae, lambda rows: ((torch.ones(rows, 4, 8, 8),), {}), part="decoder")
    network.offer(1)
    plain = vae.decode(torch.ones(1, 4, 8, 8)).sample
    assert network.forward.adopt()
    network.served = 0
    assert torch.allclose(vae.decode(torch.ones(1, 4, 8, 8)).sample, plain, atol=1e-5) and network.served == 1


def test_code_that_gives_something_else_never_serves(caplog: pytest.LogCaptureFixture) -> None:
    network = TracedNetwork(unet(), unet_call)
    network.offer(4, spoil=True)
    assert not network.forward.adopt()
    assert "not used" in caplog.text and "differs" in caplog.text
    assert torch.equal(network.answer(4), network.expected(4))


def test_code_waits_for_a_quiet_moment_but_not_for_ever() -> None:
    network = TracedNetwork(unet(), unet_call)
    assert not network.forward.may_adopt(idle=True)
    network.offer(1)
    assert network.forward.may_adopt(idle=True) and not network.forward.may_adopt(idle=False)
    network.clock.now = OVERDUE_SECONDS
    assert network.forward.may_adopt(idle=False)


def test_code_for_weights_that_moved_is_made_ready_anew() -> None:
    network = TracedNetwork(unet(), unet_call, joined=True).adopted(4)
    assert network.answer(4) is not None and network.served == 1
    # As a model that was away and came back, to another place.
    network.module.to("meta").to_empty(device="cpu")
    network.module.load_state_dict({name: value * 1.5 for name, value in unet().state_dict().items()})
    network.served = 0
    assert torch.equal(network.answer(4), network.expected(4)) and network.served == 0
    assert torch.allclose(network.adopted(4).answer(4), network.expected(4), atol=1e-4) and network.served == 1


def test_code_that_fails_while_it_serves_is_dropped_and_nobody_notices(caplog: pytest.LogCaptureFixture) -> None:
    network = TracedNetwork(unet(), unet_call).adopted(4)
    (shape,) = network.forward._ready
    network.forward._ready[shape][4] = lambda tensors: 1 / 0  # type: ignore[assignment, return-value]
    assert torch.equal(network.answer(4), network.expected(4))
    assert "no longer used" in caplog.text and network.forward.padding == 0
    assert network.forward.has(ShapeRequest(4, shape)), "it is not made again"


def test_a_full_memory_is_the_loops_to_mend() -> None:
    network = TracedNetwork(unet(), unet_call).adopted(4)
    (shape,) = network.forward._ready

    def full(tensors: object) -> tuple[torch.Tensor, ...]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    network.forward._ready[shape][4] = full
    with pytest.raises(torch.OutOfMemoryError):
        network.answer(4)


def test_tensors_are_given_as_compactly_as_code_was_made_for_them() -> None:
    call = call_signature.signature_of((torch.zeros(1, 6).expand(4, 6), torch.zeros(3, 4).t()), {})
    assert all(tensor.is_contiguous() for tensor in call.part(0, 4, 4))
