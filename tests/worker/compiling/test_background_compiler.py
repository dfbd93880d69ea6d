"""Compiling behind the loop: the most used size first, once for all starts, in a process that holds up nobody."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from tests.worker.compiling.traced_networks import Kept, Watched, unet, unet_call
from worker.compiling import artifact_store, background_compiler, call_signature, compile_process, tracing
from worker.compiling.background_compiler import Compiler, Quiet, Subject, make_apart
from worker.compiling.shape_counts import Wish
from worker.compiling.tracing import Recipe, trace


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


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


def test_its_thread_works_behind_and_ends_with_the_model(tmp_path: Path) -> None:
    watched, kept, nudged = Watched(unet(), unet_call), Kept(), threading.Event()
    watched.answer(4)
    subject = Subject(watched.forward, watched.recipe)
    made = Compiler(subjects=[subject], root=tmp_path, nudge=nudged.set, make=kept.make, read=kept.read)
    made.start()
    assert nudged.wait(60) and watched.forward.may_adopt(idle=True) and watched.forward.adopt()
    assert torch.allclose(watched.answer(4), watched.expected(4), atol=1e-5)
    stopped = made.quiet.stopped
    del made
    gc.collect()
    assert stopped.wait(60)


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


def spoil(folder: Path, how: str) -> None:
    """As a power cut, a full disk or a newer library leaves a bundle."""
    if how == "no code":
        (folder / "0.bin").unlink()
    elif how == "half a file":
        (folder / artifact_store.SIGNATURES).write_text("[{")
    else:
        (folder / "0.bin").write_text(how)


@pytest.mark.parametrize("how", ["no code", "half a file", "other code"])
def test_a_damaged_bundle_is_tried_once_in_a_start_and_made_anew_in_the_next(tmp_path: Path, how: str) -> None:
    kept, served = Kept(), []
    kept.code["other code"] = lambda *given: [given[0].sum()]
    for life in range(3):
        watched = Watched(unet(), unet_call)
        watched.answer(4)
        thread = compiler(watched, kept, tmp_path, [])
        if life == 1:
            (found,) = tmp_path.glob(f"*/*/{artifact_store.SIGNATURES}")
            spoil(found.parent, how)
        assert thread.turn()
        served.append(watched.forward.may_adopt(idle=True) and watched.forward.adopt())
        assert not thread.turn(), "once is enough"
        assert torch.allclose(watched.answer(4), watched.expected(4), atol=1e-5)
    assert served == [True, False, True] and kept.made == [4, 4]


def test_a_bundle_that_found_no_memory_for_its_trial_is_kept_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    watched, kept = Watched(unet(), unet_call), Kept()
    watched.answer(4)
    compiler(watched, kept, tmp_path, []).turn()
    monkeypatch.setattr(watched.forward, "_tried", full)
    assert not watched.forward.adopt()
    assert len(list(tmp_path.glob(f"*/*/{artifact_store.SIGNATURES}"))) == 1


def test_code_of_other_libraries_is_of_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.of(unet())
    builds = {recipe.build()}
    for name in ("diffusers", "transformers"):
        with monkeypatch.context() as patch:
            patch.setattr(tracing, "version", lambda asked, name=name: "99" if asked == name else version(asked))
            tracing._libraries.cache_clear()
            builds.add(recipe.build())
    tracing._libraries.cache_clear()
    assert len(builds) == 3 and recipe.build() in builds


def test_bundles_that_another_worker_removes_or_makes_meanwhile_stop_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "build" / "one"

    def write(traced: object, path: Path) -> None:
        path.write_text("mine")
        if not folder.exists():
            monkeypatch.setattr(artifact_store, "discard", lambda folder: None)  # it came just after the look
            artifact_store.save(folder, [], lambda *_: None)

    watched = Watched(unet(), unet_call)
    args, kwargs = unet_call(1)
    artifact_store.save(folder, trace(watched.recipe, 1, call_signature.read(args, kwargs).shape), write)
    assert json.loads((folder / artifact_store.SIGNATURES).read_text()) == [], "whose was there first"
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    (tmp_path / "build" / "gone").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(Path, "glob", lambda *_: iter([tmp_path / "build" / "gone" / artifact_store.SIGNATURES]))
    artifact_store.prune(tmp_path)


def test_a_bundle_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, early = tmp_path / "build" / "one", []

    def sync(path: Path) -> None:
        if not folder.exists():
            early.append(path.name)

    monkeypatch.setattr(artifact_store, "_to_disk", sync)
    args, kwargs = unet_call(1)
    traced = trace(Recipe.of(unet()), 1, call_signature.read(args, kwargs).shape)
    artifact_store.save(folder, traced, lambda one, path: path.touch())
    assert {"0.bin", artifact_store.SIGNATURES} < set(early)


def test_only_the_bundles_that_were_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_store, "KEPT", 2)
    for age, name in enumerate(["new", "old", "older"]):
        artifact_store.save(tmp_path / "build" / name, [], lambda *_: None)
        os.utime(tmp_path / "build" / name, (1000 - age, 1000 - age))
    artifact_store.prune(tmp_path)
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["new", "old"]


def test_what_a_killed_compiler_left_is_removed_a_day_later(tmp_path: Path) -> None:
    build = tmp_path / "build"
    for name in (".one.1234abcd", ".two.5678cdef"):
        (build / name).mkdir(parents=True)
    (build / ".one.1234abcd" / "0.bin").touch()
    os.utime(build / ".one.1234abcd", (1000, 1000))
    artifact_store.prune(tmp_path)
    assert [path.name for path in build.iterdir()] == [".two.5678cdef"], "the other one may be at work"


def state(pid: int) -> str:
    """R, S, T (stopped), …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the process's state from /proc")
def test_the_compilers_process_stands_still_while_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_compiler, "_LOOK_SECONDS", 0.01)
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
    background_compiler._watched(process, "an order", quiet, pause=True)
    player.join()
    assert seen[0] == "T" and seen[1] in "SR"
    assert process.returncode == -signal.SIGKILL


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # the compiler's own imports
@pytest.mark.timeout(300)  # alone it takes twenty seconds
@pytest.mark.skipif(not shutil.which("g++"), reason="torch's compiler for the CPU needs a C++ compiler")
def test_a_process_of_its_own_compiles_what_this_one_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    # For this one small layer the compiler need not try out the processor, nor prepare its headers for others.
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "0")
    monkeypatch.setenv("TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS", "0")
    monkeypatch.setattr(background_compiler, "NICE", 0)  # other tests may keep every core busy
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4).eval().requires_grad_(False)
    watched = Watched(vae, lambda rows: ((torch.ones(rows, 4, 2, 2),), {}), part="post_quant_conv")
    wish = Wish(1, call_signature.read((torch.ones(1, 4, 2, 2),), {}).shape)
    folder = artifact_store.place(tmp_path, watched.recipe, wish)
    plain = vae.post_quant_conv(torch.ones(1, 4, 2, 2))
    make_apart(watched.recipe, wish, folder, Quiet())
    watched.forward.offer(wish, artifact_store.load(folder, artifact_store.read_compiled))
    assert watched.forward.adopt()
    assert torch.allclose(vae.post_quant_conv(torch.ones(1, 4, 2, 2)), plain, atol=1e-5)


def test_an_order_that_cannot_be_met_says_why(tmp_path: Path) -> None:
    order = json.loads(compile_process.order(Recipe.of(unet()), Wish(1, "[[], {}]"), tmp_path / "never"))
    with pytest.raises(TypeError, match="sample"):
        compile_process.obey(order)
    assert not (tmp_path / "never").exists()


def test_the_model_that_is_traced_needs_no_memory() -> None:
    recipe = Recipe.of(unet())
    wide = Recipe(
        kind=recipe.kind, config={**recipe.config, "block_out_channels": [4096, 8192], "norm_num_groups": 32},
        dtype="bfloat16", device="cpu", channels_last=True,
    )  # fmt: skip
    inputs = [torch.zeros(2, 4, 8, 8).bfloat16(), torch.zeros(2), torch.zeros(2, 7, 12).bfloat16()]
    (traced,) = trace(
        wide, 2, call_signature.read(inputs, {"return_dict": False}).shape
    )  # 3.9 billion weights, in no memory
    assert traced.signature.region == "" and len(traced.examples) == len(traced.signature.inputs)
