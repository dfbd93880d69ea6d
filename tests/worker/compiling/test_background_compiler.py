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

from tests.worker.compiling.traced_networks import FakeCompiler, TracedNetwork, serve_next, unet, unet_call
from worker.compiling import (
    IdleSignal,
    NetworkSpec,
    ShapeRequest,
    artifact_store,
    background_compiler,
    call_signature,
    compile_process,
    trace,
    tracing,
)
from worker.compiling.background_compiler import BackgroundCompiler, CompileTarget, compile_in_process


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def compiler_of(
    network: TracedNetwork, fake_compiler: FakeCompiler, root: Path, wakes: list[int]
) -> BackgroundCompiler:
    target = CompileTarget(network.forward, network.spec)
    return BackgroundCompiler(
        targets=[target], root=root, wake_loop=lambda: wakes.append(1), make=fake_compiler.make, read=fake_compiler.read
    )


def test_the_most_used_size_is_compiled_first_and_then_the_others(tmp_path: Path) -> None:
    network, fake_compiler, wakes = TracedNetwork(unet(), unet_call), FakeCompiler(), []  # type: ignore[var-annotated]
    for rows in (1, 4, 4, 2, 4, 2):
        network.answer(rows)
    compiler = compiler_of(network, fake_compiler, tmp_path, wakes)
    while serve_next(compiler):
        pass
    assert fake_compiler.made == [4, 2, 1] and len(wakes) == 3
    while network.forward.may_adopt(idle=True):
        assert network.forward.adopt()
    assert torch.allclose(network.answer(4), network.expected(4), atol=1e-5)


def test_its_thread_works_behind_and_ends_with_the_model(tmp_path: Path) -> None:
    network, fake_compiler, woken = TracedNetwork(unet(), unet_call), FakeCompiler(), threading.Event()
    network.answer(4)
    target = CompileTarget(network.forward, network.spec)
    made = BackgroundCompiler(
        targets=[target], root=tmp_path, wake_loop=woken.set, make=fake_compiler.make, read=fake_compiler.read
    )
    made.start()
    assert woken.wait(60) and network.forward.may_adopt(idle=True) and network.forward.adopt()
    assert torch.allclose(network.answer(4), network.expected(4), atol=1e-5)
    stopped = made.idle_signal.stopped
    del made
    gc.collect()
    assert stopped.wait(60)


def test_what_was_compiled_is_not_compiled_again_after_a_restart(tmp_path: Path) -> None:
    fake_compiler = FakeCompiler()
    for life in range(2):
        network = TracedNetwork(unet(), unet_call)
        network.answer(4)
        compiler = compiler_of(network, fake_compiler, tmp_path, [])
        assert serve_next(compiler) and not serve_next(compiler)
        assert network.forward.adopt(), life
    assert fake_compiler.made == [4]


def test_a_compiler_that_fails_is_told_of_once_and_eager_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network, fake_compiler = TracedNetwork(unet(), unet_call), FakeCompiler(fail=True)
    compiler = compiler_of(network, fake_compiler, tmp_path, [])
    for _ in range(3):
        network.answer(4)
        serve_next(compiler)
    assert fake_compiler.made == [4]
    assert caplog.text.count("no such instruction") == 1
    assert torch.equal(network.answer(4), network.expected(4))
    assert not list(tmp_path.glob("*/.*")), "nothing half made stays behind"


def spoil(folder: Path, how: str) -> None:
    """As a power cut, a full disk or a newer library leaves an artifact."""
    if how == "no code":
        (folder / "0.bin").unlink()
    elif how == "half a file":
        (folder / artifact_store.SIGNATURES).write_text("[{")
    else:
        (folder / "0.bin").write_text(how)


@pytest.mark.parametrize("how", ["no code", "half a file", "other code"])
def test_a_damaged_artifact_is_tried_once_in_a_start_and_made_anew_in_the_next(tmp_path: Path, how: str) -> None:
    fake_compiler, served = FakeCompiler(), []
    fake_compiler.code["other code"] = lambda *given: [given[0].sum()]
    for life in range(3):
        network = TracedNetwork(unet(), unet_call)
        network.answer(4)
        compiler = compiler_of(network, fake_compiler, tmp_path, [])
        if life == 1:
            (found,) = tmp_path.glob(f"*/*/{artifact_store.SIGNATURES}")
            spoil(found.parent, how)
        assert serve_next(compiler)
        served.append(network.forward.may_adopt(idle=True) and network.forward.adopt())
        assert not serve_next(compiler), "once is enough"
        assert torch.allclose(network.answer(4), network.expected(4), atol=1e-5)
    assert served == [True, False, True] and fake_compiler.made == [4, 4]


def test_an_artifact_that_found_no_memory_for_its_trial_is_kept_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    network, fake_compiler = TracedNetwork(unet(), unet_call), FakeCompiler()
    network.answer(4)
    serve_next(compiler_of(network, fake_compiler, tmp_path, []))
    monkeypatch.setattr(network.forward, "_verified", full)
    assert not network.forward.adopt()
    assert len(list(tmp_path.glob(f"*/*/{artifact_store.SIGNATURES}"))) == 1


def test_code_of_other_libraries_is_of_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = NetworkSpec.of(unet())
    builds = {spec.fingerprint()}
    for name in ("diffusers", "transformers"):
        with monkeypatch.context() as patch:
            patch.setattr(tracing, "version", lambda asked, name=name: "99" if asked == name else version(asked))
            tracing._libraries.cache_clear()
            builds.add(spec.fingerprint())
    tracing._libraries.cache_clear()
    assert len(builds) == 3 and spec.fingerprint() in builds


def test_artifacts_that_another_worker_removes_or_makes_meanwhile_stop_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "build" / "one"

    def write(traced: object, path: Path) -> None:
        path.write_text("mine")
        if not folder.exists():
            monkeypatch.setattr(artifact_store, "discard", lambda folder: None)  # it came just after the look
            artifact_store.save(folder, [], lambda *_: None)

    network = TracedNetwork(unet(), unet_call)
    args, kwargs = unet_call(1)
    artifact_store.save(folder, trace(network.spec, 1, call_signature.signature_of(args, kwargs).shape), write)
    assert json.loads((folder / artifact_store.SIGNATURES).read_text()) == [], "whose was there first"
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    (tmp_path / "build" / "gone").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(Path, "glob", lambda *_: iter([tmp_path / "build" / "gone" / artifact_store.SIGNATURES]))
    artifact_store.prune(tmp_path)


def test_an_artifact_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, early = tmp_path / "build" / "one", []

    def sync(path: Path) -> None:
        if not folder.exists():
            early.append(path.name)

    monkeypatch.setattr(artifact_store, "sync", sync)
    args, kwargs = unet_call(1)
    traced = trace(NetworkSpec.of(unet()), 1, call_signature.signature_of(args, kwargs).shape)
    artifact_store.save(folder, traced, lambda one, path: path.touch())
    assert {"0.bin", artifact_store.SIGNATURES} < set(early)


def test_only_the_artifacts_that_were_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_store, "MAX_ARTIFACTS", 2)
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
    monkeypatch.setattr(background_compiler, "_POLL_SECONDS", 0.01)
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(60)"], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    idle = threading.Event()
    idle_signal = IdleSignal(idle)
    seen: list[str] = []

    def until(letters: str) -> None:
        for _ in range(2000):
            if state(process.pid) in letters:
                seen.append(state(process.pid))
                return
            time.sleep(0.005)

    def play() -> None:
        until("T")
        idle.set()
        until("SR")
        idle_signal.stopped.set()

    player = threading.Thread(target=play)
    player.start()
    background_compiler._run_compiler(process, "an order", idle_signal, pause=True)
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
    network = TracedNetwork(vae, lambda rows: ((torch.ones(rows, 4, 2, 2),), {}), part="post_quant_conv")
    request = ShapeRequest(1, call_signature.signature_of((torch.ones(1, 4, 2, 2),), {}).shape)
    folder = artifact_store.artifact_folder(tmp_path, network.spec, request)
    plain = vae.post_quant_conv(torch.ones(1, 4, 2, 2))
    compile_in_process(network.spec, request, folder, IdleSignal())
    network.forward.offer(request, artifact_store.load(folder, artifact_store.read_compiled))
    assert network.forward.adopt()
    assert torch.allclose(vae.post_quant_conv(torch.ones(1, 4, 2, 2)), plain, atol=1e-5)


def test_an_order_that_cannot_be_met_says_why(tmp_path: Path) -> None:
    order = json.loads(
        compile_process.encode_order(NetworkSpec.of(unet()), ShapeRequest(1, "[[], {}]"), tmp_path / "never")
    )
    with pytest.raises(TypeError, match="sample"):
        compile_process.run_order(order)
    assert not (tmp_path / "never").exists()


def test_the_model_that_is_traced_needs_no_memory() -> None:
    spec = NetworkSpec.of(unet())
    wide = NetworkSpec(
        kind=spec.kind, config={**spec.config, "block_out_channels": [4096, 8192], "norm_num_groups": 32},
        dtype="bfloat16", device="cpu", channels_last=True,
    )  # fmt: skip
    inputs = [torch.zeros(2, 4, 8, 8).bfloat16(), torch.zeros(2), torch.zeros(2, 7, 12).bfloat16()]
    (traced,) = trace(
        wide, 2, call_signature.signature_of(inputs, {"return_dict": False}).shape
    )  # 3.9 billion weights, in no memory
    assert traced.signature.region == "" and len(traced.examples) == len(traced.signature.inputs)
