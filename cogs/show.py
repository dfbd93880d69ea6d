"""/show: one's own job posted here once more with its buttons: moved, lost, or private until now."""

import logging
import re

from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction, Reader, put_pictures, where_of
from bot.messages import REQUEST_ERRORS, in_one_line
from bot.text import link
from core.errors import Gone, NotAllowed, NotYours
from core.job import Job, State

log = logging.getLogger(__name__)

_MESSAGE = re.compile(r"https://(?:\w+\.)?discord(?:app)?\.com/channels/(?:@me|[0-9]{1,20})/[0-9]{1,20}/([0-9]{1,20})")
_RECENT, _CHOICES = 200, 25
_MOST_NAME = 90
_UNKNOWN = "There is no such job of yours. Choose one from the list while you type, or take the id from below its ⓘ."
_ELSEWHERE = "That job belongs to another server. Show it there, or in a direct message with me."
_DELETED = "You have deleted that. `/history` can take it back for 7 days; then it can be shown."


class Show(commands.Cog):
    """Moves and recovers results."""

    @app_commands.command()
    @app_commands.describe(job_id="Type words of its prompt and choose, or give the id from below its ⓘ, or its link")
    async def show(self, interaction: Interaction, job_id: app_commands.Range[str, 1, 200]) -> None:
        """Post one of your own jobs here once more, with its buttons"""
        where_of(interaction)
        reader = Reader.of(interaction)
        job = await _own_job(interaction, reader, job_id.strip())
        await _check_shown(interaction, reader, job)
        history, channel = interaction.client.services.history, str(interaction.channel_id)
        guild = str(interaction.guild_id) if interaction.guild_id else None
        begun = await interaction.response.defer(thinking=True)
        if begun is not None and begun.message_id:
            await history.about_to_show(job.id, guild=guild, channel=channel, message=str(begun.message_id))
        message = await put_pictures(interaction, job)
        if not await history.moved(job.id, guild=guild, channel=channel, message=str(message.id)):
            await _take_away(interaction, job)  # deleted meanwhile

    @show.autocomplete("job_id")
    async def recent(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        """One's own newest jobs whose prompts have what was typed."""
        guild = str(interaction.guild_id) if interaction.guild_id else None
        made = await interaction.client.services.history.made(str(interaction.user.id), guild, limit=_RECENT)
        wanted = " ".join(current.casefold().split())
        found = [entry.job for entry in made if wanted in _name(entry.job).casefold() or entry.job.id == wanted]
        return [app_commands.Choice(name=_name(job), value=job.id) for job in found[:_CHOICES]]


async def _own_job(interaction: Interaction, reader: Reader, named: str) -> Job:
    """By its id or the link of its message. Raises Gone, NotYours and NotAllowed."""
    jobs = interaction.client.services.jobs
    linked = _MESSAGE.fullmatch(named)
    job = await (jobs.by_message(linked[1]) if linked else jobs.get(named.lower()))
    if job is None:
        raise Gone(_UNKNOWN)
    if job.user != str(interaction.user.id):
        if await reader.may_see(job):
            raise NotYours("That is somebody else's job: only your own can be shown again.")
        raise Gone(_UNKNOWN)  # that there is one which they may not see is not said either
    if not reader.is_own(job):
        raise NotAllowed(_ELSEWHERE, rule="place")
    return job


async def _check_shown(interaction: Interaction, reader: Reader, job: Job) -> None:
    """Raises Gone where there is nothing to show, or not yet; NotAllowed for words that are not allowed any more."""
    if job.deleted_at is not None:
        raise Gone(_DELETED)
    if not job.is_final:
        where = await reader.link(job)
        raise Gone(f"It is still being made. {where or '`/queue` shows where it stands.'}")
    if job.state is not State.DONE:
        raise Gone("It was not made, so there is nothing to show. 🔄 below it tries again.")
    delivery = await interaction.client.services.outbox.get(job.id)
    if delivery is not None and delivery.is_pending and delivery.is_deleted:
        raise Gone("A message of it is still being removed. Please try again in a minute.")
    if delivery is not None and delivery.is_pending and delivery.late_at is None:
        raise Gone(f"Its result is on its way. {link(job) or 'Please try again in a moment.'}")
    interaction.client.services.moderation.check_text(job.request.prompt)


async def _take_away(interaction: Interaction, job: Job) -> None:
    try:
        await interaction.delete_original_response()
    except REQUEST_ERRORS as error:
        log.warning("A deleted job's message could not be removed: %s", in_one_line(error), extra={"job": job.id})


def _name(job: Job) -> str:
    """The start of its words, with what it is and its id's end: two of one prompt are told apart."""
    words = " ".join(job.request.prompt.split()) or "no words"
    about = f" · {job.kind} {job.source.index + 1}" if job.source is not None else f" · {job.kind}"
    about += f" · {job.id[-4:]}"
    room = _MOST_NAME - len(about)
    return (words if len(words) <= room else words[: room - 1] + "…") + about


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    await bot.add_cog(Show())
