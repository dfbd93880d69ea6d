"""Who may cancel and delete a job, and how that is done. Shared by buttons, lists and message apps; shows nothing.

What people delete themselves is hidden and kept for a week, so that they can take it back (storage/history.py); what a
moderator deletes is erased at once.
"""

import asyncio
import logging
from dataclasses import replace

from bot.interactions.client_base import ClientBase, Interaction
from bot.messages import REQUEST_ERRORS, in_one_line
from bot.services import Services
from core.errors import NotYours, Refused
from core.job import Job, State, Where

log = logging.getLogger(__name__)

#: A worker that does not let go of a job is not waited for any longer than half a minute, by the scheduler.
_STOP_SECONDS = 60.0
DELETED = "Deleted. `/history` can take it back for 7 days; if the disk runs out of room, its pictures go sooner."
DELETED_AT_ONCE = "Deleted."
MESSAGE_STAYS = "Its pictures are deleted. Its message could not be deleted: do that by hand, or try again later."
FILES_STAY = "Nobody is shown it any more. Its files could not be removed from the disk: please try again later."


def may_manage(interaction: Interaction, job: Job) -> bool:
    """Whether this person may cancel and delete the job."""
    return interaction.client.services.moderation.may_manage(
        str(interaction.user.id),
        job,
        guild=str(interaction.guild_id) if interaction.guild_id else None,
        manage_messages=interaction.permissions.manage_messages,
    )


def check_may_manage(interaction: Interaction, job: Job) -> None:
    """Raises NotYours unless it is the person's own job, or they are an owner or a moderator of its server."""
    if not may_manage(interaction, job):
        raise NotYours("Only the person who asked for it, and moderators, can do that.")


async def cancel_job(services: Services, job: Job) -> str:
    """Cancels a job; the sentence says what became of it."""
    if job.is_final:
        return "That job has already ended. To delete it, press ⓘ below it."
    after = await services.scheduler.cancel(job.id)
    return "Cancelled." if after is not None and after.is_final else "It stops at its next step."


async def delete_job(client: ClientBase, job: Job, *, by: str) -> str:
    """Deletes a job for `by`, a person's id: its pictures and every message that shows it. The sentence says the rest.

    It takes several requests, so whoever waits for an answer has to have had a first one. Raises Refused where it runs
    and does not stop.
    """
    services, by_moderator = client.services, by != job.user
    if not job.is_final:
        job = await _ended(services, job)
    await services.history.delete(job.id, by_moderator=by_moderator)
    await services.outbox.deleted(job.id)  # a result that is on its way now is taken back when it has arrived
    await client.editor.leave(job.id)
    words = DELETED_AT_ONCE if by_moderator or job.state is not State.DONE else DELETED
    if by_moderator:
        words = await _erase(services, job)
    gone = True
    for where, message in await _messages_of(services, job):
        try:
            await client.message_api.delete(where, message)
        except REQUEST_ERRORS as error:
            log.warning("A message could not be deleted: %s", in_one_line(error), extra={"job": job.id})
            words, gone = MESSAGE_STAYS, False
    if gone:
        await services.history.message_gone(job.id)
    return words


async def _ended(services: Services, job: Job) -> Job:
    """Stops it and waits until it has: what it still makes would be shown and kept. Raises Refused where it goes on."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            with services.bus.watch(job.id) as news:
                await cancel_job(services, job)
                while not (job := await services.jobs.get(job.id) or job).is_final:
                    await anext(news)
    except TimeoutError:
        raise Refused("It has not stopped yet. Please press Delete again in a minute.") from None
    return job


async def _erase(services: Services, job: Job) -> str:
    """Removes the pictures' files; what to say when the messages go too."""
    try:
        await services.images.forget(job)
    except OSError as error:
        log.warning("A deleted picture's file could not be removed: %s", error, extra={"job": job.id})
        return FILES_STAY
    return DELETED_AT_ONCE


async def _messages_of(services: Services, job: Job) -> list[tuple[Where, str]]:
    """Where the job is shown: its result and the progress beside it, where it stood before, and a direct message."""
    delivery = await services.outbox.get(job.id)
    result = delivery.message if delivery is not None else None
    postings = await services.history.postings(job.id)
    elsewhere = {posting.message for posting in postings}
    own = [message for message in dict.fromkeys((result, job.where.message)) if message not in (None, *elsewhere)]
    found = [(job.where, message) for message in own if message is not None]
    found += [(_there(job, posting.guild, posting.channel), posting.message) for posting in postings]
    if delivery is not None and delivery.told_channel and delivery.told_message:
        found.append((_there(job, None, delivery.told_channel), delivery.told_message))
    return found


def _there(job: Job, guild: str | None, channel: str) -> Where:
    """A place that is reached through its channel alone."""
    return replace(job.where, guild=guild, channel=channel, token_expires_at=0.0)
