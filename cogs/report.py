"""The message app **Report**: a picture that does not belong here, told to the bot's owners with a word why."""

import logging

import discord
from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction, Press, Reader, job_in, put_card
from bot.messages import REQUEST_ERRORS, Button, Card, Field, Form, Style, Verb, in_one_line, job_component
from bot.text import harmless, link, when
from core.errors import Gone, NotAllowed
from core.job import Job

log = logging.getLogger(__name__)

_VERB, _REASON = "report", "reason"
_MOST_REASON, _MOST_A_DAY = 500, 10
_NOTHING = "There is no job in that message."
_IN_SERVERS = "Reports are about pictures in servers. What you made yourself can be deleted behind ⓘ."
_AGAIN = "You have reported that already."
_ENOUGH = "You have reported ten pictures today. Please tell a moderator of this server about more."
_TOLD = "Reported: the bot's owners have it. Moderators of this server can delete it behind ⓘ."
_UNTOLD = "Noted, but the bot's owners take no direct messages. Please tell a moderator of this server as well."


class Report(commands.Cog):
    """Context menus cannot be methods of a cog, so it adds and removes it itself."""

    def __init__(self, bot: DarkroomBot) -> None:
        self._bot = bot
        self._menu = app_commands.ContextMenu(name="Report", callback=_open_form)

    async def cog_load(self) -> None:
        """Adds the message app."""
        self._bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Takes it away."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)


async def _open_form(interaction: Interaction, message: discord.Message) -> None:
    if interaction.guild_id is None:
        raise NotAllowed(_IN_SERVERS, rule="place")
    job = await job_in(interaction.client, message)
    if job is None or not await Reader.of(interaction).may_see(job):
        raise Gone(_NOTHING)
    why = Field(name=_REASON, label="What is wrong with it?", long=True, max_length=_MOST_REASON)
    form = Form(id=job_component(job.id, _VERB), title="Report", fields=(why,))
    await Press(interaction=interaction, id=form.id).open(form)


async def _reported(press: Press) -> None:
    """The form came back."""
    job, user, reports = await press.job(), str(press.interaction.user.id), press.services.reports
    if not await Reader.of(press.interaction).may_see(job):
        raise Gone(_NOTHING)
    if await reports.today(user) >= _MOST_A_DAY:
        raise NotAllowed(_ENOUGH, rule="reports")
    reason = press.fields.get(_REASON, "")
    if not await reports.add(job.id, user, reason):
        raise Gone(_AGAIN)
    await press.interaction.response.defer(ephemeral=True, thinking=True)
    told = await _tell_owners(press, _card(job, user, reason))
    await put_card(press.interaction, Card(content=_TOLD if told else _UNTOLD))


async def _tell_owners(press: Press, card: Card) -> int:
    """How many of them it reached, as a direct message."""
    told = 0
    for owner in sorted(press.services.owners):
        try:
            direct = await press.client.create_dm(discord.Object(int(owner)))
            await direct.send(
                card.content, view=press.client.view_of(card), allowed_mentions=discord.AllowedMentions.none()
            )
        except REQUEST_ERRORS as error:
            log.info("An owner could not be told of a report (%s).", in_one_line(error))
        else:
            told += 1
    return told


def _card(job: Job, user: str, reason: str) -> Card:
    lines = [
        f"**Reported** by <@{user}>: {harmless(reason, 700)}",
        f"**{harmless(job.request.prompt, 700)}** · by <@{job.user}> {when(job.created_at)}",
        link(job) or "",
        f"-# job {job.id}",
    ]
    delete = Button(id=job_component(job.id, Verb.DELETE), label="Delete", style=Style.DANGER)
    return Card(content="\n".join(filter(None, lines)), rows=((delete,),))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_form(_reported, _VERB)
    await bot.add_cog(Report(bot))
