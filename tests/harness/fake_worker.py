"""A worker process without a model: speaks the real wire, computes nothing, and fails on demand.

    python -m tests.harness.fake_worker --connect unix:/path --step-ms 50 --die poison:3

Same request, same bytes. Every job in its hands advances one step per tick, as rows of one batch do. Knows core only.
"""

import argparse
import asyncio
import colorsys
import ctypes
import hashlib
import io
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from PIL import Image

from core import events, wire
from core.catalogue import POSTCARD, SAMPLERS
from core.job import MadeWith, Request
from core.model_capabilities import capabilities
from core.result_size import result_size
from core.worker_auth import make_proof

log = logging.getLogger("fake_worker")
FAULTS = ("die", "hang", "freeze", "oom", "error", "spoil")


@dataclass(slots=True)
class RunningJob:
    """A job that the worker computes, and how far it is."""

    order: events.Submit
    step: int = 0
    gpu_ms: int = 0

    @property
    def steps(self) -> int:
        return self.order.request.steps_to_run()


@dataclass(slots=True)
class Fault:
    """Happens to a job whose prompt has `word`, when `step` steps are done."""

    kind: str
    word: str
    step: int


@dataclass(slots=True)
class FakeWorker:
    """The loop: orders in, events out. See `main` for what the options mean."""

    options: argparse.Namespace
    faults: list[Fault]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    running: dict[str, RunningJob] = field(default_factory=dict)
    phase: events.Phase = events.Phase.LOADING
    phase_began: float = field(default_factory=time.monotonic)
    busy_ms: int = 0
    waiting: list[events.Submit] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)
    there: asyncio.Event = field(default_factory=asyncio.Event)
    paused: set[str] = field(default_factory=set)

    def send(self, message: events.Message) -> None:
        self.writer.write(wire.encode(message))

    async def run(self) -> None:
        orders = self.orders()
        await self.shake_hands(orders)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.beat())
            group.create_task(self.listen(orders))
            group.create_task(self.compute())

    async def orders(self):
        splitter = wire.Splitter()
        while chunk := await self.reader.read(1 << 16):
            for message in splitter.feed(chunk):
                yield message

    async def shake_hands(self, orders) -> None:
        challenge = await anext(orders)
        self.send(
            events.Hello(
                protocol=events.PROTOCOL,
                version="fake",
                proof=make_proof(os.environ.get("DARKROOM_WORKER_KEY", ""), challenge.nonce),
                name=f"fake-{os.getpid()}",
                pid=os.getpid(),
                device="fake",
                memory_mb=1024,
                max_rows=self.options.rows or 8,
            )
        )
        await anext(orders)

    async def listen(self, orders) -> None:
        async for order in orders:
            if isinstance(order, events.Submit):
                self.paused.discard(order.job)
                self.waiting.append(order)
            elif isinstance(order, events.Pause):
                self.paused.add(order.job)
            elif isinstance(order, events.Resume):
                self.paused.discard(order.job)
            elif isinstance(order, events.Cancel):
                self.cancel(order)
            elif isinstance(order, events.Catalogue):
                self.offered = {model.name for model in order.models}
            elif isinstance(order, events.Shutdown):
                break
            self.there.set()
        log.info("The bot is gone.")
        if self.options.redial:
            raise ConnectionResetError
        os._exit(0)

    def cancel(self, order: events.Cancel) -> None:
        """A job that is not here any more was answered by its Done."""
        waiting = [other for other in self.waiting if other.job == order.job]
        gone = self.running.pop(order.job, None)
        self.paused.discard(order.job)
        if waiting or gone:
            self.waiting = [other for other in self.waiting if other.job != order.job]
            spent = gone.gpu_ms if gone else 0
            self.send(events.Cancelled(job=order.job, attempt=order.attempt, gpu_ms=spent))

    async def beat(self) -> None:
        while True:
            self.send(
                events.Heartbeat(
                    phase=self.phase,
                    phase_seconds=time.monotonic() - self.phase_began,
                    jobs=tuple((r.order.job, r.order.attempt) for r in self.running.values()),
                    computing=tuple(r.order.job for r in self.awake()),
                    busy_ms=self.busy_ms,
                )
            )
            await asyncio.sleep(self.options.heartbeat_ms / 1000)

    async def load(self) -> None:
        await asyncio.sleep(self.options.load_seconds)
        if self.options.load_fails:
            # As a real one, which has read its greeting by then: an end with words unread may take the last word along.
            await self.there.wait()
            self.send(events.LoadFailed(sentence=self.options.load_fails))
            await self.writer.drain()
            os._exit(1)
        info = events.ModelInfo(
            name=self.options.model_name,
            family="sd",
            digest=self.options.digest,
            dtype="float32",
            native=POSTCARD.native,
            multiple=POSTCARD.multiple,
            steps=POSTCARD.steps,
            guidance=POSTCARD.guidance,
            sampler=POSTCARD.sampler,
            samplers=tuple(SAMPLERS),
            edits=tuple(sorted({*capabilities(POSTCARD), *self.options.can} - {*self.options.cannot})),
        )
        self.send(events.Ready(model=info, load_ms=int(self.options.load_seconds * 1000)))

    async def compute(self) -> None:
        await self.load()
        while True:
            self.admit()
            if not (awake := self.awake()):
                self.enter(events.Phase.IDLE)
                self.there.clear()
                await self.there.wait()
                continue
            self.enter(events.Phase.STEPPING)
            for job in awake:
                await self.misbehave(job)
            await asyncio.sleep(self.options.step_ms / 1000)
            self.book(max(1, round(self.options.step_ms)), [job for job in awake if job.order.job in self.running])
            for job in awake:
                self.advance(job)
            await self.writer.drain()

    def awake(self) -> list[RunningJob]:
        """The jobs that take the next step."""
        return [job for job in self.running.values() if job.order.job not in self.paused]

    def admit(self) -> None:
        for order in self.waiting:
            self.running[order.job] = RunningJob(order)
            options = self.options
            asked = order.request.model
            made = MadeWith(
                model=asked if asked in self.offered else options.model_name,
                digest=options.digest,
                dtype="float32",
                device="fake",
                engine=options.engine,
            )
            self.send(events.Started(job=order.job, attempt=order.attempt, made_with=made))
        self.waiting.clear()

    def enter(self, phase: events.Phase) -> None:
        self.phase, self.phase_began = phase, time.monotonic()

    def book(self, spent_ms: int, jobs: list[RunningJob]) -> None:
        """Shares a tick among the jobs in it, to the last millisecond."""
        self.busy_ms += spent_ms
        share, rest = divmod(spent_ms, len(jobs) or 1)
        for place, job in enumerate(jobs):
            job.gpu_ms += share + (place < rest)

    def advance(self, job: RunningJob) -> None:
        order = job.order
        if order.job not in self.running:
            return
        job.step += 1
        preview = b""
        if order.previews and job.step % self.options.preview_every == 0 and job.step < job.steps:
            preview = draw_preview(order.request, job.step)
        self.send(
            events.Progress(
                job=order.job,
                attempt=order.attempt,
                step=job.step,
                steps=job.steps,
                gpu_ms=job.gpu_ms,
                preview=preview,
            )
        )
        if job.step >= job.steps:
            self.finish(job)

    def finish(self, job: RunningJob) -> None:
        order = job.order
        del self.running[order.job]
        for index in order.indices:
            picture = draw_picture(replace(order.request, count=1), index, hashlib.sha256(order.source).hexdigest())
            if any(fault.kind == "spoil" and fault.word in order.request.prompt for fault in self.faults):
                picture = picture[:-20]
            width, height = result_size(order)
            self.send(
                events.Picture(
                    job=order.job, attempt=order.attempt, index=index, width=width, height=height, png=picture
                )
            )
        self.send(events.Done(job=order.job, attempt=order.attempt, gpu_ms=job.gpu_ms))

    async def misbehave(self, job: RunningJob) -> None:
        for fault in self.faults:
            if fault.kind == "spoil":
                continue  # its pictures arrive broken
            if fault.word in job.order.request.prompt and fault.step == job.step and self.may_fail():
                log.info("Told to %s at step %d of %s.", fault.kind, job.step, job.order.job)
                await self.fail(fault.kind, job)

    def may_fail(self) -> bool:
        """With --once FILE only the first fault of all processes that share the file happens."""
        if not self.options.once:
            return True
        try:
            Path(self.options.once).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    async def fail(self, kind: str, job: RunningJob) -> None:
        if kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "hang":
            await asyncio.Event().wait()
        elif kind == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            why = events.FailureKind.OUT_OF_MEMORY if kind == "oom" else events.FailureKind.ERROR
            del self.running[job.order.job]
            self.send(
                events.Failed(
                    job=job.order.job,
                    attempt=job.order.attempt,
                    kind=why,
                    sentence="The picture does not fit.",
                    gpu_ms=job.gpu_ms,
                )
            )


@lru_cache(maxsize=256)
def draw_picture(request: Request, index: int, source: str) -> bytes:
    """A plain card whose colour is the request's digest: same request, same bytes."""
    digest = hashlib.sha256(f"{request}{index}{source}".encode()).digest()
    top, bottom = (tuple(int(255 * c) for c in colorsys.hsv_to_rgb(digest[i] / 255, 0.6, 0.9)) for i in (0, 1))
    card = Image.new("RGB", (1, 2))
    card.putdata([top, bottom])
    file = io.BytesIO()
    card.resize((request.width, request.height), Image.Resampling.NEAREST).save(file, "PNG", compress_level=1)
    return file.getvalue()


@lru_cache(maxsize=256)
def draw_preview(request: Request, step: int) -> bytes:
    """A small JPEG that gets lighter."""
    shade = int(255 * step / max(1, request.steps))
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (shade, shade, 255 - shade)).save(file, "JPEG")
    return file.getvalue()


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the real worker are taken too and mean nothing, but --connect, --rows and --local."""
    parser = argparse.ArgumentParser(prog="fake_worker")
    parser.add_argument("--connect", required=True, help="unix:PATH or HOST:PORT")
    parser.add_argument("--local", action="store_true", help="die with the parent")
    parser.add_argument("--rows", type=int, default=8)
    more = ("disk-free-mb", "nice")
    for ignored in ("model", "device", "dtype", "threads", "gpu-mb", "compile", "weights", "data", *more):
        parser.add_argument(f"--{ignored}")
    parser.add_argument("--model-name", default=POSTCARD.name, help="what it says it has loaded")
    parser.add_argument("--engine", default="fake", help="the version that it says it draws with")
    parser.add_argument("--digest", default="0" * 64, help="of the weights it says it has loaded")
    parser.add_argument("--can", action="append", default=[], help="say that its model can do this, too")
    parser.add_argument("--cannot", action="append", default=[], help="say that its model cannot do this")
    parser.add_argument("--step-ms", type=float, default=10.0)
    parser.add_argument("--heartbeat-ms", type=float, default=1000 * events.HEARTBEAT_SECONDS)
    parser.add_argument("--preview-every", type=int, default=2)
    parser.add_argument("--load-seconds", type=float, default=0.0)
    parser.add_argument("--load-fails", default="", help="say this instead of loading, and exit")
    parser.add_argument("--redial", action="store_true", help="serve one bot after the other")
    parser.add_argument("--once", default="", help="a file: only the first fault happens, and makes it")
    for fault in FAULTS:
        parser.add_argument(f"--{fault}", action="append", default=[], metavar="WORD:STEP")
    return parser.parse_args(arguments)


async def connect(where: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the bot."""
    if where.startswith("unix:"):
        return await asyncio.open_unix_connection(where.removeprefix("unix:"))
    host, _, port = where.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def work(options: argparse.Namespace) -> None:
    """Until the connection ends or the worker is told to stop; with --redial until it is killed."""
    again = True
    while again:
        try:
            await one_connection(options)
        except* (OSError, StopAsyncIteration):
            again = options.redial
        await asyncio.sleep(0.02)


async def one_connection(options: argparse.Namespace) -> None:
    """From the handshake to the hang-up."""
    faults = []
    for kind in FAULTS:
        for told in getattr(options, kind):
            word, _, step = told.partition(":")
            faults.append(Fault(kind, word, int(step or 0)))
    reader, writer = await connect(options.connect)
    try:
        await FakeWorker(options, faults, reader, writer).run()
    finally:
        writer.close()


def main() -> None:
    """Runs a worker until its bot ends it, or its connection ends."""
    logging.basicConfig(level="INFO", format="%(levelname)s fake worker: %(message)s", stream=sys.stderr)
    options = parse(sys.argv[1:])
    if options.local and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    asyncio.run(work(options))


if __name__ == "__main__":
    main()
