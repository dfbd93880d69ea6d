"""The worker's end of the wire: dials the bot, proves the key, carries orders in and events out, dials again.

A writer thread owns the sending, so that no large picture and no slow bot ever blocks the loop. Knows nothing of what
orders mean: they go into `inbox`, and `ConnectionLost` follows when a connection ends.
"""

import logging
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import sleep

from core import wire
from core.backoff import backoff_seconds
from core.errors import DarkroomError, FrameError
from core.events import (
    PROTOCOL,
    Cancel,
    Catalogue,
    Challenge,
    Event,
    Hello,
    LoadFailed,
    Message,
    Models,
    Pause,
    Progress,
    Ready,
    Resume,
    Shutdown,
    Submit,
    Welcome,
)
from core.setting_parsers import host_and_port
from core.worker_auth import make_proof
from worker.transport.inbox import ConnectionLost, Inbox

log = logging.getLogger("darkroom.connection")

HANDSHAKE_SECONDS = 15.0
CONNECT_SECONDS = 10.0
FIRST_BACKOFF, MAX_BACKOFF = 0.5, 30.0
#: With more than this many messages unsent the bot does not keep up: progress and previews are left out.
BACKLOG = 64


class WorkerRefused(DarkroomError):
    """The bot does not take this worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`unix:PATH` or `HOST:PORT`."""

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Raises ValueError with a sentence."""
        if text.startswith("unix:") and len(text) > len("unix:"):
            return cls(path=text.removeprefix("unix:"))
        try:
            host, port = host_and_port(text)
        except ValueError:
            port = 0
        if port == 0 or text.startswith("unix:"):
            raise ValueError(f"“{text}” is not an address: it has to be unix:PATH or HOST:PORT.")
        return cls(host=host, port=port)

    def dial(self) -> socket.socket:
        """A connected, blocking socket. Raises OSError."""
        if self.path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(CONNECT_SECONDS)
                sock.connect(self.path)
            except OSError:
                sock.close()
                raise
            return sock
        sock = socket.create_connection((self.host, self.port), timeout=CONNECT_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return sock


class BotConnection:
    """One worker's connection, over and over. `hello` makes the first word for a proof."""

    def __init__(self, address: Address, key: str, hello: Callable[[str], Hello], inbox: Inbox) -> None:
        self._address, self._key, self._hello, self._inbox = address, key, hello, inbox
        self._lock = threading.Condition()
        self._outbox: queue.SimpleQueue[Event | threading.Event | None] | None = None
        self._greeting: Ready | LoadFailed | None = None
        self._models: Models | None = None
        self._shutdown = False

    def send(self, event: Event) -> None:
        """Queues an event for the bot; drops it when nobody is connected. Never blocks.

        Which models are there is said again at the beginning of every later connection, after the greeting.
        """
        with self._lock:
            if isinstance(event, Models):
                self._models = event
            if self._outbox is None or (isinstance(event, Progress) and self._outbox.qsize() > BACKLOG):
                return
            self._outbox.put(event)

    def announce(self, greeting: Ready | LoadFailed) -> None:
        """Says this now, and again at the beginning of every later connection."""
        with self._lock:
            self._greeting = greeting
            if self._outbox is not None:
                self._outbox.put(greeting)

    def flush(self, timeout_seconds: float) -> bool:
        """Waits for a connection, and until all that was said is handed to the system; False when it takes too long."""
        sent = threading.Event()
        with self._lock:
            if not self._lock.wait_for(lambda: self._outbox is not None, timeout_seconds) or self._outbox is None:
                return False
            self._outbox.put(sent)
        return sent.wait(timeout_seconds)

    def run(self, *, once: bool) -> None:
        """Serves one connection (`once`), or one after the other until told to shut down.

        Raises OSError or WorkerRefused only with `once`.
        """
        dials = 0  # since the last session
        while not self._shutdown:
            try:
                dials += 1
                self._session(self._address.dial())
                dials = 1
            except (OSError, WorkerRefused, FrameError) as error:
                if once:
                    raise
                log.warning("No connection to the bot (%s); trying again in %.1f s.", error, _pause(dials))
            if once or self._shutdown:
                return
            sleep(_pause(dials))

    def _session(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(HANDSHAKE_SECONDS)
            messages = _messages(sock)
            self._shake_hands(sock, messages)
            sock.settimeout(None)
            log.info("Connected to the bot.")
            writer = self._open(sock)
            try:
                for message in messages:
                    if not self._receive(message):
                        return
            except ConnectionError:
                pass  # a bot that died with words of ours unread ends it like this: an end like any other
            finally:
                self._close(writer)
                self._inbox.put(ConnectionLost())
        log.info("The connection to the bot ended.")

    def _shake_hands(self, sock: socket.socket, messages: Iterator[Message]) -> None:
        """Raises WorkerRefused when the other side is not a bot, of another version, or does not accept the proof."""
        challenge = next(messages, None)
        if not isinstance(challenge, Challenge) or challenge.protocol != PROTOCOL:
            raise WorkerRefused(
                "The other side is not a Darkroom bot of this version; check the address and the versions."
            )
        sock.sendall(wire.encode(self._hello(make_proof(self._key, challenge.nonce))))
        try:
            welcome = next(messages, None)
        except ConnectionError:
            welcome = None
        if not isinstance(welcome, Welcome):
            raise WorkerRefused("The bot refused this worker: DARKROOM_WORKER_KEY must be the same on both sides.")

    def _receive(self, message: Message) -> bool:
        if isinstance(message, Shutdown):
            self._shutdown = True
            return False
        if isinstance(message, Submit | Pause | Resume | Cancel | Catalogue):
            self._inbox.put(message)
        return True

    def _open(self, sock: socket.socket) -> threading.Thread:
        outbox: queue.SimpleQueue[Event | threading.Event | None] = queue.SimpleQueue()
        with self._lock:
            if self._greeting is not None:
                outbox.put(self._greeting)
            if self._models is not None:
                outbox.put(self._models)
            self._outbox = outbox
            self._lock.notify_all()
        writer = threading.Thread(target=_write, args=(sock, outbox), name="writer", daemon=True)
        writer.start()
        return writer

    def _close(self, writer: threading.Thread) -> None:
        with self._lock:
            outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.put(None)
        writer.join(timeout=1.0)


def _pause(dials: int) -> float:
    return backoff_seconds(dials, first=FIRST_BACKOFF, longest=MAX_BACKOFF)


def _messages(sock: socket.socket) -> Iterator[Message]:
    """What the bot says, until it ends the connection. Raises FrameError and OSError."""
    splitter = wire.Splitter()
    while chunk := sock.recv(1 << 16):
        yield from splitter.feed(chunk)


def _write(sock: socket.socket, outbox: "queue.SimpleQueue[Event | threading.Event | None]") -> None:
    """Sends until told to stop. A broken connection is ended, so that the reader learns of it."""
    while (item := outbox.get()) is not None:
        if isinstance(item, threading.Event):
            item.set()
            continue
        try:
            sock.sendall(wire.encode(item))
        except OSError:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is gone already
            return
