"""Compiled forwards: they serve only what is ready, give what the eager forward gives, and never stand in its way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from worker import ahead, buckets, bundles, compiling, shapes
from worker.buckets import Piece, pieces
from worker.compiling import CompileFailed, Compiler, Quiet, Subject, make_apart
from worker.forward import OVERDUE_SECONDS, Forward
from worker.tally import Tally, Wish
from worker.tracing import Recipe, trace

READY = st.sets(st.sampled_from(buckets.BUCKETS))


@given(rows=st.integers(1, 80), ready=READY)
def test_pieces_serve_every_row_once_with_little_padding_and_few_forwards(rows: int, ready: set[int]) -> None:
    served = pieces(rows, ready)
    if served:
        assert sum(piece.rows for piece in served) == rows
        assert len(served) <= buckets.MOST_PIECES
        assert {piece.bucket for piece in served} <= ready
        assert sum(piece.padding for piece in served) <= rows * buckets.WASTE


@given(rows=st.sampled_from(buckets.BUCKETS), ready=READY)
def test_a_bucket_that_fits_is_taken_alone(rows: int, ready: set[int]) -> None:
    assert pieces(rows, ready | {rows}) == (Piece(rows, rows),)


def test_five_rows_are_four_and_one_and_seven_are_eight() -> None:
    assert pieces(5) == (Piece(4, 4), Piece(1, 1))
    assert pieces(7) == (Piece(7, 8),)
    assert pieces(5, {8}) == ()
    assert pieces(0) == ()


def test_a_call_is_told_by_shapes_and_constants_but_not_by_values() -> None:
    first = shapes.read((torch.zeros(4, 3, 8), torch.zeros(4)), {"more": {"ids": torch.zeros(4, 6)}, "flag": False})
    second = shapes.read((torch.ones(4, 3, 8), torch.ones(4)), {"more": {"ids": torch.ones(4, 6)}, "flag": False})
    third = shapes.read((torch.ones(4, 3, 9), torch.ones(4)), {"more": {"ids": torch.ones(4, 6)}, "flag": False})
    assert first.shape == second.shape != third.shape
    assert first.rows == 4 and first.batched == (True, True, True)


def test_arguments_come_back_as_they_were_given() -> None:
    args, kwargs = (
        (torch.rand(2, 3), [torch.rand(2), None]),
        {"a": {"b": (torch.rand(5, 3), 1.5)}, "txt_ids": torch.rand(2)},
    )
    call = shapes.read(args, kwargs)
    assert call.batched == (True, True, False, False)  # txt_ids has no batch axis, whatever its length
    back, named = shapes.with_tensors(call.shape, call.tensors)
    assert back[0] is args[0] and back[1][0] is args[1][0] and back[1][1] is None
    assert named["a"]["b"][0] is kwargs["a"]["b"][0] and named["a"]["b"][1] == 1.5  # type: ignore[index]


def test_what_has_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        shapes.read((torch.zeros(1), object()), {})


def test_a_part_of_a_call_repeats_its_last_row_as_padding() -> None:
    call = shapes.read((torch.arange(5.0)[:, None],), {"img_ids": torch.ones(3)})
    rows, ids = call.part(2, 3, 4)
    assert rows.flatten().tolist() == [2, 3, 4, 4] and ids.tolist() == [1, 1, 1]


def test_the_most_used_shape_comes_first_also_after_a_restart(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "deep" / "tally.json")
    for shape, times in (("rare", 1), ("often", 5), ("some", 3)):
        for _ in range(times):
            tally.count(8, shape)
    tally.save()
    again = Tally(tmp_path / "deep" / "tally.json")
    assert again.wishes() == tally.wishes() == [Wish(8, "often"), Wish(8, "some"), Wish(8, "rare")]


def test_a_tally_that_cannot_be_read_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "tally.json").write_text("{broken")
    assert Tally(tmp_path / "tally.json").wishes() == []


def test_a_tally_stays_small() -> None:
    tally = Tally()
    for number in range(200):
        tally.count(1, str(number))
    assert len(tally.wishes()) == 64


# --- forwards ------------------------------------------------------------------------------------------------------


def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return (
        UNet2DConditionModel(
            sample_size=8, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4, cross_attention_dim=12,
            attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )
        .eval().requires_grad_(False).to(memory_format=torch.channels_last)
    )  # fmt: skip


def flux() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        in_channels=8, num_layers=2, num_single_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=12, pooled_projection_dim=10, axes_dims_rope=(2, 2, 4),
    ).eval().requires_grad_(False)  # fmt: skip


def unet_call(rows: int, side: int = 8) -> tuple[tuple[Any, ...], dict[str, Any]]:
    torch.manual_seed(rows)
    return (torch.randn(rows, 4, side, side), torch.full((rows,), 400.0), torch.randn(rows, 7, 12)), {
        "return_dict": False
    }


def flux_call(rows: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    torch.manual_seed(rows)
    return (), {
        "hidden_states": torch.randn(rows, 16, 8), "encoder_hidden_states": torch.randn(rows, 5, 12),
        "pooled_projections": torch.randn(rows, 10), "timestep": torch.full((rows,), 0.4), "img_ids": torch.rand(16, 3),
        "txt_ids": torch.zeros(5, 3), "return_dict": False,
    }  # fmt: skip


class Clock:
    """Stands where it was put."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A model with its forward, and code for it that counts its own calls."""

    def __init__(self, module: Any, call: Any, *, joined: bool = False, part: str = "") -> None:
        self.module, self.call, self.clock = module, call, Clock()
        self.recipe = Recipe.of(module, part, joined=joined)
        self.served = 0
        self.forward = Forward(module.get_submodule(part), Tally(), clock=self.clock)

    def offer(self, bucket: int, *, spoil: bool = False) -> None:
        """Traced graphs in the place of compiled code: the same signature, no compiler."""
        args, kwargs = self.call(bucket)
        wish = Wish(bucket, shapes.read(args, kwargs).shape)

        def code(graph: Any) -> Any:
            def run(*given: Tensor) -> Any:
                self.served += 1
                return [out + 1 for out in graph(*given)] if spoil else graph(*given)

            return run

        self.forward.offer(wish, [(one.signature, code(one.graph)) for one in trace(self.recipe, bucket, wish.shape)])

    def adopted(self, *sizes: int) -> "Watched":
        """With code for these buckets in use."""
        for bucket in sizes:
            self.offer(bucket)
            assert self.forward.adopt()
        self.served = 0
        return self

    def answer(self, rows: int) -> Tensor:
        args, kwargs = self.call(rows)
        return self.module(*args, **kwargs)[0]

    def expected(self, rows: int) -> Tensor:
        """As the model answers by itself."""
        args, kwargs = self.call(rows)
        out: Tensor = self.forward._eager(*args, **kwargs)[0]
        return out


@pytest.fixture(scope="module")
def ready() -> Watched:
    """A UNet with code for four rows and for one."""
    with torch.inference_mode():
        return Watched(unet(), unet_call, joined=True).adopted(4, 1)


@pytest.fixture(autouse=True)
def inference() -> Any:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize(
    ("rows", "served", "padding"), [(4, 1, 0), (3, 1, 1), (5, 2, 0), (1, 1, 0), (2, 2, 0), (8, 2, 0)]
)
def test_rows_take_compiled_code_and_get_what_the_eager_forward_gives(
    ready: Watched, rows: int, served: int, padding: int
) -> None:
    ready.served = 0
    out = ready.answer(rows)
    assert torch.allclose(out, ready.expected(rows), atol=1e-5)
    assert (ready.served, ready.forward.padding, ready.forward.rows) == (served, padding, rows + padding)


def test_a_size_that_is_not_ready_is_served_at_once_and_counted(ready: Watched) -> None:
    ready.served = 0
    args, kwargs = unet_call(4, side=16)
    assert ready.module(*args, **kwargs)[0].shape == (4, 4, 16, 16)
    assert ready.served == 0 and ready.forward.padding == 0
    assert Wish(4, shapes.read(args, kwargs).shape) in ready.forward.tally.wishes()


def test_rows_that_no_bucket_serves_well_stay_eager(ready: Watched) -> None:
    ready.served = 0
    assert torch.equal(ready.answer(16), ready.expected(16))
    assert ready.served == 0


def test_an_adapted_model_is_eager(ready: Watched) -> None:
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
    watched = Watched(flux(), flux_call).adopted(2)
    out = watched.answer(2)
    assert watched.served == 4  # two blocks of each kind
    assert torch.allclose(out, watched.expected(2), atol=1e-5)


def test_a_decoder_that_answers_with_one_tensor_keeps_doing_so() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4).eval().requires_grad_(False)
    watched = Watched(vae, lambda rows: ((torch.ones(rows, 4, 8, 8),), {}), part="decoder")
    watched.offer(1)
    plain = vae.decode(torch.ones(1, 4, 8, 8)).sample
    assert watched.forward.adopt()
    watched.served = 0
    assert torch.allclose(vae.decode(torch.ones(1, 4, 8, 8)).sample, plain, atol=1e-5) and watched.served == 1


def test_code_that_gives_something_else_never_serves(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(unet(), unet_call)
    watched.offer(4, spoil=True)
    assert not watched.forward.adopt()
    assert "not used" in caplog.text and "differs" in caplog.text
    assert torch.equal(watched.answer(4), watched.expected(4))


def test_code_waits_for_a_quiet_moment_but_not_for_ever() -> None:
    watched = Watched(unet(), unet_call)
    assert not watched.forward.may_adopt(idle=True)
    watched.offer(1)
    assert watched.forward.may_adopt(idle=True) and not watched.forward.may_adopt(idle=False)
    watched.clock.now = OVERDUE_SECONDS
    assert watched.forward.may_adopt(idle=False)


# --- the thread ----------------------------------------------------------------------------------------------------


class Kept:
    """A compiler for tests: graphs in memory, an empty file on disk."""

    def __init__(self, fail: bool = False) -> None:
        self.made: list[int] = []
        self.fail = fail
        self.code: dict[str, Any] = {}

    def make(self, recipe: Recipe, wish: Wish, folder: Path, quiet: Quiet) -> None:
        self.made.append(wish.bucket)
        if self.fail:
            raise CompileFailed("no such instruction")
        bundles.save(folder, trace(recipe, wish.bucket, wish.shape), self._write)

    def _write(self, traced: Any, path: Path) -> None:
        name = str(len(self.code))
        self.code[name] = traced.graph
        path.write_text(name)

    def read(self, path: Path) -> Any:
        return self.code[path.read_text()]


def compiler(watched: Watched, kept: Kept, root: Path, nudges: list[int]) -> Compiler:
    subject = Subject(watched.forward, watched.recipe)
    return Compiler(subjects=[subject], root=root, nudge=lambda: nudges.append(1), make=kept.make, read=kept.read)


def test_the_most_used_size_is_compiled_first_and_then_the_others(tmp_path: Path) -> None:
    watched, kept, nudges = Watched(unet(), unet_call), Kept(), []  # type: ignore[var-annotated]
    for rows in (1, 4, 4, 2, 4, 2):
        watched.answer(rows)
    thread = compiler(watched, kept, tmp_path, nudges)
    while thread.turn():
        pass
    assert kept.made == [4, 2, 1] and len(nudges) == 3
    while watched.forward.may_adopt(idle=True):
        assert watched.forward.adopt()
    assert torch.allclose(watched.answer(4), watched.expected(4), atol=1e-5)


def test_what_was_compiled_is_not_compiled_again_after_a_restart(tmp_path: Path) -> None:
    kept = Kept()
    for life in range(2):
        watched = Watched(unet(), unet_call)
        watched.answer(4)
        thread = compiler(watched, kept, tmp_path, [])
        assert thread.turn() and not thread.turn()
        assert watched.forward.adopt(), life
    assert kept.made == [4]


def test_a_compiler_that_fails_is_told_of_once_and_eager_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched, kept = Watched(unet(), unet_call), Kept(fail=True)
    thread = compiler(watched, kept, tmp_path, [])
    for _ in range(3):
        watched.answer(4)
        thread.turn()
    assert kept.made == [4]
    assert caplog.text.count("no such instruction") == 1
    assert torch.equal(watched.answer(4), watched.expected(4))
    assert not list(tmp_path.glob("*/.*")), "nothing half made stays behind"


def test_only_the_bundles_that_were_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "KEPT", 2)
    for age, name in enumerate(["new", "old", "older"]):
        bundles.save(tmp_path / "build" / name, [], lambda *_: None)
        os.utime(tmp_path / "build" / name, (1000 - age, 1000 - age))
    bundles.prune(tmp_path)
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["new", "old"]


def state(pid: int) -> str:
    """R, S, T (stopped), …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the process's state from /proc")
def test_the_compilers_process_stands_still_while_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_LOOK_SECONDS", 0.01)
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(60)"], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    quiet = Quiet()
    quiet.tell(idle=False)
    seen: list[str] = []

    def until(letters: str) -> None:
        for _ in range(2000):
            if state(process.pid) in letters:
                seen.append(state(process.pid))
                return
            time.sleep(0.005)

    def play() -> None:
        until("T")
        quiet.tell(idle=True)
        until("SR")
        quiet.stopped.set()

    player = threading.Thread(target=play)
    player.start()
    compiling._watched(process, "an order", quiet, pause=True)
    player.join()
    assert seen[0] == "T" and seen[1] in "SR"
    assert process.returncode == -signal.SIGKILL


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # the compiler's own imports
@pytest.mark.skipif(not shutil.which("g++"), reason="torch's compiler for the CPU needs a C++ compiler")
def test_a_process_of_its_own_compiles_what_this_one_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setattr(compiling, "NICE", 0)  # other tests may keep every core busy
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4).eval().requires_grad_(False)
    watched = Watched(vae, lambda rows: ((torch.ones(rows, 4, 2, 2),), {}), part="post_quant_conv")
    wish = Wish(1, shapes.read((torch.ones(1, 4, 2, 2),), {}).shape)
    folder = bundles.place(tmp_path, watched.recipe, wish)
    plain = vae.post_quant_conv(torch.ones(1, 4, 2, 2))
    make_apart(watched.recipe, wish, folder, Quiet())
    watched.forward.offer(wish, bundles.load(folder, bundles.read_compiled))
    assert watched.forward.adopt()
    assert torch.allclose(vae.post_quant_conv(torch.ones(1, 4, 2, 2)), plain, atol=1e-5)


def test_an_order_that_cannot_be_met_says_why(tmp_path: Path) -> None:
    order = json.loads(ahead.order(Recipe.of(unet()), Wish(1, "[[], {}]"), tmp_path / "never"))
    with pytest.raises(TypeError, match="sample"):
        ahead.obey(order)
    assert not (tmp_path / "never").exists()


def test_the_model_that_is_traced_needs_no_memory() -> None:
    recipe = Recipe.of(unet())
    wide = Recipe(
        kind=recipe.kind, config={**recipe.config, "block_out_channels": [4096, 8192], "norm_num_groups": 32},
        dtype="bfloat16", device="cpu", channels_last=True,
    )  # fmt: skip
    inputs = [torch.zeros(2, 4, 8, 8).bfloat16(), torch.zeros(2), torch.zeros(2, 7, 12).bfloat16()]
    (traced,) = trace(wide, 2, shapes.read(inputs, {"return_dict": False}).shape)  # 3.9 billion weights, in no memory
    assert traced.signature.region == "" and len(traced.examples) == len(traced.signature.inputs)
