"""One worker's connection: handshake, frames in, frames out. Knows nothing of jobs, processes or who listens."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

from core import events, wire
from core.errors import FrameError
from core.worker_auth import verify_proof

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
_CHUNK = 1 << 18


class WorkerConnection:
    """A connected worker. `heard_at` (monotonic) and `beat` are what the server's watchdog reads."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, local: bool, monotonic: Callable[[], float]
    ) -> None:
        self.local = local
        self.id = ""
        self.hello: events.Hello | None = None
        self.model: events.ModelInfo | None = None
        self.loaded: tuple[str, ...] = ()  # models in its memory, by name
        self.known: dict[str, events.ModelInfo] = {}  # all that it has ever loaded
        self.offered: frozenset[str] = frozenset()  # what the catalogue lets it load
        self.beat = events.Heartbeat(phase=events.Phase.LOADING, phase_seconds=0.0)
        self.heard_at = monotonic()
        self.why_closed = ""
        self._monotonic = monotonic
        self._reader = reader
        self._writer = writer
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._splitter = wire.Splitter()
        self._early: list[events.Message] = []

    @property
    def ready(self) -> bool:
        """Its model is loaded."""
        return self.model is not None

    @property
    def pid(self) -> int:
        """The worker's process, on its own machine."""
        return self.hello.pid if self.hello else 0

    @property
    def device(self) -> str:
        """As torch names it."""
        return self.hello.device if self.hello else "cpu"

    @property
    def rows(self) -> int:
        """Pictures that fit in one forward."""
        return max(1, self.hello.max_rows) if self.hello else 1

    def send(self, order: events.Order) -> None:
        """Queues an order; never waits. An order to a worker that is gone goes nowhere, and its loss is told."""
        if isinstance(order, events.Catalogue):
            self.offered = frozenset(model.name for model in order.models)
        self._out.put_nowait(wire.encode(order))

    async def shake_hands(self, key: str) -> bool:
        """False when the other side does not know the key or speaks another version."""
        nonce = secrets.token_hex(32)
        await self._write(wire.encode(events.Challenge(protocol=events.PROTOCOL, nonce=nonce)))
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            async for message in self.messages():
                if not isinstance(message, events.Hello):
                    return self._refuse("Its first message was not a hello.")
                if message.protocol != events.PROTOCOL:
                    return self._refuse("It is a different version. Install the same version on both sides.")
                if not verify_proof(key, nonce, message.proof):
                    return self._refuse("Its key is wrong. Give it the bot's DARKROOM_WORKER_KEY.")
                self.hello = message
                self.id = f"{message.name}-{secrets.token_hex(4)}"
                await self._write(wire.encode(events.Welcome(worker=self.id)))
                return True
        return self._refuse("It disconnected during the handshake.")

    async def messages(self) -> AsyncIterator[events.Message]:
        """What the worker says, until the connection ends. Raises FrameError for what is no frame."""
        while True:
            while self._early:
                yield self._early.pop(0)
            with contextlib.suppress(ConnectionError):
                chunk = await self._reader.read(_CHUNK)
                self.heard_at = self._monotonic()
                if chunk:
                    self._early += self._splitter.feed(chunk)
                    # A full buffer is read without waiting: let the others have the loop between two chunks.
                    await asyncio.sleep(0)
                    continue
            return

    async def write_out(self) -> None:
        """Sends the queued orders, until cancelled or the connection breaks (which the reader sees too)."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self._write(await self._out.get())

    def close(self, why: str = "") -> None:
        """Ends the connection; what waits to be written is dropped."""
        self.why_closed = self.why_closed or why
        transport: Any = self._writer.transport
        transport.abort()

    async def _write(self, frame: bytes) -> None:
        self._writer.write(frame)
        await self._writer.drain()

    def _refuse(self, why: str) -> bool:
        log.warning("A worker was refused. %s", why)
        return False


def models_in(event: events.Ready | events.Models) -> tuple[events.ModelInfo, ...]:
    """The models that a worker tells of."""
    return (event.model,) if isinstance(event, events.Ready) else event.known


async def receive(connection: WorkerConnection, received: Callable[[events.Message], None]) -> None:
    """Reads a connection to its end. Whatever a worker sends, it can only end its own connection."""
    try:
        async for message in connection.messages():
            received(message)
    except FrameError as error:
        connection.why_closed = error.sentence
        log.warning("The connection of worker %s is closed. %s", connection.id, error.sentence)
