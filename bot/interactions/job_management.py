"""Who may cancel and delete a job, and cancelling it. Shared by buttons and message apps; shows nothing itself."""

from bot.interactions.client_base import Interaction
from bot.services import Services
from core.errors import NotYours
from core.job import Job


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
