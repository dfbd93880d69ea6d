"""From a parsed request to a job's first answer: admit it, answer, watch. Knows Discord's interactions, and no feature.

A refused prompt travels inside the refusal's own message, so its buttons work after any restart.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import discord

from bot.admission import JobRequest, PressedButton
from bot.interactions import saved_settings
from bot.interactions.client_base import ClientBase, Interaction
from bot.interactions.registry import Press
from bot.interactions.saved_settings import SavedSettings
from bot.messages import (
    REQUEST_ERRORS,
    Card,
    ErrorKind,
    JobView,
    already_answered,
    error_kind,
    in_one_line,
    token_end,
)
from bot.scheduling import render_stages
from bot.services import Services
from bot.text import link
from core import prompt_macros
from core.errors import NotAllowed, Refused
from core.job import Job, Kind, Lane, Request, Source, Where
from core.prompt import Defaults, Parsed, parse

log = logging.getLogger(__name__)

NO_SETTINGS = SavedSettings()
_LINK_SECONDS = 1.0
_REFUSALS = (ErrorKind.REFUSED, ErrorKind.FORBIDDEN, ErrorKind.CHANNEL_GONE, ErrorKind.TOO_LARGE)
TAKEN_BACK = "Discord refused my answer where you asked for it, so the job was taken back. Other words may pass there."
TOO_LATE = "My answer came too late, and I may not write where you asked for it, so the job was taken back."
#: Small lines below a job whose result may not be posted there later. A token lives for a quarter of an hour.
_LATER = "what takes longer than 15 minutes comes as a direct message, or in `/info`."
UNSEEN = f"I cannot see this channel: {_LATER}"
NO_FILES = f"I may not attach files in this channel: {_LATER}"


async def read_typed(services: Services, user: str, typed: str) -> Parsed:
    """What a prompt asks for that this member has just typed. Raises PromptError and NotAllowed."""
    return read(services, typed, await saved_settings.of(services, user))


def read(services: Services, typed: str, settings: SavedSettings = NO_SETTINGS) -> Parsed:
    """What a prompt asks for. Raises PromptError and NotAllowed.

    A job's own prompt has what was added from its member's settings, and takes nobody else's.
    """
    typed, saved = prompt_macros.expand(typed, settings.macros)
    parsed = parse(
        typed, choices=services.model_registry.choices, defaults=Defaults(), seed=services.new_seed(),
        saved=(*saved, *settings.saved),
    )  # fmt: skip
    services.moderation.check_text(*parsed.unread)  # the rest is a part of the request, which admission checks
    return parsed


def once(press: Press) -> PressedButton:
    """Two presses of one person on one button of a refusal are one request."""
    return PressedButton(parent=press.message or str(press.interaction.id), verb=press.id.verb)


async def run(
    interaction: Interaction,
    kind: Kind,
    typed: str,
    request: Request,
    *,
    lane: Lane | None = None,
    source: Source | None = None,
    pressed: PressedButton | None = None,
    notes: tuple[str, ...] = (),
) -> None:
    """Admits a request and answers with its job's message."""
    services = interaction.client.services
    user = str(interaction.user.id)
    with carrying(typed):
        where = where_of(interaction)
        if source is not None:
            await render_stages.check_drawable(services, source)
        payer = await server_that_pays(interaction.client, interaction.user.id, where.guild)
        job_request = JobRequest(
            kind=kind,
            lane=lane or await usual_lane(interaction.client, user),
            user=user,
            account=services.admission.account(user, payer),
            where=where,
            typed=typed,
            request=request,
            source=source,
            pressed=pressed,
            notes=(*notes, *_place_notes(interaction)),
        )
        with interaction.client.pending.open(where.interaction):
            job = await services.admission.submit(job_request)
            await answer(interaction, job)


def _place_notes(interaction: Interaction) -> tuple[str, ...]:
    """What may keep a result from its place, where Discord says so beforehand."""
    allowed = interaction.app_permissions
    if interaction.guild_id is None or (allowed.view_channel and allowed.attach_files):
        return ()
    return (NO_FILES if allowed.view_channel else UNSEEN,)


async def _link_soon(bot: ClientBase, job: Job) -> str | None:
    """The job's message; of two clicks at once, the second waits a moment for the first one's."""
    if job.where.message is None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINK_SECONDS):
                await bot.pending.settled(job.where.interaction)
        job = await bot.services.jobs.get(job.id) or job
    return link(job)


async def answer(interaction: Interaction, job: Job) -> None:
    """The first answer, which becomes the job's message. When it fails, the result still comes, as a new message."""
    bot = interaction.client
    if job.where.interaction != str(interaction.id):
        there = await _link_soon(bot, job)
        said = f"That is already under way: {there}" if there else "That is already under way. It appears in a moment."
        await interaction.response.send_message(said, ephemeral=True)
        return
    card = _first_card(bot, await bot.job_view(job, None))
    try:
        message = await _say_first(interaction, job, card)
    except FirstAnswerRefused as refused:
        log.warning("A first answer was refused, so its job is taken back (%s).", refused, extra={"job": job.id})
        await bot.services.scheduler.take_back(job.id, refused.sentence)
        return
    if message is None:
        return
    await bot.services.jobs.set_message(job.id, message)
    bot.editor.follow(replace(job, where=replace(job.where, message=message)), card)


class FirstAnswerRefused(Exception):
    """Discord will never take this answer: nobody would see the job, nor be able to stop it."""

    def __init__(self, why: str, sentence: str = TAKEN_BACK) -> None:
        super().__init__(why)
        self.sentence = sentence


async def _say_first(interaction: Interaction, job: Job, card: Card) -> str | None:
    """The id of the answer's message; None when it did not arrive, or when nobody can say.

    Raises FirstAnswerRefused where trying again cannot help.
    """
    try:
        response = await interaction.response.send_message(card.content, view=interaction.client.view_of(card))
        if response.message_id:
            return str(response.message_id)
    except REQUEST_ERRORS as error:
        if not already_answered(error):
            log.warning("A first answer failed (%s).", in_one_line(error), extra={"job": job.id})
        if error_kind(error) is ErrorKind.TOKEN_DEAD:
            return await _say_late(interaction.client, job, card)
        if error_kind(error) in _REFUSALS and not already_answered(error):
            raise FirstAnswerRefused(in_one_line(error)) from error
    try:
        # It may have arrived although we did not hear so.
        return await interaction.client.message_api.original(job.where)
    except REQUEST_ERRORS:
        return None


async def _say_late(bot: ClientBase, job: Job, card: Card) -> str | None:
    """Nobody waits for the answer any more, but the job is there: its message comes as one of the channel's own.

    Raises FirstAnswerRefused where the bot may not write.
    """
    try:
        return await bot.message_api.send(job.where, card, [], nonce=f"late-{job.id}", mention=job.user)
    except REQUEST_ERRORS as error:
        if error_kind(error) is not ErrorKind.LATER:
            raise FirstAnswerRefused(in_one_line(error), TOO_LATE) from error
        log.warning("A late answer cannot be posted (%s).", in_one_line(error), extra={"job": job.id})
        return None


def _first_card(bot: ClientBase, view: JobView) -> Card:
    """What the first answer shows. A job that is done at once has no picture yet: it comes with the next edit."""
    card = bot.cards.render(view)
    return Card(content=card.content) if view.job.is_final else card


async def usual_lane(bot: ClientBase, user: str) -> Lane:
    """The lane that this person has chosen with /turbo, /fast or /relax."""
    chosen = (await bot.services.settings.member(user)).get("lane")
    return Lane(chosen) if chosen in set(Lane) else Lane.FAST


async def server_that_pays(bot: ClientBase, user: int, guild: str | None) -> str | None:
    """Whose plan this person uses there; None is the owner's own. Raises NotAllowed for strangers."""
    if guild is not None:
        return guild
    home = await bot.home_servers.of(user)
    if home is None and not bot.services.moderation.is_owner(str(user)):
        raise NotAllowed("In direct messages I only work for members of the servers that I serve.", rule="place")
    return home


def where_of(interaction: Interaction) -> Where:
    """Where a job of this interaction belongs. Raises NotAllowed where we do not serve or cannot post later."""
    bot = interaction.client
    guild = str(interaction.guild_id) if interaction.guild_id else None
    if interaction.channel_id is None or interaction.context.private_channel:
        raise NotAllowed("This works in servers and in direct messages with me.", rule="place")
    server = bot.get_guild(int(guild)) if guild is not None else None
    if guild is not None and server is None:
        raise NotAllowed("I am not a member of this server, so I could not post a result here.", rule="place")
    parent = str(interaction.channel.parent_id) if isinstance(interaction.channel, discord.Thread) else None
    if server is not None and not bot.services.moderation.is_owner(str(interaction.user.id)):
        bot.served_servers.check(server)
    beside = [str(channel.id) for channel in (*server.channels, *server.threads)] if server is not None else ()
    bot.services.moderation.check_place(
        str(interaction.user.id), guild, str(interaction.channel_id), parent, beside=beside
    )
    return Where(
        guild=guild,
        channel=str(interaction.channel_id),
        message=None,
        interaction=str(interaction.id),
        token=interaction.token,
        token_expires_at=token_end(bot.services.clock(), bot.services.config.token_seconds),
        locale=str(interaction.locale),
    )


@contextmanager
def carrying(typed: str) -> Iterator[None]:
    """Every refusal inside carries the prompt, so that it can be corrected and run."""
    try:
        yield
    except Refused as error:
        error.prompt = typed if error.prompt is None else error.prompt
        raise
