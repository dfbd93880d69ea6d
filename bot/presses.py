"""What the buttons under a job do: each is a new interaction, which admits a job or asks the scheduler.

The row says everything; the button only names it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import discord

from bot.admission import PressedButton
from bot.interactions import submission
from bot.messages.api_errors import REQUEST_ERRORS
from bot.messages.components import view_of
from bot.messages.job_card import Button, Verb, render_info
from bot.scheduling import render_stages
from core.errors import Gone, NotYours
from core.job import Job, Kind, Lane, Request, Source, State, Where
from core.parameters import MAX_COUNT, MAX_SEED
from core.prompt import Defaults, parse

if TYPE_CHECKING:
    from bot.interactions.client import DarkroomBot
    from bot.services import Services

    Interaction = discord.Interaction[DarkroomBot]

#: How far a variation goes from its picture: 0 would be a copy, 1 something new.
VARIATION_STRENGTH = 0.6


async def press(interaction: "Interaction", button: Button) -> None:
    """Does what the button says."""
    job = await interaction.client.services.jobs.get(button.job)
    if job is None:
        raise Gone("That job is not known here any more.")
    match button.verb:
        case Verb.UPSCALE | Verb.VARY | Verb.AGAIN:
            with submission.carrying(job.typed):  # whatever refuses it offers the prompt for correction
                await _RUNS[button.verb](interaction, job, button)
        case Verb.INFO:
            await _info(interaction, job)
        case Verb.CANCEL:
            await _cancel(interaction, job)
        case Verb.DELETE:
            await _delete(interaction, job)


async def cancel(bot: "DarkroomBot", job: Job) -> str:
    """Cancels a job; the sentence says what became of it."""
    if job.is_final:
        return "That job has ended already. ⓘ under it can delete it."
    after = await bot.services.scheduler.cancel(job.id)
    return "Cancelled." if after is not None and after.is_final else "It stops at its next step."


def check_may_manage(interaction: "Interaction", job: Job) -> None:
    """Raises NotYours unless it is the person's own job, or they are an owner or a moderator of its server."""
    if not may_manage(interaction, job):
        raise NotYours("Only who asked for it, and moderators, can do that.")


def may_manage(interaction: "Interaction", job: Job) -> bool:
    """Whether this person may cancel and delete the job."""
    return interaction.client.services.moderation.may_manage(
        str(interaction.user.id),
        job,
        guild=str(interaction.guild_id) if interaction.guild_id else None,
        manage_messages=interaction.permissions.manage_messages,
    )


async def _upscale(interaction: "Interaction", job: Job, button: Button) -> None:
    source = _picture(job, button)
    request = replace(job.request, count=1, seed=(job.request.seed + source.index) % (MAX_SEED + 1))
    await _run(interaction, job, button, Kind.CROP, request, source)


async def _vary(interaction: "Interaction", job: Job, button: Button) -> None:
    services = interaction.client.services
    source = _picture(job, button)
    model = services.model_registry.get(job.request.model)
    if model is None:
        raise Gone("That picture was made with a model that is not here any more, so it cannot be varied now.")
    request = replace(
        job.request, count=MAX_COUNT, seed=services.new_seed(), strength=VARIATION_STRENGTH, model=model.name
    )
    await _run(interaction, job, button, Kind.VARIATION, request, source)


async def _again(interaction: "Interaction", job: Job, button: Button) -> None:
    services = interaction.client.services
    seed = services.new_seed()
    model = services.model_registry.get(job.request.model)
    if model is not None and await _still_drawable(services, job.source):
        request, kind, source = replace(job.request, seed=seed, model=model.name), job.kind, job.source
    else:  # another model has other sizes and defaults, and without its source it is a grid: read the prompt anew
        fresh = parse(job.typed, choices=services.model_registry.choices, defaults=Defaults(), seed=seed).request
        request, kind, source = replace(fresh, seed=seed), Kind.GRID, None
    await _run(interaction, job, button, kind, request, source)


_RUNS = {Verb.UPSCALE: _upscale, Verb.VARY: _vary, Verb.AGAIN: _again}


async def _run(
    interaction: "Interaction", job: Job, button: Button, kind: Kind, request: Request, source: Source | None
) -> None:
    lane = Lane.RELAX if button.relax else None
    pressed = PressedButton(parent=job.id, verb=button.verb, index=button.index)
    if source is not None:
        await _check_drawable(interaction.client.services, source)
    await submission.run(interaction, kind, job.typed, request, lane=lane, source=source, pressed=pressed)


async def _still_drawable(services: "Services", source: Source | None) -> bool:
    """Whether a job that starts from this picture, if from any, can be made again."""
    try:
        if source is not None:
            await _check_drawable(services, source)
    except Gone:
        return False
    return True


async def _check_drawable(services: "Services", source: Source) -> None:
    """Raises Gone for a pruned picture whose model is gone or has other weights: it would come out as another one."""
    root = await services.images.root(source)
    drawn = await services.jobs.get(root.job)
    if drawn is not None and await services.images.read(root.job, root.index) is None:
        model = services.model_registry.get(drawn.request.model)
        if model is None:
            raise Gone(render_stages.LOST_MODEL)
        render_stages.check_redrawn(drawn.made_with, model.digest)


def _picture(job: Job, button: Button) -> Source:
    """The picture that the button is about. Raises Gone when there is none."""
    if job.state is not State.DONE or button.index is None or button.index >= job.request.count:
        raise Gone("There is no such picture.")
    return Source(job=job.id, index=button.index)


async def _info(interaction: "Interaction", job: Job) -> None:
    jobs = interaction.client.services.jobs
    parent = await jobs.get(job.source.job) if job.source is not None else None
    card = render_info(job, parent, may_delete=may_manage(interaction, job))
    await interaction.response.send_message(card.content, view=view_of(card), ephemeral=True, suppress_embeds=True)


async def _cancel(interaction: "Interaction", job: Job) -> None:
    check_may_manage(interaction, job)
    if job.is_final:
        raise Gone("That job has ended already.")
    await cancel(interaction.client, job)
    await interaction.response.defer()  # the job's own message tells the rest


async def _delete(interaction: "Interaction", job: Job) -> None:
    check_may_manage(interaction, job)
    await interaction.response.defer()  # the requests below may take longer than Discord waits
    bot = interaction.client
    if not job.is_final:
        await cancel(bot, job)
    await bot.editor.leave(job.id)
    await bot.services.images.forget(job)
    words = "Deleted."
    for where, message in await _messages_of(bot, job):
        try:
            await bot.message_api.delete(where, message)
        except REQUEST_ERRORS as error:
            bot.log.warning("A message could not be deleted: %s", error, extra={"job": job.id})
            words = "Its pictures are deleted. Its message could not be: delete it by hand, or try again later."
    await interaction.edit_original_response(content=words, view=None)


async def _messages_of(bot: "DarkroomBot", job: Job) -> list[tuple[Where, str]]:
    """Where the job is shown: in its channel, or as the direct message that it came as instead."""
    delivery = await bot.services.outbox.get(job.id)
    message = delivery.message if delivery is not None and delivery.message else job.where.message
    found = [] if message is None else [(job.where, message)]
    if delivery is not None and delivery.told_channel and delivery.told_message:
        direct = replace(job.where, guild=None, channel=delivery.told_channel, token_expires_at=0.0)
        found.append((direct, delivery.told_message))
    return found
