"""Tells Discord how jobs ended: each of them once, whatever dies in between, for as long as it may succeed.

Works off the outbox that finishing a job wrote. `begin` is recorded before each try, so a later life knows that an
earlier one may have got through, and looks before it posts again:
an edit may be repeated; a new message carries the job's id as nonce, and its buttons name the job.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

import discord

from bot.event_bus import EventBus
from bot.messages.api_errors import REQUEST_ERRORS, ErrorKind, error_kind
from bot.messages.attachments import ResultFiles
from bot.messages.components import Card
from bot.messages.edit_rate_limiter import EditRateLimiter, Weight
from bot.messages.job_card import JobCards, JobView
from bot.messages.message_api import FileMaker, MessageApi
from bot.messages.pending_responses import PendingResponses
from bot.messages.progress_editor import ProgressEditor
from bot.storage_retry import until_stored
from core.backoff import backoff_seconds
from core.job import Job, Kind, Lane, State
from storage.jobs import Jobs
from storage.outbox import LONGEST_BACKOFF_SECONDS, Delivery, Outbox, Way

_T = TypeVar("_T")
log = logging.getLogger(__name__)

#: Deliveries at once, and of them in one channel: discord.py waits inside a request for a channel's bucket to refill,
#: and nobody else has to wait with it.
_AT_ONCE, _AT_ONCE_IN_CHANNEL = 32, 2
#: However long ago a job ended, so often its result is tried: for more than an hour.
_LEAST_TRIES = 20
_IDLE_SECONDS = 30.0
#: A progress message that cannot be taken away: how long one try may last, and how many more follow (eight minutes).
_TIDY_SECONDS, _TIDY_TRIES = 10.0, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTimes:
    """`new_after`: seconds after which a result comes as a new message. `give_up`: seconds of trying in vain."""

    new_after: float
    give_up: float = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Posted:
    """The message with the result, and the one with the progress, where that is another."""

    message: str
    progress: str | None = None


class ResultDelivery:
    """Posts what is due. `clock` is seconds since the epoch."""

    def __init__(
        self,
        client: discord.Client,
        jobs: Jobs,
        outbox: Outbox,
        files: ResultFiles,
        bus: EventBus,
        message_api: MessageApi,
        editor: ProgressEditor,
        pending: PendingResponses,
        limiter: EditRateLimiter,
        cards: JobCards,
        times: DeliveryTimes,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._outbox = outbox
        self._files = files
        self._bus = bus
        self._message_api = message_api
        self._editor = editor
        self._pending = pending
        self._limiter = limiter
        self._cards = cards
        self._times = times
        self._clock = clock
        self._due = asyncio.Event()
        self._busy: set[str] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._channels = WeakValueDictionary[str, asyncio.Semaphore]()  # those in use

    async def run(self) -> None:
        """Works until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            while True:
                self._due.clear()
                due = partial(self._outbox.undelivered, self._clock())
                for delivery in await until_stored(due, "read what has to be posted"):
                    if delivery.job not in self._busy:
                        self._busy.add(delivery.job)
                        tasks.create_task(self._guarded(delivery))
                await self._until_due()

    async def _listen(self) -> None:
        with self._bus.watch() as news:
            async for item in news:
                if isinstance(item, Job) and item.is_final:
                    self._due.set()

    async def _until_due(self) -> None:
        following = await until_stored(self._outbox.next_due, "read when to post next")
        wait = _IDLE_SECONDS if following is None else max(0.05, min(_IDLE_SECONDS, following - self._clock()))
        if self._busy:
            wait = max(wait, 1.0)  # what is due is probably in hand already; its end wakes us
        try:
            async with asyncio.timeout(wait):  # not wait_for: before Python 3.12 that one may swallow a cancellation
                await self._due.wait()
        except TimeoutError:
            return

    async def _guarded(self, delivery: Delivery) -> None:
        """One delivery; whatever goes wrong concerns this one only."""
        try:
            job = await self._jobs.get(delivery.job)
            channel = self._channel_of(job.where.channel if job is not None else "")
            async with channel, self._slots:
                await self.deliver(delivery)
        except Exception:
            log.exception("A result could not be posted because of an error of our own.", extra={"job": delivery.job})
            await self._retry(delivery.job, delivery.tries + 1, "unexpected")
        finally:
            self._busy.discard(delivery.job)
            self._due.set()

    def _channel_of(self, channel: str) -> asyncio.Semaphore:
        """The channel's own places; whoever waits for one holds no place of the others'."""
        return self._channels.setdefault(channel, asyncio.Semaphore(_AT_ONCE_IN_CHANNEL))

    async def deliver(self, delivery: Delivery) -> None:
        """One try of one delivery; notes how it went."""
        job = await self._jobs.get(delivery.job)
        if job is None:
            await self._outbox.undeliverable(delivery.job, "its job is not there")
            return
        if await self._pending.settled(job.where.interaction):
            job = await self._jobs.get(job.id) or job
        await self._editor.leave(job.id)
        begun = await self._outbox.begin(job.id, delivery.way or self._way(job))
        if begun is None:
            return
        if begun.message is not None:  # an earlier try has posted it, and could not take the progress message away
            posted = _Posted(message=begun.message, progress=job.where.message)
        else:
            try:
                posted = await self._post(job, begun)
            except REQUEST_ERRORS as error:
                await self._later_or_never(job, begun, error)
                return
        await self._tidy(job, begun, posted)

    async def _tidy(self, job: Job, begun: Delivery, posted: "_Posted") -> None:
        """Takes the progress message away and notes the result as posted; where that fails, it comes back to it."""
        if posted.progress not in (None, posted.message):
            assert posted.progress is not None
            tries = 0 if begun.message is None else begun.tries
            if not await self._took_away(job, posted.progress) and tries < _TIDY_TRIES:
                at = self._clock() + _backoff(tries + 1)
                shown = partial(self._jobs.set_message, job.id, posted.progress)
                await until_stored(shown, "note a progress message", job=job.id)
                sent = partial(self._outbox.sent, job.id, posted.message, at, "left behind")
                await until_stored(sent, "note a sent result", job=job.id)
                return
        note = partial(self._outbox.posted, job.id, posted.message)
        await until_stored(note, "note a posted result", job=job.id)
        log.info("The result was posted.", extra={"job": job.id})

    def _way(self, job: Job) -> Way:
        """Edits notify nobody, so what took long comes as a new message that mentions who asked."""
        took = self._clock() - job.created_at
        if job.state is State.CANCELLED or job.kind is Kind.CROP:
            return Way.EDIT
        return Way.EDIT if took <= self._times.new_after and job.lane is not Lane.RELAX else Way.NEW

    async def _post(self, job: Job, begun: Delivery) -> "_Posted":
        """The message that now shows how the job ended."""
        if job.where.message is None:  # a crash came between the answer and its id
            job = replace(job, where=replace(job.where, message=await self._message_api.original(job.where)))
        card = self._cards.render(JobView(job=job, pictures_kept=await self._files.complete(job)))
        if begun.way is Way.EDIT and job.where.message is not None:
            try:
                return _Posted(message=await self._edit(job, card))
            except discord.HTTPException as error:
                sort = error_kind(error)
                if sort not in (ErrorKind.MESSAGE_GONE, ErrorKind.ARCHIVED):
                    raise
                if job.state is State.CANCELLED:
                    # Cancelled and deleted, or its thread closed: there is nothing left to say.
                    return _Posted(message=job.where.message)
                await self._outbox.change_way(job.id, Way.NEW)
                if sort is ErrorKind.MESSAGE_GONE:
                    job = replace(job, where=replace(job.where, message=None))
        try:
            return await self._post_anew(job, card, again=begun.tries > 1)
        except discord.HTTPException as error:
            if error_kind(error) is not ErrorKind.FORBIDDEN or job.where.message is None:
                raise
            # Commands work where the bot may not send, and what it has said there can still be changed.
            await self._outbox.change_way(job.id, Way.EDIT)
            return _Posted(message=await self._edit(job, card))

    async def _edit(self, job: Job, card: Card) -> str:
        assert job.where.message is not None
        await self._by_size(job, lambda files: self._message_api.edit(job.where, card, files))
        return job.where.message

    async def _post_anew(self, job: Job, card: Card, *, again: bool) -> "_Posted":
        progress = job.where.message
        posted = None
        if again or progress is None:
            found = await self._message_api.look(job)
            posted, progress = found.result, progress or found.progress
        if posted is None:
            posted = await self._send(job, card)
        return _Posted(message=posted, progress=progress)

    async def _send(self, job: Job, card: Card) -> str:
        reply_to = await self._message_of_source(job)
        send = partial(self._message_api.send, job.where, card, nonce=job.id, mention=job.user, reply_to=reply_to)
        return await self._by_size(job, send)

    async def _by_size(self, job: Job, put: Callable[[list[FileMaker]], Awaitable[_T]]) -> _T:
        """Puts the result's file, or a smaller one where Discord finds it too large."""
        refused: Exception | None = None
        async for attempt in self._files.tries(job):
            await self._limiter.turn(Weight.RESULT)
            try:
                return await put(attempt.makers)
            except REQUEST_ERRORS as error:
                if error_kind(error) is not ErrorKind.TOO_LARGE:
                    raise
                attempt.refuse()
                refused = error
        assert refused is not None
        raise refused

    async def _message_of_source(self, job: Job) -> str | None:
        source = await self._jobs.get(job.source.job) if job.source is not None else None
        same = source is not None and source.where.channel == job.where.channel
        return source.where.message if source is not None and same else None

    async def _took_away(self, job: Job, progress: str) -> bool:
        """Whether the progress message is gone, or will never go. A slow answer must not hold up other results."""
        try:
            async with asyncio.timeout(_TIDY_SECONDS):
                await self._message_api.delete(job.where, progress)
        except REQUEST_ERRORS as error:
            log.warning("A progress message could not be removed: %s", error, extra={"job": job.id})
            return error_kind(error) is ErrorKind.REFUSED
        return True

    async def _later_or_never(self, job: Job, begun: Delivery, error: Exception) -> None:
        """Tries again while that may help; else tells who asked in a direct message, or at the next /info."""
        sort = error_kind(error)
        waited = self._clock() - (job.finished_at or job.created_at)
        hopeless = sort in (ErrorKind.CHANNEL_GONE, ErrorKind.REFUSED, ErrorKind.TOO_LARGE)
        # After a long stop of the bot a first error is no reason to give up.
        if not hopeless and (waited < self._times.give_up or begun.tries < _LEAST_TRIES):
            log.info("Posting will be tried again later (%s).", error, extra={"job": job.id})
            await self._retry(job.id, begun.tries, sort.name)
            return
        log.warning("A result cannot be posted: %s", error, extra={"job": job.id})
        await until_stored(partial(self._outbox.undeliverable, job.id, sort.name), "give up on a result", job=job.id)
        told = await self._tell(job)
        await self._excuse(job, "it came as a direct message" if told else "`/info` has it")

    async def _retry(self, job: str, tries: int, why: str) -> None:
        at = self._clock() + _backoff(tries)
        await until_stored(partial(self._outbox.retry, job, at, why), "note a retry", job=job)

    async def _excuse(self, job: Job, instead: str) -> None:
        """The progress message, where it still stands, must not go on as if the job ran."""
        if job.where.message is None:
            return
        card = self._cards.render(JobView(job=job))
        content = f"{card.content}\n-# The result could not be posted here: {instead}."
        try:
            await self._message_api.edit(job.where, replace(card, content=content), [])
        except REQUEST_ERRORS as error:
            log.info("The progress message cannot be changed (%s).", error, extra={"job": job.id})

    async def _tell(self, job: Job) -> bool:
        """Sends the result as a direct message, and says whether that went. Where it does not, /info says it."""
        try:
            direct = await self._client.create_dm(discord.Object(int(job.user)))
            where = replace(job.where, guild=None, channel=str(direct.id), message=None, token_expires_at=0.0)
            card = self._cards.render(JobView(job=job))
            line = "-# This could not be posted where you asked for it, so here it is."
            sent = await self._send(replace(job, where=where), replace(card, content=f"{card.content}\n{line}"))
        except REQUEST_ERRORS as error:
            log.info("No direct message either (%s); /info will show it.", error, extra={"job": job.id})
            return False
        await self._outbox.told_by(job.id, where.channel, sent)
        return True


def _backoff(tries: int) -> float:
    """Seconds until the next try: 1, 2, 4, … up to five minutes."""
    return backoff_seconds(tries, first=1.0, longest=LONGEST_BACKOFF_SECONDS)
