"""The server that workers dial: who is there, who is silent for too long, who replaces them.

Knows processes, sockets and deadlines; knows nothing of queues or Discord. What a worker says about jobs goes to the
listener (the scheduler), checked and otherwise unread. No worker can take the bot down: the worst that it can do is
end its own connection.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from bot.config import Config, is_loopback
from bot.event_bus import Status
from bot.workers import tcp_listener
from bot.workers.connection import WorkerConnection
from bot.workers.local_process import LocalWorker
from core import events
from core.errors import FrameError
from core.suspend_detection import SuspendDetector

log = logging.getLogger(__name__)

SILENT_SECONDS = 10.0
#: Times longer that a worker without a GPU may stay in a phase.
CPU_PATIENCE = 8.0
#: A load can hold the interpreter's lock for long, and then even the heartbeat's thread is silent.
SILENT_LOADING_SECONDS = 120.0
_TICK_SECONDS = 0.25
#: Connections that may wait at one door to prove the key. With one more, the one that has waited longest goes.
MAX_WAITING = 8
#: With more than this unstored, in bytes, a worker is not read until some of it is.
MAX_UNSTORED = 1 << 26
#: Threads that look into pictures; who answers members has others.
_DECODERS = 2
#: Longest path of a Unix socket that every system takes.
_MAX_SOCKET_PATH = 100


class Listener(Protocol):
    """Who decides. None of these may wait or raise."""

    def received(self, connection: WorkerConnection, event: events.Message) -> None:
        """It said something about its jobs, its model or its time."""

    def unstored(self, connection: WorkerConnection) -> int:
        """Bytes that it sent and that are in memory only."""

    def lost(self, connection: WorkerConnection) -> None:
        """It is gone. `connection.why_closed` is empty when it hung up by itself or died."""

    def status_changed(self) -> None:
        """`WorkerServer.status` changed."""


class WorkerServer:
    """`status`, `since` (seconds since the epoch) and `sentence` say how the GPU's side stands."""

    def __init__(
        self,
        config: Config,
        *,
        model: str,
        catalogue: Callable[..., events.Catalogue],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        deadlines: Mapping[events.Phase, float] = events.PHASE_DEADLINE_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self.connections: dict[str, WorkerConnection] = {}
        self.status = Status.AWAY
        self.since = self._ready_until = clock()
        self.port: int | None = None  # that remote workers dial, once it is open
        self.local: LocalWorker | None = None
        self.listener: Listener | None = None
        self._config = config
        self._model = model
        self._catalogue = catalogue
        self._clock = clock
        self._monotonic = monotonic
        self._deadlines = deadlines
        self._silent_seconds = silent_seconds
        self._key = ""
        self._open: set[asyncio.Task[None]] = set()
        self._unproven: dict[bool, list[WorkerConnection]] = {
            True: [],
            False: [],
        }  # by door: whether it is the local one
        self._crowded = False  # that was said
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="worker-pictures")
        self._stopping = False

    @property
    def sentence(self) -> str:
        """Why no worker is there, when that is known."""
        return self.local.sentence if self.local and self.status is Status.AWAY else ""

    async def run(self) -> None:
        """Listens and keeps the local worker alive, until cancelled. Raises ConfigError where it cannot listen."""
        self._key = self._config.worker_key or _own_key(self._config.data / "worker.key")
        with _socket_path(self._config.data) as path:
            async with self._listening(path), asyncio.TaskGroup() as group:
                if self._config.worker == "local":
                    self.local = LocalWorker(
                        self._config, address=f"unix:{path}", model=self._model, key=self._key, changed=self._look
                    )
                    group.create_task(self.local.run())
                group.create_task(self._watch())

    def stop(self) -> None:
        """Tells every worker to end; the next loss is meant."""
        self._stopping = True
        if self.local:
            self.local.stop()
        for connection in self.connections.values():
            connection.send(events.Shutdown())

    def tell_catalogue(self) -> None:
        """Tells every worker what requests may name now."""
        for connection in self.connections.values():
            connection.send(self._catalogue(local=connection.local))

    def drop(self, connection: WorkerConnection, why: str) -> None:
        """Ends a worker that cannot be trusted any more; a local one is killed, for it may hold the GPU."""
        log.warning("Worker %s is dropped. %s", connection.id, why)
        if self.local and connection.local and connection.pid == self.local.pid:
            self.local.kill()
        connection.close(why)

    @asynccontextmanager
    async def _listening(self, path: Path) -> AsyncIterator[None]:
        servers: list[asyncio.Server] = []
        try:
            servers.append(await asyncio.start_unix_server(partial(self._serve, True), path=path))
            await asyncio.to_thread(path.chmod, 0o600)
            if self._config.worker_listen:
                servers.append(await self._listen_far(*self._config.worker_listen))
            yield
        finally:
            for server in servers:
                server.close()
            for task in list(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            self._decoders.shutdown(wait=False, cancel_futures=True)
            await asyncio.sleep(0)  # aborted connections are closed in the loop's next turn

    async def _listen_far(self, host: str, port: int) -> asyncio.Server:
        server = await tcp_listener.listen(partial(self._serve, False), host, port)
        self.port = server.sockets[0].getsockname()[1]
        log.info("Workers may connect to %s:%d.", host, self.port)
        if not is_loopback(host):
            log.warning("Pictures and prompts travel to remote workers unencrypted; use a private network.")
        return server

    async def _serve(self, local: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        connection = WorkerConnection(reader, writer, local=local, monotonic=self._monotonic)
        try:
            if await self._proves_its_key(connection):
                await self._converse(connection)
        except (OSError, TimeoutError) as error:
            log.warning("A worker's connection broke: %s.", error or type(error).__name__)
        except asyncio.CancelledError:
            pass  # the bot stops listening; asyncio's server would print a cancelled handler as an error
        except Exception:
            log.exception("A worker's connection ended because of an error of our own.")
        finally:
            connection.close()
            self._open.discard(task)

    async def _proves_its_key(self, connection: WorkerConnection) -> bool:
        waiting = self._unproven[connection.local]
        waiting.append(connection)
        if len(waiting) > MAX_WAITING:
            waiting[0].close("Too many connections wait to prove the key.")
            if not self._crowded:
                log.warning("More than %d connections wait to prove the key; the oldest are turned away.", MAX_WAITING)
            self._crowded = True
            del waiting[0]
        try:
            return await connection.shake_hands(self._key)
        finally:
            if connection in waiting:
                waiting.remove(connection)
            self._crowded = self._crowded and bool(waiting)

    async def _converse(self, connection: WorkerConnection) -> None:
        self.connections[connection.id] = connection
        if self.local and connection.pid == self.local.pid:
            self.local.connected.set()
        log.info("Worker %s has connected.", connection.id)
        connection.send(self._catalogue(local=connection.local))
        writing = asyncio.create_task(connection.write_out())
        try:
            self._look()
            await self._listen(connection)
        except FrameError as error:
            connection.culprit = getattr(error, "job", "")
            self.drop(connection, error.sentence)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            del self.connections[connection.id]
            if self.local and connection.local and connection.pid == self.local.pid and not self._stopping:
                self.local.kill()  # without its connection it is of no use
            known = self._stopping or connection.why_closed
            log.log(logging.INFO if known else logging.WARNING, "Worker %s is gone.", connection.id)
            self._tell("lost", connection)
            self._look()

    async def _listen(self, connection: WorkerConnection) -> None:
        """Until it hangs up. Raises FrameError for what no worker of ours says."""
        async for message in connection.messages():
            await connection.check(message, self._decoders)
            self._received(connection, message)
            await connection.wait_while(lambda: self._unstored(connection) > MAX_UNSTORED)

    def _received(self, connection: WorkerConnection, message: events.Message) -> None:
        if isinstance(message, events.Heartbeat):
            connection.beat = message
        elif isinstance(message, events.Ready):
            connection.model = message.model
            connection.loaded = tuple(dict.fromkeys((*connection.loaded, message.model.name)))
            connection.known[message.model.name] = message.model
            connection.beat = events.Heartbeat(phase=events.Phase.IDLE, phase_seconds=0.0)
            log.info("Worker %s has loaded %s in %.1f s.", connection.id, message.model.name, message.load_ms / 1000)
            if self.local and connection.pid == self.local.pid:
                self.local.ready()
            self._look()
        elif isinstance(message, events.Models):
            connection.known = {model.name: model for model in message.known}
            connection.loaded = message.loaded
        elif isinstance(message, events.LoadFailed):
            log.error("Worker %s cannot load the model. %s", connection.id, message.sentence)
            if message.stays:
                connection.stays = True
                connection.beat = events.Heartbeat(phase=events.Phase.IDLE, phase_seconds=0.0)
                if self.local and connection.pid == self.local.pid:
                    self.local.ready()
                self._look()
            elif self.local and self.local.is_process(connection.pid):
                self.local.load_failed(message.sentence)
        self._tell("received", connection, message)

    def _tell(self, what: str, *about: object) -> None:
        if self.listener is not None:
            try:
                getattr(self.listener, what)(*about)
            except Exception:
                log.exception("What a worker said or did could not be handled (%s).", what)

    def _unstored(self, connection: WorkerConnection) -> int:
        return self.listener.unstored(connection) if self.listener is not None else 0

    def _look(self) -> None:
        """Works out the status anew and tells when it changed."""
        if any(connection.ready for connection in self.connections.values()):
            status = Status.ONLINE
        elif self.connections or (self.local and self.local.pid):
            status = Status.LOADING
        else:
            status = Status.AWAY
        if status is not self.status:
            if self.status is Status.ONLINE:
                self._ready_until = self._clock()
            self.status = status
            self.since = self._ready_until if status is Status.AWAY else self._clock()
            self._tell("status_changed")

    async def _watch(self) -> None:
        suspension = SuspendDetector(self._monotonic(), _TICK_SECONDS)
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = self._monotonic()
            if late := suspension.suspended_seconds(now):
                for connection in self.connections.values():
                    connection.heard_at += late
                continue
            for connection in list(self.connections.values()):
                if why := self._hung(connection, now):
                    self.drop(connection, why)

    def _hung(self, connection: WorkerConnection, now: float) -> str:
        if not connection.is_read:
            return ""
        loading = not connection.ready or connection.beat.phase in (events.Phase.LOADING, events.Phase.COMPILING)
        allowed = max(SILENT_LOADING_SECONDS, self._silent_seconds) if loading else self._silent_seconds
        if now - connection.heard_at > allowed:
            return f"It was silent for {now - connection.heard_at:.0f} s."
        if connection.beat.phase_seconds > self._deadlines[connection.beat.phase] * _patience(connection):
            return f"It made no progress in {connection.beat.phase_seconds:.0f} s of {connection.beat.phase}."
        return ""


def _patience(connection: WorkerConnection) -> float:
    """A step of a large model takes seconds on a GPU and minutes on a processor that others use too."""
    return CPU_PATIENCE if connection.hello is not None and connection.hello.device.startswith("cpu") else 1.0


def _own_key(path: Path) -> str:
    """The key that was made at the first start; only this user can read it."""
    with contextlib.suppress(FileNotFoundError):
        if key := path.read_text(encoding="utf-8").strip():
            return key
    key = secrets.token_hex(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(key)
    return key


@contextlib.contextmanager
def _socket_path(data: Path) -> Iterator[Path]:
    """In the data folder, or in a private folder where that path is too long for a socket."""
    path = data / "worker.sock"
    with contextlib.ExitStack() as stack:
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="darkroom-"))) / "worker.sock"
        data.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        yield path
        path.unlink(missing_ok=True)
