"""♥ under a single picture: keeps it among one's favourites, or takes it out again. `/history` lists them."""

from bot.interactions import DarkroomBot, Press
from bot.messages import Card, JobButton
from core.errors import Gone
from core.job import SINGLES, State

LIKE = JobButton(verb="like", kinds=SINGLES, states=frozenset({State.DONE}), row=1, order=0, label="♥")
ADDED = "♥ One of your favourites now. `/history` has them behind ⭐."
TAKEN_OUT = "No longer one of your favourites."


async def _like(press: Press) -> None:
    job = await press.job()
    if job.deleted_at is not None:
        raise Gone("That picture was deleted.")
    liked = await press.services.history.like(str(press.interaction.user.id), job)
    await press.reply(Card(content=ADDED if liked else TAKEN_OUT))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_button(_like, LIKE)
