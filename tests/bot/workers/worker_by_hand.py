"""A worker's side of the wire, played by a test: what it says is written out, what it hears is read, word by word."""

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from PIL import Image

from core import events, wire
from core.worker_auth import make_proof
from tests.harness.headless_bot import HeadlessBot, headless_bot

KEY = "k" * 32


def png(width: int = 64, height: int = 64, *, announced: tuple[int, int] | None = None) -> bytes:
    """A picture; with `announced` its header tells of another size, with right sums."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, "PNG")
    data = file.getvalue()
    if announced is not None:
        header = b"IHDR" + struct.pack(">II", *announced) + data[24:29]
        data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    return data


def rubbish() -> bytes:
    """A PNG with right sums whose pixels cannot be decoded."""

    def chunk(kind: bytes, inside: bytes) -> bytes:
        return struct.pack(">I", len(inside)) + kind + inside + struct.pack(">I", zlib.crc32(kind + inside))

    head = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"rubbish" * 9) + chunk(b"IEND", b"")


def picture(job: str, index: int = 0, data: bytes | None = None, *, attempt: int = 1, **size: int) -> events.Picture:
    """A picture that is as it was ordered, unless it is told otherwise."""
    sides = {"width": 64, "height": 64} | size
    return events.Picture(job=job, attempt=attempt, index=index, png=png() if data is None else data, **sides)


MODEL = events.ModelInfo(
    name="postcard",
    family="sd",
    digest="0",
    dtype="float32",
    native=256,
    multiple=16,
    steps=20,
    guidance=5.0,
    sampler="euler",
    samplers=("euler",),
    edits=("variation",),
)


@asynccontextmanager
async def alone(tmp_path: Path, **changes: str) -> AsyncIterator[HeadlessBot]:
    """A bot that starts no worker."""
    async with headless_bot(tmp_path, DARKROOM_WORKER="none", DARKROOM_WORKER_KEY=KEY, **changes) as bot:
        await bot.eventually(lambda: asyncio.to_thread((tmp_path / "worker.sock").exists), "the door")
        yield bot


class Caller:
    """A worker's side of the wire, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.splitter = wire.Splitter()
        self.heard: list[events.Message] = []
        self.catalogue: events.Catalogue | None = None

    async def hear(self) -> events.Message | None:
        """The next message; None when the other side hung up. The catalogue behind the welcome is kept aside."""
        while not self.heard:
            chunk = await self.reader.read(65536)
            if not chunk:
                return None
            for message in self.splitter.feed(chunk):
                if isinstance(message, events.Catalogue):
                    self.catalogue = message
                else:
                    self.heard.append(message)
        return self.heard.pop(0)

    async def say(self, *messages: events.Message) -> None:
        for message in messages:
            self.writer.write(wire.encode(message))
        await self.writer.drain()

    async def greet(self, key: str = KEY, protocol: int = events.PROTOCOL) -> events.Message | None:
        challenge = await self.hear()
        assert isinstance(challenge, events.Challenge)
        await self.say(
            events.Hello(
                protocol=protocol,
                version="1",
                proof=make_proof(key, challenge.nonce),
                name="by-hand",
                pid=0,
                device="fake",
                memory_mb=1,
                max_rows=8,
            )
        )
        return await self.hear()


@asynccontextmanager
async def caller(where: Path | int) -> AsyncIterator[Caller]:
    if isinstance(where, Path):
        reader, writer = await asyncio.open_unix_connection(where / "worker.sock")
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", where)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass
