"""The files of a result, from the largest that Discord may take down to the smallest. Knows nothing of messages.

They are made by one or two threads of their own, and pictures are read when it is their turn: a grid of large pictures
takes seconds and a hundred megabytes, and twelve of them may end at once.
"""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable

import discord

from bot.image_store import ImageStore
from bot.messages.grid_image import ENCODINGS, UPLOAD_BYTES, Encoding, encode
from bot.messages.message_api import FileMaker
from bot.text import file_name
from bot.thread_pool import ThreadPool
from core.job import Job, Kind, State

#: Results whose files are made at once: a core stays free for answers.
AT_ONCE = 2 if (os.cpu_count() or 1) > 2 else 1


class Try:
    """One set of files. Whoever sees it refused for its size says so and goes on to the next."""

    def __init__(self, makers: list[FileMaker], size: int) -> None:
        self.makers = makers
        self.size = size
        self.refused = False

    def refuse(self) -> None:
        """Too large: the next one is smaller."""
        self.refused = True


class ResultFiles:
    """`limit_of` says how many bytes a server takes: a hint, since Discord's own answer decides."""

    def __init__(self, images: ImageStore, limit_of: Callable[[Job], int] = lambda _: UPLOAD_BYTES) -> None:
        self._images = images
        self._limit_of = limit_of
        self.at_once = AT_ONCE
        self._encoders = ThreadPool("encode", AT_ONCE)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def complete(self, job: Job) -> bool:
        """Whether all that the job's message has to show is there."""
        return job.state is not State.DONE or await self._images.results(job) is not None

    async def tries(self, job: Job) -> AsyncIterator[Try]:
        """Sets of files to try in turn, until one is taken; at least one. An unfinished job has no files."""
        limit = self._limit_of(job)
        for encoding in ENCODINGS:
            data = await self._encoded(job, encoding)
            if data is None:
                yield Try([], 0)
                return
            last = encoding is ENCODINGS[-1]
            if len(data) > limit and not last:
                continue
            attempt = Try([_maker(data, file_name(job, encoding.ending))], len(data))
            yield attempt
            if attempt.refused:
                limit = min(limit, len(data) - 1)

    async def singles(self, job: Job) -> list[FileMaker]:
        """Each picture as a file of its own, lossless where Discord takes that everywhere; none where they are gone."""
        async with self._turns:
            pictures = await self._images.results(job) if job.state is State.DONE else None
            made = [await self._encoders.run(_fitting, picture) for picture in pictures or ()]
        first = job.source.index if job.kind is Kind.CROP and job.source is not None else 0
        return [
            _maker(data, file_name(job, f"-{number}{ending}"))
            for number, (data, ending) in enumerate(made, start=first + 1)
        ]

    async def _encoded(self, job: Job, encoding: Encoding) -> bytes | None:
        """None where there are no pictures to show."""
        if job.state is not State.DONE:
            return None
        async with self._turns:
            pictures = await self._images.results(job)
            return await self._encoders.run(encode, pictures, encoding) if pictures else None


def _fitting(picture: bytes) -> tuple[bytes, str]:
    """A PNG as the largest file that every place takes, and how its name ends."""
    for encoding in ENCODINGS[:-1]:
        data = encode([picture], encoding)
        if len(data) <= UPLOAD_BYTES:
            return data, encoding.ending
    return encode([picture], ENCODINGS[-1]), ENCODINGS[-1].ending


def _maker(data: bytes, name: str) -> FileMaker:
    return lambda: discord.File(io.BytesIO(data), name)
