"""*Delete* behind ⓘ: a job's pictures, its message, and the copy that came as a direct message instead."""

from bot.interactions import DarkroomBot, Press, check_may_manage, delete_job
from bot.messages import Verb


async def _delete(press: Press) -> None:
    job, interaction = await press.job(), press.interaction
    check_may_manage(interaction, job)
    await interaction.response.defer()  # the requests may take longer than Discord waits
    words = await delete_job(press.client, job, by=str(interaction.user.id))
    await interaction.edit_original_response(content=words, view=None)


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_component(_delete, Verb.DELETE)
