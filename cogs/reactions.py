"""Reactions under a job's message: ✉️ sends one's own pictures, ❌ cancels or deletes one's own, ⭐ keeps a favourite.

Discord lets nobody answer a reaction in private: what cannot be done is not done, and its button says why.
"""

import logging

import discord
from discord.ext import commands

from bot.interactions import DarkroomBot, cancel_job, delete_job, send_directly
from bot.messages import REQUEST_ERRORS, in_one_line
from core.errors import Refused
from core.job import Job

log = logging.getLogger(__name__)

_VARIANT = "\ufe0f"  # asks for the coloured look of a sign; phones add it or leave it out
ENVELOPES = frozenset({"✉", "📩", "📨", "📧"})
CROSSES = frozenset({"❌", "✖", "❎"})
STARS = frozenset({"⭐", "🌟"})


class Reactions(commands.Cog):
    """Hears of reactions by their raw events: no message is kept in memory."""

    def __init__(self, bot: DarkroomBot) -> None:
        self._bot = bot

    @commands.Cog.listener()
    async def on_raw_reaction_add(self, event: discord.RawReactionActionEvent) -> None:
        """Somebody reacted to some message."""
        await self._hear(event, added=True)

    @commands.Cog.listener()
    async def on_raw_reaction_remove(self, event: discord.RawReactionActionEvent) -> None:
        """Somebody took a reaction away: only a star means something then."""
        await self._hear(event, added=False)

    async def _hear(self, event: discord.RawReactionActionEvent, *, added: bool) -> None:
        sign = (event.emoji.name or "").replace(_VARIANT, "")
        known = STARS if not added else ENVELOPES | CROSSES | STARS
        if sign not in known or self._bot.user is None or event.user_id == self._bot.user.id:
            return
        job = await self._bot.services.jobs.by_message(str(event.message_id))
        if job is None or job.deleted_at is not None:
            return
        try:
            await self._do(sign, job, str(event.user_id), added=added)
        except Refused as refused:
            log.info("A reaction did nothing: %s", refused.sentence, extra={"job": job.id})
        except REQUEST_ERRORS as error:
            log.warning("A reaction could not be followed: %s", in_one_line(error), extra={"job": job.id})

    async def _do(self, sign: str, job: Job, user: str, *, added: bool) -> None:
        if sign in STARS:
            await self._bot.services.history.like(user, job, like=added)
        elif sign in ENVELOPES:
            await send_directly(self._bot, job, user)
        elif user == job.user and job.is_final:
            await delete_job(self._bot, job, by=user)
        elif user == job.user:
            await cancel_job(self._bot.services, job)


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    await bot.add_cog(Reactions(bot))
