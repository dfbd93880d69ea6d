"""Keeps each live job's message up to date: newest state wins, and nothing here ever holds up those who decide.

One task a message waits for its turn and sends what is true then. The last state is not the editor's:
result_delivery.py posts it, after `leave`. Knows nothing of storage; asks the scheduler where a job stands.
"""

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import discord

from bot.event_bus import EventBus, WorkerState
from bot.messages.api_errors import REQUEST_ERRORS, ErrorKind, error_kind
from bot.messages.components import Card
from bot.messages.edit_rate_limiter import EditRateLimiter, Weight
from bot.messages.job_card import JobCards, JobView
from bot.messages.message_api import FileMaker, MessageApi
from core.bounded_dict import BoundedDict
from core.events import Progress
from core.job import Job, State

log = logging.getLogger(__name__)

#: After an hour Discord limits edits of a message: then only changes of state are shown.
OLD_SECONDS = 3300.0
_AFTER_TROUBLE_SECONDS = 5.0
_STOP_SECONDS = 5.0
_REMEMBERED = 2000
_FINAL_TROUBLE = (
    ErrorKind.MESSAGE_GONE,
    ErrorKind.ARCHIVED,
    ErrorKind.CHANNEL_GONE,
    ErrorKind.FORBIDDEN,
    ErrorKind.REFUSED,
)

#: Adds place and times, as they are now, to a job.
Look = Callable[[Job, Progress | None], Awaitable[JobView]]


class _Live:
    """One message that changes."""

    def __init__(self, job: Job, card: Card | None) -> None:
        self.job = job
        self.progress: Progress | None = None
        self.shown = card
        self.ran = job.state is State.RUNNING  # at some time since this process follows it
        self.preview: bytes | None = b"" if card is not None else None  # what is attached now; None when nobody knows
        self.weight: Weight | None = None  # of what has not been shown yet
        self.news = asyncio.Event()
        self.sending = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None

    def over(self) -> bool:
        """The rest is delivery's."""
        return self.job.is_final

    def tell(self, weight: Weight) -> None:
        """There is something to show."""
        self.weight = weight if self.weight is None else min(weight, self.weight)
        self.news.set()


class ProgressEditor:
    """`pause`: seconds between two edits of a message. `refresh`: seconds after which a place in line is looked up.

    `patience`: seconds for which a first preview is waited for, so that both it and the start are one edit.
    """

    def __init__(
        self,
        bus: EventBus,
        message_api: MessageApi,
        limiter: EditRateLimiter,
        cards: JobCards,
        look: Look,
        *,
        clock: Callable[[], float],
        pause: float = 2.5,
        refresh: float = 20.0,
        patience: float = 1.0,
    ) -> None:
        self._bus = bus
        self._message_api = message_api
        self._limiter = limiter
        self._cards = cards
        self._look = look
        self._clock = clock
        self.pause = pause
        self.refresh = refresh
        self._patience = patience
        self._lives: dict[str, _Live] = {}
        self._latest: BoundedDict[str, Job] = BoundedDict(_REMEMBERED)  # the last news of jobs

    def follow(self, job: Job, card: Card | None) -> None:
        """Keeps the job's message up to date from now on; `card` is what it shows already, None when nobody knows."""
        newest = self._latest.get(job.id, job)  # it may have started, or ended, while its first answer was on its way
        if job.id in self._lives or newest.is_final or job.where.message is None:
            return
        live = _Live(replace(newest, where=job.where), card)
        live.progress = self._bus.latest(job.id)
        if card is None or newest.state is not job.state or live.progress is not None:
            live.tell(Weight.CHANGE)
        live.task = asyncio.create_task(self._keep(live), name=f"edit-{job.id}")
        self._lives[job.id] = live

    async def leave(self, job_id: str) -> None:
        """Stops touching the job's message; returns when an edit under way has ended."""
        live = self._lives.pop(job_id, None)
        if live is None or live.task is None:
            return
        async with live.sending:
            live.task.cancel()
        await asyncio.wait([live.task])

    async def show_requeued(self) -> None:
        """At a stop: whatever ran until now and goes on later says so, at once. Returns when that is shown."""
        await asyncio.sleep(0)  # the last news are handed out first
        stale = [live for live in self._lives.values() if live.job.state is State.QUEUED and live.ran]
        await asyncio.gather(*map(self._last_word, stale))

    async def _last_word(self, live: _Live) -> None:
        await self.leave(live.job.id)
        await self._show(live)

    async def run(self) -> None:
        """Hands the bus's news to the messages' tasks; ends them when it is cancelled."""
        try:
            with self._bus.watch() as news:
                async for item in news:
                    self._hand_out(item)
        finally:
            leaving = [asyncio.create_task(self.leave(job_id)) for job_id in list(self._lives)]
            if leaving:
                await asyncio.wait(leaving, timeout=_STOP_SECONDS)

    def _hand_out(self, item: Job | Progress | WorkerState) -> None:
        if isinstance(item, Job):
            self._remember(item)
        if isinstance(item, WorkerState):
            for live in self._lives.values():
                if live.job.state is State.QUEUED:
                    live.tell(Weight.CHANGE)
        elif isinstance(item, Progress):
            if (watched := self._lives.get(item.job)) is not None:
                watched.progress = item
                watched.tell(Weight.PREVIEW)
        elif (watched := self._lives.get(item.id)) is not None:
            watched.job = replace(item, where=watched.job.where)
            if item.state is State.RUNNING:
                watched.ran = True
            else:
                watched.progress = None
            watched.tell(Weight.CHANGE)

    def _remember(self, job: Job) -> None:
        self._latest[job.id] = job

    async def _keep(self, live: _Live) -> None:
        try:
            while not live.over():
                await self._until_news(live)
                await _settled(live, self._patience)
                await self._limiter.turn(live.weight if live.weight is not None else Weight.PLACE)
                if live.over():
                    return
                live.weight = None
                live.news.clear()
                rest = await self._show(live)
                if rest is None:
                    return
                await asyncio.sleep(rest)
        except Exception:
            log.exception(
                "A message is no longer kept up to date; its result will still be posted.", extra=_names(live)
            )
        finally:
            if self._lives.get(live.job.id) is live:
                del self._lives[live.job.id]

    async def _until_news(self, live: _Live) -> None:
        """Returns when there is something to show, or when a waiting job's place may have changed."""
        waiting = live.job.state is State.QUEUED and not self._is_old(live.job)
        try:
            async with asyncio.timeout(self.refresh if waiting else None):
                await live.news.wait()
        except TimeoutError:
            return

    async def _show(self, live: _Live) -> float | None:
        """Sends what is true now, if that is new. Returns the seconds to rest; None: it cannot be edited any more."""
        job = live.job
        progress = None if self._is_old(job) else live.progress
        card = self._cards.render(await self._look(job, progress))
        preview = progress.preview if progress is not None else b""
        if (card == live.shown and preview == live.preview) or live.over():
            return 0.0
        files = None if preview == live.preview else _attached(preview)
        try:
            async with live.sending:
                await self._message_api.edit(job.where, card, files)
        except REQUEST_ERRORS as error:
            if error_kind(error) in _FINAL_TROUBLE:
                log.info("A job's message cannot be edited any more (%s).", error_kind(error).name, extra=_names(live))
                return None
            live.tell(Weight.CHANGE)
            return _AFTER_TROUBLE_SECONDS
        live.shown, live.preview = card, preview
        return self.pause

    def _is_old(self, job: Job) -> bool:
        return self._clock() - job.created_at > OLD_SECONDS


async def _settled(live: _Live, patience: float) -> None:
    """Waits for what follows at once: to say the first of the two would hold up the second by a whole pause.

    Else a grid that is done within a pause would never be seen to develop.
    """
    if live.job.state is State.QUEUED:
        await _news_while(live, lambda: live.job.state is State.QUEUED, patience / 4)
    if live.job.state is State.RUNNING and not live.preview:
        await _news_while(live, lambda: not (live.over() or _preview_of(live)), patience)


def _preview_of(live: _Live) -> bytes:
    return live.progress.preview if live.progress is not None else b""


async def _news_while(live: _Live, waits: Callable[[], bool], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while waits():
                live.news.clear()
                await live.news.wait()
    except TimeoutError:
        return


def _attached(preview: bytes) -> list[FileMaker]:
    return [lambda: discord.File(io.BytesIO(preview), "developing.jpg")] if preview else []


def _names(live: _Live) -> dict[str, str]:
    return {"job": live.job.id}
