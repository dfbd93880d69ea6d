"""The worker as a process: dials, proves its key, loads, works, and goes when it is no longer wanted."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from core.events import (
    PHASE_DEADLINE_SECONDS,
    Cancel,
    Cancelled,
    Catalogue,
    Done,
    Failed,
    Heartbeat,
    LoadFailed,
    ModelPlace,
    Models,
    Phase,
    Picture,
    Progress,
    Ready,
    Shutdown,
    Started,
)
from tests.worker.bot_server import KEY, USUAL, Door, Visit, environment, submit, worker
from tests.worker.checkpoint import make
from tests.worker.engine_driver import pixels, request
from tests.worker.forked_workers import Forked, Nursery
from worker.__main__ import main

Fork = Callable[..., AbstractContextManager[Forked]]


@pytest.fixture
def door() -> Iterator[Door]:
    """For a worker of this test's own."""
    door = Door()
    yield door
    door.close()


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fork]:
    """Starts workers that need not import their libraries: `with fork(*arguments, module=…, key=…) as process`."""
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))

    @contextmanager
    def started(*arguments: str, module: str = "worker", **how: str) -> Iterator[Forked]:
        process = nursery.bear(module, (*USUAL, *arguments), environment(**how))
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(60)

    yield started
    nursery.close()


@pytest.fixture(scope="module")
def far(folder: Path, fork: Fork) -> Iterator[tuple[Door, Forked]]:
    """A worker that dials again whenever a test has ended its visit, and its door."""
    door = Door()
    with fork("--connect", door.address, "--model", str(folder), module="tests.worker.faulty_worker") as process:
        yield door, process
    door.close()


@pytest.fixture
def visit(far: tuple[Door, Forked]) -> Iterator[Visit]:
    """A fresh connection of that worker, past its loading."""
    visit = far[0].visit()
    visit.welcome()
    visit.hear(Ready)
    yield visit
    visit.close()


def test_a_worker_dials_loads_and_renders_a_grid(door: Door, folder: Path) -> None:
    with worker("--connect", door.address, "--local", "--model", str(folder)) as process:
        visit = door.visit()
        hello = visit.welcome()
        assert hello.pid == process.pid and hello.device == "cpu" and hello.max_rows == 8
        visit.say(submit("early", request(count=1, steps=2)))  # before the model is there: it waits
        ready = visit.hear(Ready)
        assert ready.model.name == "tiny" and ready.model.native == 64 and ready.load_ms > 0
        visit.hear(Done, lambda done: done.job == "early")
        visit.say(submit("long", request(steps=900)))  # previews are made beside the steps: they may come late
        assert visit.hear(Progress, lambda event: bool(event.preview)).steps == 900
        visit.say(Cancel(job="long", attempt=1))
        visit.say(submit("a", request(count=4)))
        started = visit.hear(Started, lambda event: event.job == "a")
        assert started.made_with.digest == ready.model.digest
        done = visit.hear(Done, lambda event: event.job == "a")
        assert done.gpu_ms > 0
        made = [message for message in visit.all if isinstance(message, Picture) and message.job == "a"]
        assert sorted(picture.index for picture in made) == [0, 1, 2, 3]
        assert all(pixels(picture.png).shape == (64, 64, 3) for picture in made)
        visit.say(Shutdown())
        assert process.wait(60) == 0


def test_a_worker_loads_what_the_catalogue_has_when_a_request_names_it(
    door: Door, folder: Path, tmp_path: Path, fork: Fork
) -> None:
    other = make(tmp_path / "other", seed=5)
    with fork("--connect", door.address, "--local", "--model", str(folder)):
        visit = door.visit()
        visit.welcome()
        places = (ModelPlace(name="my own", where=str(folder)), ModelPlace(name="second", where=str(other), steps=3))
        visit.say(Catalogue(default="my own", models=places))
        visit.say(submit("a", request(model="second", steps=2)))
        visit.say(submit("b", request(model="my own", steps=2)))
        visit.say(submit("c", request(model="third", steps=2)))
        ready = visit.hear(Ready)
        assert ready.model.name == "my own", "as the catalogue calls it, not as its folder"
        ends = visit.last_words("a", "b", "c")
        assert isinstance(ends["a"], Done) and isinstance(ends["b"], Done)
        assert isinstance(ends["c"], Failed)
        assert ends["c"].sentence.startswith("The model `third` could not be loaded.")
        made = {message.job: message.made_with.model for message in visit.all if isinstance(message, Started)}
        assert made == {"a": "second", "b": "my own"}
        told = [message for message in visit.all if isinstance(message, Models)]
        assert set(told[-1].loaded) == {"my own", "second"}
        assert {info.name: info.steps for info in told[-1].known}["second"] == 3


def test_a_worker_that_was_started_with_a_catalogues_name_waits_for_the_catalogue(
    door: Door, folder: Path, fork: Fork
) -> None:
    with fork("--connect", door.address, "--local", "--model", "mine"):
        visit = door.visit()
        visit.welcome()
        visit.say(Catalogue(default="mine", models=(ModelPlace(name="mine", where=str(folder), steps=3),)))
        ready = visit.hear(Ready)
        assert (ready.model.name, ready.model.steps) == ("mine", 3)


def test_a_worker_with_the_wrong_key_is_refused_and_says_so(door: Door, folder: Path, fork: Fork) -> None:
    with fork("--connect", door.address, "--local", "--model", str(folder), key="wrong") as process:
        visit = door.visit()
        with pytest.raises(AssertionError):
            visit.welcome()
        visit.close()
        assert process.wait(60) == 1
        assert "DARKROOM_WORKER_KEY" in process.said


def test_a_local_worker_exits_when_its_connection_ends(door: Door, folder: Path, fork: Fork) -> None:
    with fork("--connect", door.address, "--local", "--model", str(folder)) as process:
        visit = door.visit()
        visit.welcome()
        visit.hear(Ready)
        visit.close()
        assert process.wait(60) == 0


def test_a_running_job_is_cancelled_over_the_wire(visit: Visit) -> None:
    visit.say(submit("a", request(steps=900)))
    visit.hear(Progress)
    visit.say(Cancel(job="a", attempt=1))
    assert visit.hear(Cancelled).gpu_ms > 0


def test_a_worker_dials_again_drops_its_jobs_and_does_not_load_again(visit: Visit, far: tuple[Door, Forked]) -> None:
    visit.say(submit("a", request(steps=900)))
    visit.hear(Progress)
    visit.close()
    again = far[0].visit()
    hello = again.welcome()
    assert hello.pid == far[1].pid
    again.hear(Ready)
    again.hear(Heartbeat, lambda beat: beat.jobs == () and beat.phase is Phase.IDLE)
    again.say(submit("a", request(steps=2), attempt=2))
    assert again.hear(Done).attempt == 2
    again.close()


def test_a_worker_leaves_the_bot_its_share(door: Door, folder: Path, fork: Fork) -> None:
    with fork("--connect", door.address, "--local", "--model", str(folder), "--nice", "7") as process:
        door.visit().welcome()
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 7


def test_the_heart_beats_while_the_loop_hangs_and_says_who_was_computed(visit: Visit, far: tuple[Door, Forked]) -> None:
    """The last test of this worker: it hangs for good, and still goes at once when it is told to."""
    visit.say(submit("bad", request(prompt="hang", count=1)))
    first = visit.hear(Heartbeat, lambda beat: beat.phase is Phase.STEPPING and beat.computing == ("bad",))
    second = visit.hear(Heartbeat, lambda beat: beat.phase_seconds > first.phase_seconds)
    assert second.phase is Phase.STEPPING and second.computing == ("bad",) and second.jobs == (("bad", 1),)
    far[1].send_signal(signal.SIGTERM)
    assert far[1].wait(5) == 0


def test_a_slow_load_is_not_a_hang(door: Door, folder: Path, tmp_path: Path, fork: Fork) -> None:
    arguments = ("--connect", door.address, "--local", "--model", str(folder))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with fork(*arguments, module="tests.worker.faulty_worker", FAULT_LOAD_WAITS=str(gate)):
        visit = door.visit()
        visit.welcome()
        # The heart may have beaten before the load began, but from then on it says so at every beat.
        visit.hear(Heartbeat, lambda beat: beat.phase is Phase.LOADING)
        assert visit.hear(Heartbeat).phase is Phase.LOADING
        assert PHASE_DEADLINE_SECONDS[Phase.LOADING] > 10 * PHASE_DEADLINE_SECONDS[Phase.STEPPING]
        gate.write_bytes(b"go on")
        visit.hear(Ready)


def test_a_job_that_kills_its_worker_ends_the_connection_at_once(door: Door, folder: Path, fork: Fork) -> None:
    with fork(
        "--connect", door.address, "--local", "--model", str(folder), module="tests.worker.faulty_worker"
    ) as process:
        visit = door.visit()
        visit.welcome()
        visit.say(submit("bad", request(prompt="die", count=1)))
        visit.ended()
        assert process.wait(60) == -signal.SIGKILL


def test_a_model_that_is_not_there_is_said_with_its_cure(door: Door, tmp_path: Path, fork: Fork) -> None:
    with fork("--connect", door.address, "--local", "--model", str(tmp_path / "nowhere")) as process:
        visit = door.visit()
        visit.welcome()
        assert "DARKROOM_MODEL" in visit.hear(LoadFailed).sentence
        assert process.wait(60) == 78


def test_a_local_worker_dies_with_its_parent(door: Door, folder: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'worker', *sys.argv[1:]])\n"
        "print(child.pid, flush=True)\nchild.wait()\n"
    )
    arguments = ["--connect", door.address, "--local", "--model", str(folder)]
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True) as parent:
        visit: Visit = door.visit()
        visit.welcome()
        parent.kill()
        visit.ended()


def test_a_local_worker_whose_bot_died_before_it_was_awake_does_not_dial(door: Door, folder: Path, fork: Fork) -> None:
    arguments = ("--connect", door.address, "--local", "--model", str(folder))
    with fork(*arguments, BOT_PID="1") as process:
        assert process.wait(60) == 0


@pytest.mark.parametrize("address", ["", "nowhere", "unix:", "host:port", "host:99999"])
def test_a_wrong_address_is_said_before_anything_is_loaded(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DARKROOM_WORKER_KEY", KEY)
    monkeypatch.setattr("worker.main.serve", lambda settings: pytest.fail("it began"))
    assert main(["--connect", address]) == 78
    assert "unix:PATH" in capsys.readouterr().err
