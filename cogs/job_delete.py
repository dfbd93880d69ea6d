"""*Delete* behind ⓘ: a job's pictures, its message, and the copy that came as a direct message instead."""

import asyncio
import logging
from dataclasses import replace

from bot.interactions import ClientBase, DarkroomBot, Press, cancel_job, check_may_manage
from bot.messages import REQUEST_ERRORS, Verb, in_one_line
from core.errors import Refused
from core.job import Job, Where

log = logging.getLogger(__name__)

#: A worker that does not let go of a job is not waited for any longer than half a minute, by the scheduler.
_STOP_SECONDS = 60.0


async def _delete(press: Press) -> None:
    job, interaction = await press.job(), press.interaction
    check_may_manage(interaction, job)
    await interaction.response.defer()  # the requests below may take longer than Discord waits
    bot = interaction.client
    if not job.is_final:
        job = await _ended(bot, job)
    await bot.services.outbox.deleted(job.id)  # a result that is on its way now is taken back when it has arrived
    await bot.editor.leave(job.id)
    words = await _forget(bot, job)
    for where, message in await _messages_of(bot, job):
        try:
            await bot.message_api.delete(where, message)
        except REQUEST_ERRORS as error:
            log.warning("A message could not be deleted: %s", in_one_line(error), extra={"job": job.id})
            words = "Its pictures are deleted. Its message could not be deleted: do that by hand, or try again later."
    await interaction.edit_original_response(content=words, view=None)


async def _ended(bot: ClientBase, job: Job) -> Job:
    """Stops it and waits until it has: what it still makes would be shown and kept. Raises Refused where it goes on."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            with bot.services.bus.watch(job.id) as news:
                await cancel_job(bot.services, job)
                while not (job := await bot.services.jobs.get(job.id) or job).is_final:
                    await anext(news)
    except TimeoutError:
        raise Refused("It has not stopped yet. Please press Delete again in a minute.") from None
    return job


async def _forget(bot: ClientBase, job: Job) -> str:
    """Removes the pictures; what to say when the messages go too."""
    try:
        await bot.services.images.forget(job)
    except OSError as error:
        log.warning("A deleted picture's file could not be removed: %s", error, extra={"job": job.id})
        return "Nobody is shown it any more. Its files could not be removed from the disk: please try again later."
    return "Deleted."


async def _messages_of(bot: ClientBase, job: Job) -> list[tuple[Where, str]]:
    """Where the job is shown: its result and the progress beside it, and the direct message that it came as instead."""
    delivery = await bot.services.outbox.get(job.id)
    result = delivery.message if delivery is not None else None
    found = [(job.where, message) for message in dict.fromkeys((result, job.where.message)) if message is not None]
    if delivery is not None and delivery.told_channel and delivery.told_message:
        direct = replace(job.where, guild=None, channel=delivery.told_channel, token_expires_at=0.0)
        found.append((direct, delivery.told_message))
    return found


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_component(_delete, Verb.DELETE)
