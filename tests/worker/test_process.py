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
from tests.worker.bot_server import KEY, USUAL, BotServer, WorkerConnection, environment, submit, worker
from tests.worker.checkpoint import make
from tests.worker.engine_driver import pixels, request
from tests.worker.forked_workers import ForkedProcess, ForkServer
from worker.__main__ import main

Fork = Callable[..., AbstractContextManager[ForkedProcess]]


@pytest.fixture
def server() -> Iterator[BotServer]:
    """For a worker of this test's own."""
    server = BotServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fork]:
    """Starts workers that need not import their libraries: `with fork(*arguments, module=…, key=…) as process`."""
    fork_server = ForkServer(tmp_path_factory.mktemp("fork_server"))

    @contextmanager
    def started(*arguments: str, module: str = "worker", **how: str) -> Iterator[ForkedProcess]:
        process = fork_server.start(module, (*USUAL, *arguments), environment(**how))
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(60)

    yield started
    fork_server.close()


@pytest.fixture(scope="module")
def reconnecting(folder: Path, fork: Fork) -> Iterator[tuple[BotServer, ForkedProcess]]:
    """A worker that dials again whenever a test has ended its connection, and its bot."""
    server = BotServer()
    with fork("--connect", server.address, "--model", str(folder), module="tests.worker.faulty_worker") as process:
        yield server, process
    server.close()


@pytest.fixture
def connection(reconnecting: tuple[BotServer, ForkedProcess]) -> Iterator[WorkerConnection]:
    """A fresh connection of that worker, past its loading."""
    connection = reconnecting[0].accept()
    connection.welcome()
    connection.receive(Ready)
    yield connection
    connection.close()


def test_a_worker_dials_loads_and_renders_a_grid(server: BotServer, folder: Path) -> None:
    with worker("--connect", server.address, "--local", "--model", str(folder)) as process:
        connection = server.accept()
        hello = connection.welcome()
        assert hello.pid == process.pid and hello.device == "cpu" and hello.max_rows == 8
        connection.send(submit("early", request(count=1, steps=2)))  # before the model is there: it waits
        ready = connection.receive(Ready)
        assert ready.model.name == "tiny" and ready.model.native == 64 and ready.load_ms > 0
        connection.receive(Done, lambda done: done.job == "early")
        connection.send(submit("long", request(steps=900)))  # previews are made beside the steps: they may come late
        assert connection.receive(Progress, lambda event: bool(event.preview)).steps == 900
        connection.send(Cancel(job="long", attempt=1))
        connection.send(submit("a", request(count=4)))
        started = connection.receive(Started, lambda event: event.job == "a")
        assert started.made_with.digest == ready.model.digest
        done = connection.receive(Done, lambda event: event.job == "a")
        assert done.gpu_ms > 0
        made = [message for message in connection.all if isinstance(message, Picture) and message.job == "a"]
        assert sorted(picture.index for picture in made) == [0, 1, 2, 3]
        assert all(pixels(picture.png).shape == (64, 64, 3) for picture in made)
        connection.send(Shutdown())
        assert process.wait(60) == 0


def test_a_worker_loads_what_the_catalogue_has_when_a_request_names_it(
    server: BotServer, folder: Path, tmp_path: Path, fork: Fork
) -> None:
    other = make(tmp_path / "other", seed=5)
    with fork("--connect", server.address, "--local", "--model", str(folder)):
        connection = server.accept()
        connection.welcome()
        places = (ModelPlace(name="my-own", where=str(folder)), ModelPlace(name="second", where=str(other), steps=3))
        connection.send(Catalogue(default="my-own", models=places))
        connection.send(submit("a", request(model="second", steps=2)))
        connection.send(submit("b", request(model="my-own", steps=2)))
        connection.send(submit("c", request(model="third", steps=2)))
        ready = connection.receive(Ready)
        assert ready.model.name == "my-own", "as the catalogue calls it, not as its folder"
        ends = connection.last_words("a", "b", "c")
        assert isinstance(ends["a"], Done) and isinstance(ends["b"], Done)
        assert isinstance(ends["c"], Failed)
        assert ends["c"].sentence.startswith("The model `third` could not be loaded.")
        made = {message.job: message.made_with.model for message in connection.all if isinstance(message, Started)}
        assert made == {"a": "second", "b": "my-own"}
        told = [message for message in connection.all if isinstance(message, Models)]
        assert set(told[-1].loaded) == {"my-own", "second"}
        assert {info.name: info.steps for info in told[-1].known}["second"] == 3


def test_a_worker_that_was_started_with_a_catalogues_name_waits_for_the_catalogue(
    server: BotServer, folder: Path, fork: Fork
) -> None:
    with fork("--connect", server.address, "--local", "--model", "mine"):
        connection = server.accept()
        connection.welcome()
        connection.send(Catalogue(default="mine", models=(ModelPlace(name="mine", where=str(folder), steps=3),)))
        ready = connection.receive(Ready)
        assert (ready.model.name, ready.model.steps) == ("mine", 3)


def test_a_worker_with_the_wrong_key_is_refused_and_says_so(server: BotServer, folder: Path, fork: Fork) -> None:
    with fork("--connect", server.address, "--local", "--model", str(folder), key="wrong") as process:
        connection = server.accept()
        with pytest.raises(AssertionError):
            connection.welcome()
        connection.close()
        assert process.wait(60) == 1
        assert "DARKROOM_WORKER_KEY" in process.said


def test_a_local_worker_exits_when_its_connection_ends(server: BotServer, folder: Path, fork: Fork) -> None:
    with fork("--connect", server.address, "--local", "--model", str(folder)) as process:
        connection = server.accept()
        connection.welcome()
        connection.receive(Ready)
        connection.close()
        assert process.wait(60) == 0


def test_a_running_job_is_cancelled_over_the_wire(connection: WorkerConnection) -> None:
    connection.send(submit("a", request(steps=900)))
    connection.receive(Progress)
    connection.send(Cancel(job="a", attempt=1))
    assert connection.receive(Cancelled).gpu_ms > 0


def test_a_worker_dials_again_drops_its_jobs_and_does_not_load_again(
    connection: WorkerConnection, reconnecting: tuple[BotServer, ForkedProcess]
) -> None:
    connection.send(submit("a", request(steps=900)))
    connection.receive(Progress)
    connection.close()
    again = reconnecting[0].accept()
    hello = again.welcome()
    assert hello.pid == reconnecting[1].pid
    again.receive(Ready)
    again.receive(Heartbeat, lambda beat: beat.jobs == () and beat.phase is Phase.IDLE)
    again.send(submit("a", request(steps=2), attempt=2))
    assert again.receive(Done).attempt == 2
    again.close()


def test_a_worker_leaves_the_bot_its_share(server: BotServer, folder: Path, fork: Fork) -> None:
    with fork("--connect", server.address, "--local", "--model", str(folder), "--nice", "7") as process:
        server.accept().welcome()
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 7


def test_the_heart_beats_while_the_loop_hangs_and_says_who_was_computed(
    connection: WorkerConnection, reconnecting: tuple[BotServer, ForkedProcess]
) -> None:
    """The last test of this worker: it hangs for good, and still goes at once when it is told to."""
    connection.send(submit("bad", request(prompt="hang", count=1)))
    first = connection.receive(Heartbeat, lambda beat: beat.phase is Phase.STEPPING and beat.computing == ("bad",))
    second = connection.receive(Heartbeat, lambda beat: beat.phase_seconds > first.phase_seconds)
    assert second.phase is Phase.STEPPING and second.computing == ("bad",) and second.jobs == (("bad", 1),)
    reconnecting[1].send_signal(signal.SIGTERM)
    assert reconnecting[1].wait(5) == 0


def test_a_slow_load_is_not_a_hang(server: BotServer, folder: Path, tmp_path: Path, fork: Fork) -> None:
    arguments = ("--connect", server.address, "--local", "--model", str(folder))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with fork(*arguments, module="tests.worker.faulty_worker", FAULT_LOAD_WAITS=str(gate)):
        connection = server.accept()
        connection.welcome()
        # The heart may have beaten before the load began, but from then on it says so at every beat.
        connection.receive(Heartbeat, lambda beat: beat.phase is Phase.LOADING)
        assert connection.receive(Heartbeat).phase is Phase.LOADING
        assert PHASE_DEADLINE_SECONDS[Phase.LOADING] > 10 * PHASE_DEADLINE_SECONDS[Phase.STEPPING]
        gate.write_bytes(b"go on")
        connection.receive(Ready)


def test_a_job_that_kills_its_worker_ends_the_connection_at_once(server: BotServer, folder: Path, fork: Fork) -> None:
    with fork(
        "--connect", server.address, "--local", "--model", str(folder), module="tests.worker.faulty_worker"
    ) as process:
        connection = server.accept()
        connection.welcome()
        connection.send(submit("bad", request(prompt="die", count=1)))
        connection.ended()
        assert process.wait(60) == -signal.SIGKILL


def test_a_model_that_is_not_there_is_said_with_its_cure(server: BotServer, tmp_path: Path, fork: Fork) -> None:
    with fork("--connect", server.address, "--local", "--model", str(tmp_path / "nowhere")) as process:
        connection = server.accept()
        connection.welcome()
        connection.send(
            Catalogue(default="nowhere", models=(ModelPlace(name="nowhere", where=str(tmp_path / "nowhere")),))
        )
        failed = connection.receive(LoadFailed)
        assert "DARKROOM_MODEL" in failed.sentence and not failed.stays
        assert process.wait(60) == 78


def test_a_worker_whose_usual_model_is_not_here_stays_for_the_others(
    server: BotServer, folder: Path, tmp_path: Path, fork: Fork
) -> None:
    nowhere = tmp_path / "nowhere"
    places = (ModelPlace(name="nowhere", where=str(nowhere)), ModelPlace(name="tiny", where=str(folder)))
    with fork("--connect", server.address, "--local", "--model", str(nowhere)) as process:
        connection = server.accept()
        connection.welcome()
        connection.send(Catalogue(default="nowhere", models=places))
        failed = connection.receive(LoadFailed)
        assert failed.stays and "there is no such folder" in failed.sentence
        assert connection.receive(Models).loaded == ()
        connection.send(submit("a", request(model="nowhere", count=1)))
        assert "The model `nowhere` is not here." in connection.receive(Failed).sentence
        connection.send(submit("b", request(model="tiny", count=1, steps=2)))
        connection.receive(Done, lambda done: done.job == "b")
        nowhere.symlink_to(folder)  # its owner fetches it: the next job that names it brings it in
        connection.send(submit("c", request(model="nowhere", count=1, steps=2)))
        connection.receive(Done, lambda done: done.job == "c")
        connection.send(Shutdown())
        assert process.wait(60) == 0


def test_a_local_worker_dies_with_its_parent(server: BotServer, folder: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'worker', *sys.argv[1:]])\n"
        "print(child.pid, flush=True)\nchild.wait()\n"
    )
    arguments = ["--connect", server.address, "--local", "--model", str(folder)]
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True) as parent:
        connection: WorkerConnection = server.accept()
        connection.welcome()
        parent.kill()
        connection.ended()


def test_a_local_worker_whose_bot_died_before_it_was_awake_does_not_dial(
    server: BotServer, folder: Path, fork: Fork
) -> None:
    arguments = ("--connect", server.address, "--local", "--model", str(folder))
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
