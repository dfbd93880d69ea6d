"""Puts one job's result in a message: the one that showed its progress, a new one, or a direct one.

Raises what discord.py raises. Knows nothing of tries, times and who else has to hear of it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import discord

from bot.messages.api_errors import REQUEST_ERRORS, ErrorKind, error_kind
from bot.messages.attachments import ResultFiles
from bot.messages.components import Card
from bot.messages.edit_rate_limiter import EditRateLimiter, Weight
from bot.messages.job_card import JobCards, JobView
from bot.messages.message_api import FileMaker, MessageApi
from core.job import Job, State, Where
from storage.jobs import Jobs
from storage.outbox import Delivery, Outbox, Way

_T = TypeVar("_T")


class Settled(Exception):
    """Somebody deleted the job while its result was on its way: there is nothing to post any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """The message with the result, and the one with the progress, where that is another."""

    message: str
    progress: str | None = None


def direct_place(job: Job, channel: str) -> Where:
    """Where its direct message stands: reached through the channel alone."""
    return replace(job.where, guild=None, channel=channel, message=None, token_expires_at=0.0)


class ResultSender:
    """One request after another, each in its turn of the limiter."""

    def __init__(
        self,
        client: discord.Client,
        jobs: Jobs,
        outbox: Outbox,
        files: ResultFiles,
        message_api: MessageApi,
        limiter: EditRateLimiter,
        cards: JobCards,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._outbox = outbox
        self._files = files
        self._message_api = message_api
        self._limiter = limiter
        self._cards = cards

    async def post(self, job: Job, begun: Delivery) -> Posted:
        """The message that now shows how the job ended. Raises Settled where nothing is to be shown any more."""
        if job.where.message is None:  # a crash came between the answer and its id
            job = replace(job, where=replace(job.where, message=await self._message_api.original(job.where)))
        card = self._cards.render(JobView(job=job, pictures_kept=await self._files.complete(job)))
        if begun.way is Way.EDIT and job.where.message is not None:
            try:
                return Posted(message=await self._edit(job, card))
            except discord.HTTPException as error:
                sort = error_kind(error)
                if sort not in (ErrorKind.MESSAGE_GONE, ErrorKind.ARCHIVED):
                    raise
                if job.state is State.CANCELLED:
                    # Cancelled and deleted, or its thread closed: there is nothing left to say.
                    return Posted(message=job.where.message)
                await self._change_way(job, Way.NEW)
                if sort is ErrorKind.MESSAGE_GONE:
                    job = replace(job, where=replace(job.where, message=None))
        try:
            return await self._post_anew(job, card, again=begun.tries > 1)
        except discord.HTTPException as error:
            if error_kind(error) not in (ErrorKind.FORBIDDEN, ErrorKind.CHANNEL_GONE) or job.where.message is None:
                raise
            return await self._edit_instead(job, card, error)

    async def direct(self, job: Job, line: str) -> tuple[str, str]:
        """The result as a direct message to who asked, with a line below it; its channel and its id."""
        channel = await self._client.create_dm(discord.Object(int(job.user)))
        where = direct_place(job, str(channel.id))
        card = self._cards.render(JobView(job=job, pictures_kept=await self._files.complete(job)))
        sent = await self._send(replace(job, where=where), replace(card, content=f"{card.content}\n{line}"))
        return where.channel, sent

    async def _edit_instead(self, job: Job, card: Card, refused: discord.HTTPException) -> Posted:
        """Commands work where the bot may not send, and what it has said there can still be changed."""
        try:
            edited = await self._edit(job, card)
        except discord.HTTPException as error:
            raise error if error_kind(error) is ErrorKind.LATER else refused from None
        await self._change_way(job, Way.EDIT)
        return Posted(message=edited)

    async def _change_way(self, job: Job, way: Way) -> None:
        if await self._outbox.change_way(job.id, way) is None:
            raise Settled

    async def _edit(self, job: Job, card: Card) -> str:
        assert job.where.message is not None
        await self._by_size(job, lambda files: self._message_api.edit(job.where, card, files))
        return job.where.message

    async def _post_anew(self, job: Job, card: Card, *, again: bool) -> Posted:
        progress = job.where.message
        posted = None
        if again or progress is None:
            found = await self._message_api.look(job)
            posted, progress = found.result, progress or found.progress
        if posted is None:
            posted = await self._send(job, card)
        return Posted(message=posted, progress=progress)

    async def _send(self, job: Job, card: Card) -> str:
        send = partial(self._message_api.send, job.where, card, nonce=job.id, mention=job.user)
        reply_to = await self._message_of_source(job)
        if reply_to is not None:
            try:
                return await self._by_size(job, partial(send, reply_to=reply_to))
            except discord.HTTPException as error:
                # A reply needs Read Message History, and a message that can be replied to; the result needs neither.
                if error_kind(error) not in (ErrorKind.FORBIDDEN, ErrorKind.REFUSED):
                    raise
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
