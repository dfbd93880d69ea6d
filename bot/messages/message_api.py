"""The two ways to a job's message: the interaction's webhook while its token lives, then the channel.

Raises what discord.py raises (see bot/messages/api_errors.py). Knows nothing of when and why a message changes.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import discord

from bot.messages.api_errors import REQUEST_ERRORS, ErrorKind, error_kind
from bot.messages.components import Card, ComponentId, Verb
from core.bounded_dict import BoundedDict
from core.job import Job, Where

#: Makes a file anew for each try: a discord.File is read once.
FileMaker = Callable[[], discord.File]

#: The token is given up this share of its life before its end, so that no request arrives a moment too late.
TOKEN_MARGIN = 1 / 15
#: Messages looked through for a result, from about its job's end on: a hundred a request.
_LOOK_THROUGH = 5000
#: The first answer comes soon after its command, so it is among the first messages.
_LOOK_FOR_ANSWER = 100
#: How far the clocks here and at Discord may have drifted apart while a job was waiting.
_DRIFT_SECONDS = 300.0
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Messages of ours about a job that stand in its channel, as ids."""

    progress: str | None = None
    result: str | None = None


class MessageApi:
    """Both ways. `clock` is seconds since the epoch; `view_of` makes a card's components, anew for each use."""

    def __init__(
        self, client: discord.Client, clock: Callable[[], float], view_of: Callable[[Card], discord.ui.View]
    ) -> None:
        self._client = client
        self._clock = clock
        self._view_of = view_of
        self._dead: BoundedDict[str, None] = BoundedDict(_REMEMBERED)  # interactions whose token was refused

    async def edit(self, where: Where, card: Card, files: Sequence[FileMaker] | None = None) -> None:
        """Makes the message show `card`. `files` replaces its attachments; None leaves them."""
        assert where.message is not None
        message = int(where.message)

        async def through_webhook(webhook: discord.Webhook) -> None:
            await webhook.edit_message(message, **self._shown(card, files))

        async def through_channel(channel: discord.PartialMessageable) -> None:
            await channel.get_partial_message(message).edit(**self._shown(card, files))

        await self._through(where, through_webhook, through_channel)

    async def delete(self, where: Where, message: str) -> None:
        """Takes a message away; one that is gone already is fine."""

        async def through_webhook(webhook: discord.Webhook) -> None:
            try:
                await webhook.delete_message(int(message))
            except discord.NotFound as error:
                if error_kind(error) is not ErrorKind.MESSAGE_GONE:
                    raise
                # A webhook knows its own messages only; a result that came as a new one is not among them.
                await through_channel(self.channel(where))

        async def through_channel(channel: discord.PartialMessageable) -> None:
            await channel.get_partial_message(int(message)).delete()

        try:
            await self._through(where, through_webhook, through_channel)
        except discord.NotFound as error:
            if error_kind(error) not in (ErrorKind.MESSAGE_GONE, ErrorKind.CHANNEL_GONE):
                raise

    async def send(
        self,
        where: Where,
        card: Card,
        files: Sequence[FileMaker],
        *,
        nonce: str,
        mention: str,
        reply_to: str | None = None,
    ) -> str:
        """Posts a new message that mentions one person, and returns its id.

        Discord answers a second one with the same nonce within a few minutes with the first.
        """
        channel = self.channel(where)
        more: dict[str, Any] = {}
        if reply_to is not None:
            more["reference"] = discord.MessageReference(
                message_id=int(reply_to), channel_id=int(where.channel), fail_if_not_exists=False
            )
        message = await channel.send(
            card.content,
            files=[make() for make in files],
            view=self._view_of(card),
            nonce=nonce,
            allowed_mentions=_only(mention),
            **more,
        )
        return str(message.id)

    async def original(self, where: Where) -> str | None:
        """The id of the interaction's first answer, asked for by token; None when there is none or no way to know."""
        webhook = self._webhook(where)
        if webhook is None:
            return None
        try:
            message = await webhook.fetch_message("@original")  # type: ignore[arg-type]
        except discord.HTTPException as error:
            if error_kind(error) is ErrorKind.LATER:
                raise
            return None
        return str(message.id)

    async def is_there(self, where: Where) -> bool:
        """Whether the job's message still stands in its channel; False also where nobody can say."""
        if where.message is None:
            return False
        try:
            await self.channel(where).fetch_message(int(where.message))
        except REQUEST_ERRORS:
            return False
        return True

    async def look(self, job: Job) -> Found:
        """Messages about the job that an earlier life of this program may have posted."""
        asked = int(job.where.interaction)
        ended = discord.utils.time_snowflake(datetime.fromtimestamp(_ended_by_discords_clock(job), UTC))
        found = Found(progress=job.where.message)
        try:
            if found.progress is None:
                found = await self._search(job, found, after=asked, limit=_LOOK_FOR_ANSWER)
            if found.result is None:
                found = await self._search(job, found, after=max(asked, ended), limit=_LOOK_THROUGH)
        except discord.Forbidden as error:
            if error_kind(error) is not ErrorKind.FORBIDDEN:
                raise  # nobody has looked: to post now might be to post twice
            # Without Read Message History the nonce has to do.
        return found

    async def _search(self, job: Job, found: Found, *, after: int, limit: int) -> Found:
        async for message in self._ours(job.where, after, limit):
            verbs = {found.verb for found in components_in(message) if found.job == job.id}
            if Verb.INFO in verbs:
                return Found(progress=found.progress, result=str(message.id))
            if Verb.CANCEL in verbs:
                found = Found(progress=str(message.id))
        return found

    def channel(self, where: Where) -> discord.PartialMessageable:
        """The job's channel, by its id alone."""
        guild = int(where.guild) if where.guild else None
        return self._client.get_partial_messageable(int(where.channel), guild_id=guild)

    async def _ours(self, where: Where, after: int, limit: int) -> AsyncIterator[discord.Message]:
        mine, since = self._client.user, discord.Object(after)
        async for message in self.channel(where).history(limit=limit, after=since, oldest_first=True):
            if mine is not None and message.author.id == mine.id:
                yield message

    async def _through(self, where: Where, by_webhook: Any, by_channel: Any) -> None:
        webhook = self._webhook(where)
        if webhook is not None:
            try:
                await by_webhook(webhook)
                return
            except REQUEST_ERRORS as error:
                if error_kind(error) is not ErrorKind.TOKEN_DEAD:
                    raise
                self._dead[where.interaction] = None
        await by_channel(self.channel(where))

    def _shown(self, card: Card, files: Sequence[FileMaker] | None) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "content": card.content,
            "view": self._view_of(card),
            "allowed_mentions": discord.AllowedMentions.none(),
        }
        if files is not None:
            shown["attachments"] = [make() for make in files]
        return shown

    def _webhook(self, where: Where) -> discord.Webhook | None:
        application = self._client.application_id
        if application is None or where.interaction in self._dead or self._clock() >= where.token_expires_at:
            return None
        return discord.Webhook.partial(application, where.token, client=self._client)


def _only(user: str) -> discord.AllowedMentions:
    """Nobody but this person is pinged, whatever the text says."""
    return discord.AllowedMentions(everyone=False, users=[discord.Object(int(user))], roles=False, replied_user=False)


def _ended_by_discords_clock(job: Job) -> float:
    """About when the job ended, a little early. Our clock may differ: the command's id tells by how much."""
    asked = discord.utils.snowflake_time(int(job.where.interaction)).timestamp()
    took = max(0.0, (job.finished_at or job.created_at) - job.created_at)
    return asked + max(0.0, took - _DRIFT_SECONDS)


def token_end(created_at: float, token_seconds: float) -> float:
    """Until when a token that began at `created_at` is used."""
    return created_at + token_seconds * (1 - TOKEN_MARGIN)


def components_in(message: discord.Message) -> Iterator[ComponentId]:
    """What the components in a message of ours say."""
    for row in message.components:
        for item in getattr(row, "children", ()):
            if found := ComponentId.parse(getattr(item, "custom_id", None) or ""):
                yield found
