"""Who may find, open, link or use a job: the one place that decides, for every list, search, link and message app.

Only who can read its channel now, and never across servers; a private thread: its members now; what was asked for in a
direct message or privately: whoever asked for it. One's own jobs are one's own, also where their channel is closed to
one by now. What cannot be found out counts as a no. There are no exceptions, neither for owners nor for moderators.

Discord tells channels, threads that are open, roles and overwrites to every bot (the intent `guilds`), and an
interaction brings its member with it: for most jobs nothing is asked. What is asked for (a member outside their server,
an archived thread, who is in a private thread) is asked once an answer, and seldom.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self, TypeVar

import discord

from bot.interactions.client_base import ClientBase, Interaction
from bot.messages import REQUEST_ERRORS
from bot.text import link
from core.job import Job

#: An answer asks Discord so often at most, and waits so long for each.
MOST_REQUESTS = 8
_ASK_SECONDS = 1.5

_T = TypeVar("_T")
_Channel = discord.abc.GuildChannel | discord.Thread


class Reader:
    """One person for the time of one answer: what was learned of a channel holds for all jobs in it.

    `guild_id`: the server in which they ask; None in a direct message.
    """

    def __init__(self, client: ClientBase, user: discord.User | discord.Member, guild_id: int | None) -> None:
        self._client = client
        self._user = user
        self._guild_id = guild_id
        self._known: dict[str, bool] = {}  # by channel
        self._members: dict[int, discord.Member | None] = {}  # this person by server
        self._left = MOST_REQUESTS

    @classmethod
    def of(cls, interaction: Interaction) -> Self:
        """Whoever uses a command or a component. They can read the place that they are in: Discord says how far."""
        reader = cls(interaction.client, interaction.user, interaction.guild_id)
        if interaction.guild_id is not None and interaction.channel_id is not None:
            reader._known[str(interaction.channel_id)] = _reads(interaction.permissions)
        return reader

    def is_own(self, job: Job) -> bool:
        """Whether it is their own, seen from here: in a server, jobs of other servers are not there."""
        guild = job.where.guild
        return job.user == str(self._user.id) and (
            self._guild_id is None or guild is None or guild == str(self._guild_id)
        )

    async def may_see(self, job: Job) -> bool:
        """Whether they may find, open, link or use it."""
        if job.user == str(self._user.id):
            return self.is_own(job)
        if job.where.private or self._guild_id is None or job.where.guild != str(self._guild_id):
            return False
        return await self.can_read(job)

    async def can_read(self, job: Job) -> bool:
        """Whether they can read the place where it was asked for, now."""
        guild, channel = job.where.guild, job.where.channel
        if guild is None:
            return job.user == str(self._user.id)
        if channel not in self._known:
            self._known[channel] = await self._can_read(int(guild), int(channel))
        return self._known[channel]

    async def link(self, job: Job) -> str | None:
        """The address of its message; None where it has none, or where they could not open it."""
        if job.where.private or not await self.may_see(job) or not await self.can_read(job):
            return None
        return link(job)

    async def _can_read(self, guild_id: int, channel_id: int) -> bool:
        guild = self._client.get_guild(guild_id)
        member = await self._member(guild) if guild is not None else None
        if guild is None or member is None:
            return False
        channel = guild.get_channel_or_thread(channel_id) or await self._archived(guild, channel_id)
        if channel is None or (isinstance(channel, discord.Thread) and channel.parent is None):
            return False
        allowed = channel.permissions_for(member)
        if not _reads(allowed) or (isinstance(channel, discord.channel.VocalGuildChannel) and not allowed.connect):
            return False
        private = isinstance(channel, discord.Thread) and channel.is_private()
        return not private or await self._is_inside(channel)

    async def _member(self, guild: discord.Guild) -> discord.Member | None:
        """None where they have left, or where nobody can say."""
        if isinstance(self._user, discord.Member) and self._user.guild.id == guild.id:
            return self._user
        if guild.id not in self._members:
            self._members[guild.id] = await self._ask(partial(guild.fetch_member, self._user.id))
        return self._members[guild.id]

    async def _archived(self, guild: discord.Guild, channel_id: int) -> _Channel | None:
        """A thread that is closed is in no cache; what was deleted is nowhere."""
        found = await self._ask(partial(self._client.fetch_channel, channel_id))
        if not isinstance(found, discord.abc.GuildChannel | discord.Thread) or found.guild.id != guild.id:
            return None
        return found

    async def _is_inside(self, thread: _Channel) -> bool:
        assert isinstance(thread, discord.Thread)
        return await self._ask(partial(thread.fetch_member, self._user.id)) is not None

    async def _ask(self, request: Callable[[], Awaitable[_T]]) -> _T | None:
        """What Discord says; None for a no, for no answer in time, and after MOST_REQUESTS."""
        if self._left <= 0:
            return None
        self._left -= 1
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                return await request()
        except REQUEST_ERRORS:
            return None


def _reads(allowed: discord.Permissions) -> bool:
    return allowed.view_channel and allowed.read_message_history
