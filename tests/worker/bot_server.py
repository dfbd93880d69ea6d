"""A bot as workers see it, small enough for a test: listens, challenges, keeps what is said, gives orders."""

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
from worker.process_exit import die_with_parent

KEY = "a key for tests"
PATIENCE = 60.0
ROOT = Path(__file__).resolve().parents[2]
M = TypeVar("M", bound=Message)
LastWord = Done | Failed | Cancelled


class WorkerConnection:
    """One connection of a worker."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.all: list[Message] = []
        self._reading = threading.Event()
        self._reading.set()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, order: Order) -> None:
        """An order."""
        self.sock.sendall(wire.encode(order))

    def receive(self, kind: type[M], where: Callable[[M], bool] = lambda _: True) -> M:
        """The next message of this kind for which `where` is true; skips the others."""
        until = monotonic() + PATIENCE
        while True:
            message = self._received.get(timeout=max(0.01, until - monotonic()))
            assert message is not None, f"the worker left; it had said {self.all[-5:]}"
            if isinstance(message, kind) and where(message):
                return message

    def last_words(self, *jobs: str) -> dict[str, LastWord]:
        """How each of these jobs ends, whichever ends first; skips the rest."""
        found: dict[str, LastWord] = {}
        while len(found) < len(jobs):
            word = self.receive(LastWord, lambda word: word.job in jobs)
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
        while self._received.get(timeout=max(0.01, until - monotonic())) is not None:
            pass

    def welcome(self, key: str = KEY) -> Hello:
        """Challenge, proof, welcome."""
        nonce = os.urandom(16).hex()
        self.send(Challenge(protocol=PROTOCOL, nonce=nonce))
        hello = self.receive(Hello)
        assert verify_proof(key, nonce, hello.proof)
        self.send(Welcome(worker=hello.name))
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
                    self._received.put(message)
        except OSError:
            pass
        self._received.put(None)


class BotServer:
    """Listens on a Unix socket."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bot")
        self.path = Path(self._folder.name) / "s"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(str(self.path))
        self._sock.listen()
        self._sock.settimeout(PATIENCE)
        self._connections: list[WorkerConnection] = []

    @property
    def address(self) -> str:
        """For `--connect`."""
        return f"unix:{self.path}"

    def accept(self) -> WorkerConnection:
        """The next worker that dials."""
        sock, _ = self._sock.accept()
        sock.settimeout(None)
        self._connections.append(WorkerConnection(sock))
        return self._connections[-1]

    def close(self) -> None:
        """Ends all."""
        for connection in self._connections:
            connection.close()
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
