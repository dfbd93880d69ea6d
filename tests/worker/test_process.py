"""The worker as a process: dials, proves its key, loads, works, and goes when it is no longer wanted."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.events import (
    Cancel,
    Cancelled,
    Done,
    Heartbeat,
    LoadFailed,
    Phase,
    Picture,
    Progress,
    Ready,
    Shutdown,
    Started,
)
from tests.worker.bed import pixels, request
from tests.worker.door import KEY, Door, Visit, submit, worker


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def test_a_worker_dials_loads_and_renders_a_grid(door: Door, folder: Path) -> None:
    with worker("--connect", door.address, "--local", "--model", str(folder)) as process:
        visit = door.visit()
        hello = visit.welcome()
        assert hello.pid == process.pid and hello.device == "cpu" and hello.max_rows == 8
        visit.say(submit("early", request(count=1, steps=2)))  # before the model is there: it waits
        ready = visit.hear(Ready)
        assert ready.model.name == "tiny" and ready.model.native == 64 and ready.load_ms > 0
        visit.hear(Done, lambda done: done.job == "early")
        visit.say(submit("a", request(count=4)))
        started = visit.hear(Started, lambda event: event.job == "a")
        assert started.made_with.digest == ready.model.digest
        assert visit.hear(Progress, lambda event: bool(event.preview)).steps == 6
        done = visit.hear(Done, lambda event: event.job == "a")
        assert done.gpu_ms > 0
        made = [message for message in visit.all if isinstance(message, Picture) and message.job == "a"]
        assert sorted(picture.index for picture in made) == [0, 1, 2, 3]
        assert all(pixels(picture.png).shape == (64, 64, 3) for picture in made)


def test_a_worker_with_the_wrong_key_is_refused_and_says_so(door: Door, folder: Path) -> None:
    with worker("--connect", door.address, "--local", "--model", str(folder), key="wrong") as process:
        visit = door.visit()
        with pytest.raises(AssertionError):
            visit.welcome()
        visit.close()
        assert process.wait(60) == 1
        assert process.stderr is not None and "DARKROOM_WORKER_KEY" in process.stderr.read()


def test_a_local_worker_exits_when_its_connection_ends(door: Door, folder: Path) -> None:
    with worker("--connect", door.address, "--local", "--model", str(folder)) as process:
        visit = door.visit()
        visit.welcome()
        visit.hear(Ready)
        visit.close()
        assert process.wait(60) == 0


def test_a_worker_dials_again_and_does_not_load_again(door: Door, folder: Path) -> None:
    with worker("--connect", door.address, "--model", str(folder)) as process:
        first = door.visit()
        first.welcome()
        load_ms = first.hear(Ready).load_ms
        first.say(submit("a", request(steps=900)))
        first.hear(Started)
        first.close()
        second = door.visit()
        second.welcome()
        assert second.hear(Ready).load_ms == load_ms
        second.hear(Heartbeat, lambda beat: beat.jobs == () and beat.phase is Phase.IDLE)
        second.say(submit("a", request(steps=2), attempt=2))
        assert second.hear(Done).attempt == 2
        assert not [message for message in second.all if getattr(message, "attempt", 2) == 1], "dropped with the first"
        second.say(Shutdown())
        assert process.wait(60) == 0


def test_a_worker_stops_at_once_when_it_is_told_to(door: Door, folder: Path) -> None:
    with worker("--connect", door.address, "--model", str(folder)) as process:
        visit = door.visit()
        visit.welcome()
        visit.hear(Ready)
        visit.say(submit("a", request(steps=900)))
        visit.hear(Progress)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_a_running_job_is_cancelled_over_the_wire(door: Door, folder: Path) -> None:
    with worker("--connect", door.address, "--local", "--model", str(folder)):
        visit = door.visit()
        visit.welcome()
        visit.say(submit("a", request(steps=900)))
        visit.hear(Progress)
        visit.say(Cancel(job="a", attempt=1))
        assert visit.hear(Cancelled).gpu_ms > 0


def test_a_model_that_is_not_there_is_said_with_its_cure(door: Door, tmp_path: Path) -> None:
    with worker("--connect", door.address, "--local", "--model", str(tmp_path / "nowhere")) as process:
        visit = door.visit()
        visit.welcome()
        assert "DARKROOM_MODEL" in visit.hear(LoadFailed).sentence
        assert process.wait(60) == 78


def test_a_worker_leaves_the_bot_its_share(door: Door, folder: Path) -> None:
    with worker("--connect", door.address, "--local", "--model", str(folder)) as process:
        door.visit().welcome()
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 10


def test_a_local_worker_dies_with_its_parent(door: Door, folder: Path) -> None:
    import subprocess
    import sys

    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'worker', *sys.argv[1:]])\n"
        "print(child.pid, flush=True)\nchild.wait()\n"
    )
    arguments = ["--threads", "1", "--connect", door.address, "--local", "--model", str(folder)]
    environ = {**os.environ, "DARKROOM_WORKER_KEY": KEY}
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as parent:
        visit: Visit = door.visit()
        visit.welcome()
        parent.kill()
        visit.ended()


@pytest.mark.parametrize("address", ["", "nowhere", "unix:", "host:port", "host:99999"])
def test_a_wrong_address_is_said_before_anything_is_loaded(address: str) -> None:
    with worker("--connect", address) as process:
        assert process.wait(60) == 78
        assert process.stderr is not None and "unix:PATH" in process.stderr.read()
