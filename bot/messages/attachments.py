"""The files of a result, from the largest that Discord may take down to the smallest. Knows nothing of messages."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable

import discord

from bot.image_store import ImageStore
from bot.messages.grid_image import ENCODINGS, UPLOAD_BYTES, encode
from bot.messages.message_api import FileMaker
from bot.text import file_name
from core.job import Job, State


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

    async def complete(self, job: Job) -> bool:
        """Whether all that the job's message has to show is there."""
        return job.state is not State.DONE or await self._images.results(job) is not None

    async def tries(self, job: Job) -> AsyncIterator[Try]:
        """Sets of files to try in turn, until one is taken; at least one. An unfinished job has no files."""
        pictures = await self._images.results(job) if job.state is State.DONE else None
        if not pictures:
            yield Try([], 0)
            return
        limit = self._limit_of(job)
        for encoding in ENCODINGS:
            data = await asyncio.to_thread(encode, pictures, encoding)
            last = encoding is ENCODINGS[-1]
            if len(data) > limit and not last:
                continue
            attempt = Try([_maker(data, file_name(job, encoding.ending))], len(data))
            yield attempt
            if attempt.refused:
                limit = min(limit, len(data) - 1)


def _maker(data: bytes, name: str) -> FileMaker:
    return lambda: discord.File(io.BytesIO(data), name)
