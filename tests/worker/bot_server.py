"""A door for workers, small enough for a test: listens, challenges, keeps what is said, gives orders."""

import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from core import wire
from core.events import PROTOCOL, Cancelled, Challenge, Done, Failed, Hello, Message, Order, Welcome
from core.worker_auth import verify_proof
from worker.parent_process import die_with_parent

KEY = "a key for tests"
PATIENCE = 60.0
ROOT = Path(__file__).resolve().parents[2]
M = TypeVar("M", bound=Message)
LastWord = Done | Failed | Cancelled


class Visit:
    """One connection of a worker."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.all: list[Message] = []
        self._reading = threading.Event()
        self._reading.set()
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, order: Order) -> None:
        """An order."""
        self.sock.sendall(wire.encode(order))

    def hear(self, kind: type[M], where: Callable[[M], bool] = lambda _: True) -> M:
        """The next message of this kind for which `where` is true; skips the others."""
        until = monotonic() + PATIENCE
        while True:
            message = self._heard.get(timeout=max(0.01, until - monotonic()))
            assert message is not None, f"the worker left; it had said {self.all[-5:]}"
            if isinstance(message, kind) and where(message):
                return message

    def last_words(self, *jobs: str) -> dict[str, LastWord]:
        """How each of these jobs ends, whichever ends first; skips the rest."""
        found: dict[str, LastWord] = {}
        while len(found) < len(jobs):
            word = self.hear(LastWord, lambda word: word.job in jobs)
            found[word.job] = word
        return found

    def pause(self) -> None:
        """Reads no more, after what is being read now."""
        self._reading.clear()

    def go_on(self) -> None:
        """Reads again."""
        self._reading.set()

    def ended(self) -> None:
        """Waits until the worker has ended the connection."""
        until = monotonic() + PATIENCE
        while self._heard.get(timeout=max(0.01, until - monotonic())) is not None:
            pass

    def welcome(self, key: str = KEY) -> Hello:
        """Challenge, proof, welcome."""
        nonce = os.urandom(16).hex()
        self.say(Challenge(protocol=PROTOCOL, nonce=nonce))
        hello = self.hear(Hello)
        assert verify_proof(key, nonce, hello.proof)
        self.say(Welcome(worker=hello.name))
        return hello

    def close(self) -> None:
        """Ends it from this side."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def _read(self) -> None:
        splitter = wire.Splitter()
        try:
            while self._reading.wait(PATIENCE) and (chunk := self.sock.recv(1 << 16)):
                for message in splitter.feed(chunk):
                    self.all.append(message)
                    self._heard.put(message)
        except OSError:
            pass
        self._heard.put(None)


class Door:
    """Listens on a Unix socket."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="door")
        self.path = Path(self._folder.name) / "s"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(str(self.path))
        self._sock.listen()
        self._sock.settimeout(PATIENCE)
        self._visits: list[Visit] = []

    @property
    def address(self) -> str:
        """For `--connect`."""
        return f"unix:{self.path}"

    def visit(self) -> Visit:
        """The next worker that dials."""
        sock, _ = self._sock.accept()
        sock.settimeout(None)
        self._visits.append(Visit(sock))
        return self._visits[-1]

    def close(self) -> None:
        """Ends all."""
        for visit in self._visits:
            visit.close()
        self._sock.close()
        self._folder.cleanup()


def environment(key: str = KEY, **more: str) -> dict[str, str]:
    """Of a worker process that may have the key."""
    return {**os.environ, "DARKROOM_WORKER_KEY": key, **more}


#: What every worker of a test is told. OMP_NUM_THREADS says how many threads, as in the tests' own process.
USUAL = ("--nice", "0")


@contextmanager
def worker(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`python -m worker`; killed at the end, and by Linux when the tests themselves are killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", *USUAL, *arguments],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, which is safe beside threads
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def submit(job: str, request: Any, attempt: int = 1, **more: Any) -> Order:
    """An order for all pictures of a request."""
    from core.events import Submit

    return Submit(job=job, attempt=attempt, request=request, indices=tuple(range(request.count)), **more)
