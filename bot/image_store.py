"""Keeps finished pictures, lossless, in files under the data folder. Knows nothing of Discord, queues or workers.

A file is whole or not there: written beside its place, synced, renamed; its row is written after it. A file that is
missing, also at a second look, or damaged counts as pruned: whoever needs it has it rendered again from its job's row.
What only cannot be read just now (no right, no handle left, the folder is away) raises, and changes no row.
"""

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bot.disk_room import DiskRoom
from bot.file_storage import UNFINISHED, is_folder, sync_folders, write_atomically
from bot.thread_pool import ThreadPool
from core.errors import DiskFull, PicturesAway
from core.job import Job, Kind, Source
from storage.database import Database
from storage.image_retention import ImageRetention, Picture
from storage.jobs import Jobs

log = logging.getLogger(__name__)

_MB = 1_000_000
#: Between the two looks at a file that is not there: short, since a button's first answer may wait for it.
SECOND_LOOK_SECONDS = 0.5
_AWAY = "Kept pictures cannot be read from the disk just now. Please try again in a moment."


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file that no row names yet."""

    job: str
    index: int
    file: str
    bytes: int
    sha256: str


class ImageStore:
    """`limit_bytes`: kept at most, oldest use goes first. `free_bytes`: with less free disk nothing new is taken."""

    def __init__(
        self, folder: Path, db: Database, results: ImageRetention, jobs: Jobs, *, limit_bytes: int, free_bytes: int
    ) -> None:
        self._folder = folder
        self._db = db
        self._results = results
        self._jobs = jobs
        self._limit_bytes = limit_bytes
        self._free_bytes = free_bytes
        # Reading is quick, and presses wait for it; writing waits for the disk.
        self._readers, self._writers = ThreadPool("read", 4), ThreadPool("write", 4)
        self._whole = asyncio.Semaphore(2)  # results read at once: threads stay free for those who press
        self._room = DiskRoom(folder)

    async def write(self, job_id: str, index: int, png: bytes) -> Written:
        """Puts one finished picture (0-based) on the disk; it is kept once `keep` has noted it. Raises OSError."""
        name = f"{job_id[:2]}/{job_id}-{index}.png"
        digest = await self._writers.run(_write, self._folder / name, png)
        return Written(job=job_id, index=index, file=name, bytes=len(png), sha256=digest)

    async def keep(self, pictures: Collection[Written]) -> None:
        """Notes a job's written pictures, all of them or none; again after pruning is fine."""
        await self._writers.run(sync_folders, {(self._folder / picture.file).parent for picture in pictures})
        async with self._db.transaction() as tx:
            for it in pictures:
                await self._results.add(it.job, it.index, it.file, it.bytes, it.sha256, tx=tx)

    async def drop(self, pictures: Collection[Written]) -> None:
        """Removes written pictures that will not be kept."""
        for picture in pictures:
            await self._writers.run((self._folder / picture.file).unlink, missing_ok=True)

    async def read(self, job_id: str, index: int) -> bytes | None:
        """The PNG, or None when it is not kept (any more). Raises PicturesAway when nobody can say that just now."""
        row = await self._results.get(job_id, index)
        if row is None or row.pruned:
            return None
        try:
            png = await self._look(row)
        except OSError as error:
            log.warning("A picture cannot be read just now (%s).", error, extra={"job": job_id})
            raise PicturesAway(_AWAY) from error
        if png is not None and await self._readers.run(_sha256, png) == row.sha256:
            return png
        what = "is missing" if png is None else "is damaged"
        log.warning("The file of a picture %s; it will be drawn again.", what, extra={"job": job_id})
        await self._results.mark_pruned(job_id, index)
        return None

    async def _look(self, picture: Picture) -> bytes | None:
        """The file's bytes; None when it is not there, also a moment later. Raises OSError when nobody can say."""
        path = self._folder / picture.file
        for seconds in (SECOND_LOOK_SECONDS, 0.0):
            try:
                return await self._readers.run(path.read_bytes)
            except FileNotFoundError:
                await asyncio.sleep(seconds)
        await self._readers.run(_check_there, self._folder)
        return None

    async def use(self, job_id: str, index: int) -> bytes | None:
        """As `read`, and counts as a use: it is pruned later than others."""
        png = await self.read(job_id, index)
        if png is not None:
            await self._results.touch(job_id, index)
        return png

    async def results(self, job: Job) -> tuple[bytes, ...] | None:
        """A done job's pictures in order; a crop's is its source's. None when one is missing."""
        sources = (
            [job.source] if job.kind is Kind.CROP else [Source(job=job.id, index=i) for i in range(job.request.count)]
        )
        async with self._whole:
            found = [await self.read(source.job, source.index) for source in sources if source is not None]
        complete = tuple(png for png in found if png is not None)
        return complete if complete and len(complete) == len(sources) else None

    async def root(self, source: Source) -> Source:
        """The picture itself: a crop has none of its own, it shows its source's."""
        seen: set[str] = set()
        while source.job not in seen:
            seen.add(source.job)
            job = await self._jobs.get(source.job)
            if job is None or job.kind is not Kind.CROP or job.source is None:
                return source
            source = job.source
        return source

    async def forget(self, job: Job) -> None:
        """Removes a job's own files for good: one drawn again for another job goes an hour after its last use.

        Raises OSError for a file that stays; nothing shows it any more, and doing it again tries again.
        """
        pictures = await self._results.of(job.id)
        await self._results.forget(job.id)
        stayed: OSError | None = None
        for picture in pictures:
            try:
                await self._unlink(picture)
            except OSError as error:
                stayed = error
        if stayed is not None:
            raise stayed

    async def prune(self) -> int:
        """Removes pictures until the limit holds again; returns how many."""
        gone = 0
        while victims := await self._prune_candidates():
            for picture in victims:
                await self._remove(picture)
            gone += len(victims)
        if gone:
            log.info("%d pictures were removed; their buttons draw them again.", gone)
        return gone

    async def _prune_candidates(self) -> list[Picture]:
        over = await self._results.total_bytes() - self._limit_bytes
        return await self._results.prune_candidates(max(0, over))

    async def check_room(self) -> None:
        """Raises DiskFull while the disk has less free space than the configuration asks for."""
        try:
            free = await self._room.free_bytes()
        except OSError as error:
            log.warning("Nobody can say how much room the disk has (%s).", error)
            raise PicturesAway(_AWAY) from error
        if free < self._free_bytes:
            raise DiskFull(
                f"The disk is nearly full ({free // _MB} MB free), so no new jobs are accepted. "
                "Please tell the bot's owner; what is in the queue will finish."
            )

    async def sweep(self, before: float) -> None:
        """Removes what a killed process left half written `before` this one began; looks through all folders."""
        await self._writers.run(_sweep, self._folder, before)

    async def _remove(self, picture: Picture) -> None:
        # The row first: a row without its file would only cost a look, a file without its row would stay for ever.
        await self._results.mark_pruned(picture.job, picture.index)
        await self._unlink(picture)

    async def _unlink(self, picture: Picture) -> None:
        await self._writers.run((self._folder / picture.file).unlink, missing_ok=True)


def _write(path: Path, png: bytes) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, png)
    return _sha256(png)


def _sha256(png: bytes) -> str:
    return hashlib.sha256(png).hexdigest()


def _check_there(folder: Path) -> None:
    """Raises OSError for a folder that is missing, or empty as a disk's place is while the disk is not mounted."""
    if not any(folder.iterdir()):
        raise FileNotFoundError(errno.ENOENT, "The folder is empty", str(folder))


def _sweep(folder: Path, before: float) -> None:
    with contextlib.suppress(FileNotFoundError):
        with os.scandir(folder) as entries:
            places = [entry.path for entry in entries if is_folder(Path(entry.path))]
        for place in places:
            try:
                _sweep_one(place, before)
            except PermissionError as error:  # nothing of ours: a disk's own lost+found
                log.warning("%s is not looked through (%s).", place, error.strerror)


def _sweep_one(place: str, before: float) -> None:
    with os.scandir(place) as entries:
        for entry in entries:  # hundreds of thousands in all: only the name is looked at
            if entry.name.endswith(UNFINISHED) and entry.stat().st_mtime < before:
                Path(entry.path).unlink(missing_ok=True)
