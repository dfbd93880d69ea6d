"""Tells Discord how jobs ended: each of them once, whatever dies in between, for as long as it may succeed.

Works off the outbox that finishing a job wrote. `begin` is recorded before each try, so a later life knows that an
earlier one may have got through, and looks before it posts again:
an edit may be repeated; a new message carries the job's id as nonce, and its buttons name the job.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakValueDictionary

import discord

from bot.event_bus import EventBus
from bot.messages.api_errors import REQUEST_ERRORS, ErrorKind, error_kind, in_one_line
from bot.messages.attachments import ResultFiles
from bot.messages.components import Card
from bot.messages.edit_rate_limiter import EditRateLimiter
from bot.messages.job_card import JobCards, JobView
from bot.messages.message_api import MessageApi
from bot.messages.pending_responses import PendingResponses
from bot.messages.progress_editor import ProgressEditor
from bot.messages.result_sender import Posted, ResultSender, Settled, direct_place
from bot.storage_retry import until_stored
from bot.text import link
from core.backoff import backoff_seconds
from core.errors import PicturesAway
from core.job import Job, Kind, Lane, State, Where
from storage.jobs import Jobs
from storage.outbox import LONGEST_BACKOFF_SECONDS, Delivery, Outbox, Way

log = logging.getLogger(__name__)

#: Deliveries at once, and of them in one channel: discord.py waits inside a request for a channel's bucket to refill,
#: and nobody else has to wait with it.
_AT_ONCE, _AT_ONCE_IN_CHANNEL = 32, 2
#: However long ago a job ended, so often its result is tried: for more than an hour.
_LEAST_TRIES = 20
#: So often it is tried, at least, before whoever asked is told by another door.
_TRIES_BEFORE_TELLING = 3
_IDLE_SECONDS = 30.0
_DIRECT_LINE = "-# This could not be posted where you asked for it, so here it is."
#: A progress message that cannot be taken away: how long one try may last, and how many more follow (eight minutes).
_TIDY_SECONDS, _TIDY_TRIES = 10.0, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTimes:
    """`new_after`: seconds after which a result comes as a new message. `give_up`: seconds of trying in vain.

    `tell_after`: seconds of trying after which whoever asked is told by another door.
    """

    new_after: float
    give_up: float = 86_400.0
    tell_after: float = 60.0


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
        self._bus = bus
        self._message_api = message_api
        self._editor = editor
        self._pending = pending
        self._cards = cards
        self._sender = ResultSender(client, jobs, outbox, files, message_api, limiter, cards)
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
            await self._after_mistake(delivery)
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
        if delivery.is_deleted:
            await self._remove(job, delivery)
            return
        if await self._pending.settled(job.where.interaction):
            job = await self._jobs.get(job.id) or job
        await self._editor.leave(job.id)
        way = self._way(job)
        begun = await self._outbox.begin(job.id, delivery.way or way)
        if begun is not None and begun.message is None and (begun.way, way) == (Way.EDIT, Way.NEW):
            begun = await self._outbox.change_way(job.id, way)  # it was tried until nobody looked at it any more
        if begun is None:
            return
        if begun.message is not None:  # an earlier try has posted it, and could not take the progress message away
            await self._tidy(job, begun, Posted(message=begun.message, progress=job.where.message))
            return
        try:
            posted = await self._sender.post(job, begun)
        except Settled:
            return
        except (*REQUEST_ERRORS, PicturesAway) as error:
            await self._later_or_never(job, begun, error)
            return
        if not await self._note_sent(job, posted, "its progress message still stands"):
            await self._take_back(job.where, posted.message, job)
            return
        await self._tidy(job, begun, posted)

    async def _note_sent(self, job: Job, posted: Posted, note: str, tries: int = 0) -> bool:
        """Writes down at once which messages there are, so that Delete finds both; False: it was deleted meanwhile."""
        if posted.progress is None or posted.progress == posted.message:
            return True
        if job.where.message != posted.progress:
            shown = partial(self._jobs.set_message, job.id, posted.progress)
            await until_stored(shown, "note a progress message", job=job.id)
        sent = partial(self._outbox.sent, job.id, posted.message, self._clock() + _backoff(tries + 1), note)
        return await until_stored(sent, "note a sent result", job=job.id)

    async def _take_back(self, where: Where, message: str, job: Job) -> None:
        """The message of a job that somebody deleted while it was sent."""
        try:
            await self._message_api.delete(where, message)
        except REQUEST_ERRORS as error:
            log.warning(
                "The message of a deleted job could not be removed: %s", in_one_line(error), extra={"job": job.id}
            )
        else:
            await until_stored(partial(self._outbox.gone, job.id), "note a removed result", job=job.id)

    async def _remove(self, job: Job, delivery: Delivery) -> None:
        """What a try has posted of a deleted job, whose answer was lost, or came to a bot that was killed."""
        try:
            found = await self._message_api.look(job)
            if found.result is not None:
                await self._message_api.delete(job.where, found.result)
        except REQUEST_ERRORS as error:
            log.info("A deleted job's message cannot be looked for (%s).", in_one_line(error), extra={"job": job.id})
            if not _is_lasting(error) and delivery.tries < _LEAST_TRIES:
                await self._look_again(delivery)
                return
        await until_stored(partial(self._outbox.gone, job.id), "note a removed result", job=job.id)

    async def _look_again(self, deleted: Delivery) -> None:
        again = partial(self._outbox.look_again, deleted.job, self._clock() + _backoff(deleted.tries))
        await until_stored(again, "note what is looked for later", job=deleted.job)

    async def _tidy(self, job: Job, begun: Delivery, posted: Posted) -> None:
        """Takes the progress message away and notes the result as posted; where that fails, it comes back to it."""
        if posted.progress not in (None, posted.message):
            assert posted.progress is not None
            tries = 0 if begun.message is None else begun.tries
            if not await self._took_away(job, posted, last=tries >= _TIDY_TRIES):
                await self._note_sent(job, posted, "left behind", tries)
                return
        note = partial(self._outbox.posted, job.id, posted.message)
        if not await until_stored(note, "note a posted result", job=job.id):
            await self._take_back(job.where, posted.message, job)
            return
        log.info("The result was posted.", extra={"job": job.id})

    def _way(self, job: Job) -> Way:
        """Edits notify nobody, so what took long comes as a new message that mentions who asked."""
        took = self._clock() - job.created_at
        if job.state is State.CANCELLED or job.kind is Kind.CROP:
            return Way.EDIT
        return Way.EDIT if took <= self._times.new_after and job.lane is not Lane.RELAX else Way.NEW

    async def _took_away(self, job: Job, posted: Posted, *, last: bool) -> bool:
        """Whether the progress message is gone, or nothing more can be done about it.

        A slow answer must not hold up other results.
        """
        assert posted.progress is not None
        try:
            async with asyncio.timeout(_TIDY_SECONDS):
                await self._message_api.delete(job.where, posted.progress)
        except REQUEST_ERRORS as error:
            log.warning("A progress message could not be removed: %s", in_one_line(error), extra={"job": job.id})
            return (last or _is_lasting(error)) and (await self._pointed_on(job, posted) or last)
        return True

    async def _pointed_on(self, job: Job, posted: Posted) -> bool:
        """A progress message that stays says where the result is, and has no Cancel any more."""
        there = link(replace(job, where=replace(job.where, message=posted.message)))
        card = Card(content=self._cards.render(JobView(job=job)).content)
        where = replace(job.where, message=posted.progress)
        try:
            async with asyncio.timeout(_TIDY_SECONDS):
                await self._add_line(where, card, f"-# Its result: {there}")
        except REQUEST_ERRORS as error:
            log.warning(
                "A progress message that stays could not be changed: %s", in_one_line(error), extra={"job": job.id}
            )
            return _is_lasting(error)
        return True

    async def _later_or_never(self, job: Job, begun: Delivery, error: Exception) -> None:
        """Tries again while that may help; else tells who asked in a direct message, or at the next /info."""
        sort = error_kind(error)
        waited = self._clock() - (job.finished_at or job.created_at)
        hopeless = sort in (ErrorKind.CHANNEL_GONE, ErrorKind.REFUSED, ErrorKind.TOO_LARGE)
        left = sort is ErrorKind.FORBIDDEN and self._has_left(job) and begun.tries > 1
        # After a long stop of the bot a first error is no reason to give up.
        if not hopeless and not left and (waited < self._times.give_up or begun.tries < _LEAST_TRIES):
            log.info("Posting will be tried again later (%s).", in_one_line(error), extra={"job": job.id})
            await self._put_off(job, begun, sort)
            return
        log.warning("A result cannot be posted: %s", in_one_line(error), extra={"job": job.id})
        give_up = partial(self._outbox.undeliverable, job.id, sort.name)
        if not await until_stored(give_up, "give up on a result", job=job.id):
            return  # somebody has deleted it
        told = begun.told_message is not None or (not begun.told and await self._tell(job))
        await self._excuse(job, self._cards.render(JobView(job=job)), told=told)

    async def _put_off(self, job: Job, begun: Delivery, sort: ErrorKind) -> None:
        """To be tried again. One that its channel has refused for a while is told by another door meanwhile."""
        waited = self._clock() - (job.finished_at or job.created_at)
        if waited >= self._times.tell_after and begun.tries >= _TRIES_BEFORE_TELLING and not begun.told:
            late = await until_stored(partial(self._outbox.late, job.id), "note a late result", job=job.id)
            if late and sort is not ErrorKind.LATER:
                told = await self._tell(job)
                if told or begun.late_at is None:
                    # No buttons yet: by them a later try would take this card for the result.
                    await self._excuse(job, Card(content=self._cards.render(JobView(job=job)).content), told=told)
        at = self._clock() + _backoff(begun.tries)
        await until_stored(partial(self._outbox.retry, job.id, at, sort.name), "note a retry", job=job.id)

    async def _after_mistake(self, delivery: Delivery) -> None:
        """An error of our own may be gone after an update; until then /info has the result."""
        job = await until_stored(partial(self._jobs.get, delivery.job), "read a job", job=delivery.job)
        tried = await until_stored(partial(self._outbox.get, delivery.job), "read a result", job=delivery.job)
        if job is None or tried is None:
            return
        if tried.is_deleted:
            await self._look_again(tried)
        else:
            await self._put_off(job, tried, ErrorKind.LATER)

    def _has_left(self, job: Job) -> bool:
        """Whether the bot is no longer a member of the job's server. Before the gateway has told, nobody knows."""
        guild = job.where.guild
        return guild is not None and self._client.is_ready() and self._client.get_guild(int(guild)) is None

    async def _excuse(self, job: Job, card: Card, *, told: bool) -> None:
        """The progress message, where it still stands, must not go on as if the job ran."""
        if job.where.message is None:
            return
        instead = "it came as a direct message" if told else "`/info` has it"
        line = f"-# The result could not be posted here: {instead}."
        try:
            await self._add_line(job.where, card, line)
        except REQUEST_ERRORS as error:
            log.info("The progress message cannot be changed (%s).", in_one_line(error), extra={"job": job.id})

    async def _add_line(self, where: Where, card: Card, line: str) -> None:
        """Shows the card with a line below it; where Discord takes its words no more, the line alone."""
        try:
            await self._message_api.edit(where, replace(card, content=f"{card.content}\n{line}"), [])
        except discord.HTTPException as error:
            if error_kind(error) is not ErrorKind.REFUSED:
                raise
            await self._message_api.edit(where, replace(card, content=line), [])

    async def _tell(self, job: Job) -> bool:
        """Sends the result as a direct message, and says whether that went. Where it does not, /info says it."""
        try:
            channel, sent = await self._sender.direct(job, _DIRECT_LINE)
        except (*REQUEST_ERRORS, PicturesAway) as error:
            log.info("No direct message either (%s); /info will show it.", in_one_line(error), extra={"job": job.id})
            return False
        told = partial(self._outbox.told_by, job.id, channel, sent)
        if not await until_stored(told, "note a direct message", job=job.id):
            await self._take_back(direct_place(job, channel), sent, job)
        return True


def _is_lasting(error: Exception) -> bool:
    """Whether the same request will be refused again."""
    return error_kind(error) not in (ErrorKind.LATER, ErrorKind.TOKEN_DEAD)


def _backoff(tries: int) -> float:
    """Seconds until the next try: 1, 2, 4, … up to five minutes."""
    return backoff_seconds(tries, first=1.0, longest=LONGEST_BACKOFF_SECONDS)
