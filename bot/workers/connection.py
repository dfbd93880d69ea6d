"""One worker's connection: handshake, frames in, frames out, and what it says held against what it was told.

Together with core/wire.py the one place where a worker's word is checked: whoever listens may take it as it is. Knows
nothing of processes or who listens, and of jobs only what was ordered here.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from bot.workers.picture_check import BadPicture, check_png, check_preview
from core import events, wire
from core.bounded_dict import BoundedDict
from core.errors import FrameError
from core.result_size import result_size
from core.worker_auth import verify_proof

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
#: What a connection may say before its proof.
HANDSHAKE_BYTES = 1 << 12
_CHUNK = 1 << 18
#: Orders that are remembered, the newest ones: many more than a worker has in hand.
_ORDERS = 4096
#: A picture that nobody ordered is not kept; it may have come too late, but is not waited for where it is a large one.
_UNASKED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ordered:
    """What may come of an order: pictures of these indices and of this size, (width, height)."""

    indices: frozenset[int]
    size: tuple[int, int]


class WorkerConnection:
    """A connected worker. `heard_at` (monotonic) and `beat` are what the server's watchdog reads."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, local: bool, monotonic: Callable[[], float]
    ) -> None:
        self.local = local
        self.id = ""
        self.hello: events.Hello | None = None
        self.model: events.ModelInfo | None = None
        self.stays = False  # its first model cannot be loaded, but it serves the others
        self.loaded: tuple[str, ...] = ()  # models in its memory, by name
        self.known: dict[str, events.ModelInfo] = {}  # all that it has ever loaded
        self.offered: frozenset[str] = frozenset()  # what the catalogue lets it load
        self.beat = events.Heartbeat(phase=events.Phase.LOADING, phase_seconds=0.0)
        self.heard_at = monotonic()
        self.why_closed = ""
        self.culprit = ""  # the job for which it sent a picture that is none
        self.is_read = True  # False while too much of what it sent is not stored yet: its silence is our doing
        self._monotonic = monotonic
        self._reader = reader
        self._writer = writer
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._splitter = wire.Splitter(self._allowed, max_header=HANDSHAKE_BYTES)
        self._early: list[events.Message] = []
        self._ordered: BoundedDict[tuple[str, int], _Ordered] = BoundedDict(_ORDERS)
        self._stored = asyncio.Event()

    @property
    def ready(self) -> bool:
        """It can be given jobs: its model is loaded, or it stays without."""
        return self.model is not None or self.stays

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
        if isinstance(order, events.Submit):
            ordered = _Ordered(indices=frozenset(order.indices), size=result_size(order))
            self._ordered[order.job, order.attempt] = ordered
        self._out.put_nowait(wire.encode(order))

    async def shake_hands(self, key: str) -> bool:
        """False when the other side does not know the key or speaks another version."""
        nonce = secrets.token_hex(32)
        await self._write(wire.encode(events.Challenge(protocol=events.PROTOCOL, nonce=nonce)))
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                hello = await self._first_word()
        except FrameError as error:
            return self._refuse(error.sentence)
        except TimeoutError:
            return self._refuse(f"It did not prove its key within {HANDSHAKE_SECONDS:.0f} s.")
        if hello is None:
            return self._refuse("It disconnected during the handshake.")
        if hello.protocol != events.PROTOCOL:
            return self._refuse("It is a different version. Install the same version on both sides.")
        if not verify_proof(key, nonce, hello.proof):
            return self._refuse("Its key is wrong. Give it the bot's DARKROOM_WORKER_KEY.")
        self.hello = hello
        self.id = f"{hello.name}-{secrets.token_hex(4)}"
        self._splitter.max_header = wire.MAX_HEADER
        await self._write(wire.encode(events.Welcome(worker=self.id)))
        return True

    async def _first_word(self) -> events.Hello | None:
        """Of so many bytes and no more. Raises FrameError when it is another one."""
        left = HANDSHAKE_BYTES
        with contextlib.suppress(ConnectionError):
            while left and (chunk := await self._reader.read(left)):
                left -= len(chunk)
                self._early += self._splitter.feed(chunk)
                if self._early:
                    hello = self._early.pop(0)
                    assert isinstance(hello, events.Hello)  # the splitter lets nothing else pass
                    return hello
        if not left:
            raise FrameError("It said too much before it proved its key.")
        return None

    async def messages(self) -> AsyncIterator[events.Message]:
        """What the worker says, until the connection ends. Raises FrameError for what is no frame."""
        while True:
            while self._early:
                yield self._early.pop(0)
            chunk = b""
            with contextlib.suppress(ConnectionError):
                chunk = await self._reader.read(_CHUNK)
            if not chunk:
                return
            self.heard_at = self._monotonic()
            for message in self._splitter.feed(chunk):
                yield message
                # Thousands of small ones fit into a chunk: let the others have the loop between two.
                await asyncio.sleep(0)
            await asyncio.sleep(0)  # a full buffer is read without waiting

    async def check(self, message: events.Message, decoders: Executor) -> None:
        """Raises FrameError for what cannot be, though every value in it can."""
        if isinstance(message, events.Ready | events.Models):
            if any(model.multiple > model.native for model in models_in(message)):
                raise FrameError("What it says about its models is impossible.")
            if isinstance(message, events.Ready) and len(self.known) >= events.MOST_MODELS:
                raise FrameError("It has loaded more models than anybody has.")
        elif isinstance(message, events.Picture) and (message.job, message.attempt) in self._ordered:
            size = message.width, message.height
            await self._run(decoders, partial(check_png, message.png, size, message.job))
        elif isinstance(message, events.Progress) and message.preview:
            await self._run(decoders, partial(check_preview, message.preview))

    async def _run(self, decoders: Executor, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(decoders, work)
        self.heard_at = self._monotonic()

    def _allowed(self, message: events.Message) -> int:
        """How many bytes may follow this one's header. Raises FrameError."""
        if self.hello is None:
            if not isinstance(message, events.Hello):
                raise FrameError("Its first message was not a hello.")
            return 0
        if isinstance(message, get_args(events.Order)):
            return 0  # nothing that a worker has to say
        if not isinstance(message, events.Picture):
            return wire.most_bytes(message)
        ordered = self._ordered.get((message.job, message.attempt))
        if ordered is None:
            return _UNASKED_BYTES
        if message.index not in ordered.indices:
            raise BadPicture("It sent a picture that was not ordered.", message.job)
        if (message.width, message.height) != ordered.size:
            here, asked = f"{message.width}×{message.height}", "×".join(map(str, ordered.size))
            raise BadPicture(f"It sent a picture of {here} pixels instead of {asked}.", message.job)
        return wire.most_bytes(message)

    def stored(self) -> None:
        """Something that it sent is stored, or nobody's any more."""
        self._stored.set()

    async def wait_while(self, too_much: Callable[[], bool]) -> None:
        """Reads nothing more while what it sent is too much to be kept in memory, unstored."""
        while too_much():
            self.is_read = False
            self._stored.clear()
            await self._stored.wait()
        if not self.is_read:
            self.is_read, self.heard_at = True, self._monotonic()

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
        if not self.why_closed:
            log.warning("A worker was refused. %s", why)
        return False


def models_in(event: events.Ready | events.Models) -> tuple[events.ModelInfo, ...]:
    """The models that a worker tells of."""
    return (event.model,) if isinstance(event, events.Ready) else event.known
