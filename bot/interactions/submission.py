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
from bot.interactions.client_base import ClientBase, Interaction
from bot.messages import REQUEST_ERRORS, Card, ErrorKind, JobView, already_answered, error_kind, token_end
from bot.scheduling import render_stages
from bot.text import link
from core.errors import NotAllowed, Refused
from core.job import Job, Kind, Lane, Request, Source, Where

log = logging.getLogger(__name__)

_LINK_SECONDS = 1.0


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
            notes=notes,
        )
        with interaction.client.pending.open(where.interaction):
            job = await services.admission.submit(job_request)
            await answer(interaction, job)


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
    message = await _say_first(interaction, job, card)
    if message is None:
        return
    await bot.services.jobs.set_message(job.id, message)
    bot.editor.follow(replace(job, where=replace(job.where, message=message)), card)


async def _say_first(interaction: Interaction, job: Job, card: Card) -> str | None:
    """The id of the answer's message; None when it did not arrive, or when nobody can say."""
    try:
        response = await interaction.response.send_message(card.content, view=interaction.client.view_of(card))
        if response.message_id:
            return str(response.message_id)
    except REQUEST_ERRORS as error:
        if not already_answered(error):
            log.warning("A first answer failed (%s).", error, extra={"job": job.id})
        if error_kind(error) is ErrorKind.TOKEN_DEAD:
            return await _say_late(interaction.client, job, card)
    try:
        # It may have arrived although we did not hear so.
        return await interaction.client.message_api.original(job.where)
    except REQUEST_ERRORS:
        return None


async def _say_late(bot: ClientBase, job: Job, card: Card) -> str | None:
    """Nobody waits for the answer any more, but the job is there: its message comes as one of the channel's own.

    Where the bot may not write, the job is taken back: nobody would see that it runs, nor could stop it.
    """
    try:
        return await bot.message_api.send(job.where, card, [], nonce=f"late-{job.id}", mention=job.user)
    except REQUEST_ERRORS as error:
        log.warning("An answer that came too late cannot be posted either (%s).", error, extra={"job": job.id})
        if error_kind(error) is not ErrorKind.LATER:
            await bot.services.scheduler.cancel(job.id)
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
