"""/queue: a member's own waiting and running jobs with their places and times, each with its Cancel; private.

Its buttons have verbs of their own: a list of jobs is never taken for the message of one of them (docs/features.md).
"""

from collections.abc import Sequence

from discord import app_commands
from discord.ext import commands

from bot.interactions import ClientBase, DarkroomBot, Interaction, Press, cancel_job, reply, where_of
from bot.messages import Button, Card, Component, ComponentId, Style, job_component
from bot.scheduling import Estimate
from bot.text import counted, harmless, link, place_in_line, when
from core.errors import NotYours
from core.job import Job, State

_PAGE, _CANCEL, _CLEAR = "queue", "queue-cancel", "queue-clear"
_ON_A_PAGE, _IN_A_ROW = 8, 4
_MOST_WORDS = 40  # characters of a prompt: with links and times, a full page stays below what a message takes
_MOST_PAGE = 99  # what a button's id can say
_NOTHING = "You have no jobs waiting or running. `/imagine` starts one."


class JobQueue(commands.Cog):
    """What a member waits for."""

    @app_commands.command()
    async def queue(self, interaction: Interaction) -> None:
        """Your waiting and running jobs: their places, about when they are done, and a way to cancel them"""
        where_of(interaction)
        await reply(interaction, await _page(interaction, 0))


async def _turn(press: Press) -> None:
    """Another page, or this one as it is now."""
    page = int(press.id.argument) if press.id.argument.isdigit() else 0
    await press.update(await _page(press.interaction, page))


async def _cancel(press: Press) -> None:
    """Cancels one; the list then shows the rest, on the page that the button names."""
    job = await press.job()
    if job.user != str(press.interaction.user.id):
        raise NotYours("That is somebody else's job.")
    said = await cancel_job(press.services, job)
    await press.update(await _page(press.interaction, press.id.index or 0, said=said))


async def _clear(press: Press) -> None:
    """Cancels all that wait, the newest first: what is about to go is not begun meanwhile. There may be hundreds."""
    await press.interaction.response.defer()
    scheduler, gone = press.services.scheduler, 0
    for job in reversed(await _jobs(press.interaction)):
        gone += await scheduler.cancel_waiting(job.id) is not None
    card = await _page(press.interaction, 0, said=f"{counted(gone, 'waiting job')} cancelled. What runs goes on.")
    await press.interaction.edit_original_response(content=card.content, view=press.client.view_of(card))


async def _jobs(interaction: Interaction) -> list[Job]:
    """Those of this server's plan; in a direct message all of theirs. In the order in which they came."""
    services, user = interaction.client.services, str(interaction.user.id)
    if interaction.guild_id is None:
        return await services.jobs.live_of_user(user)
    return await services.jobs.live_of(services.admission.account(user, str(interaction.guild_id)))


async def _page(interaction: Interaction, page: int, *, said: str = "") -> Card:
    """`said`: what the last press did, as its first line."""
    client, jobs = interaction.client, await _jobs(interaction)
    if not jobs:
        return Card(content="\n".join(filter(None, [said, _NOTHING])))
    last = min(_MOST_PAGE, (len(jobs) - 1) // _ON_A_PAGE)
    page = max(0, min(page, last))
    first = page * _ON_A_PAGE
    shown = [(job, await _estimate(client, job)) for job in jobs[first : first + _ON_A_PAGE]]
    now = client.services.clock()
    lines = [_line(number, job, estimate, now) for number, (job, estimate) in enumerate(shown, start=first + 1)]
    running = sum(job.state is State.RUNNING for job in jobs)
    title = f"**Your jobs** {running} running, {len(jobs) - running} waiting"
    pages = f"-# page {page + 1} of {last + 1}" if last else ""
    content = "\n".join(filter(None, [said, title, *lines, pages]))
    return Card(content=content, rows=_rows(jobs, page, last))


async def _estimate(client: ClientBase, job: Job) -> Estimate:
    return await client.services.scheduler.estimate(job)


def _line(number: int, job: Job, estimate: Estimate, now: float) -> str:
    parts = [f"{number}. **{harmless(job.request.prompt, _MOST_WORDS)}**", str(job.lane), *_stands(job, estimate, now)]
    return " · ".join(filter(None, [*parts, "" if job.where.private else link(job) or ""]))


def _stands(job: Job, estimate: Estimate, now: float) -> list[str]:
    """Its place, and about when it begins or ends."""
    if job.state is State.RUNNING:
        state = "stopping" if job.cancel_requested else "paused for faster lanes" if estimate.paused else "running"
        return [state, "" if estimate.ends_in_s is None else f"done {when(now + estimate.ends_in_s)}"]
    place = place_in_line(estimate.place).lower() if estimate.place else "in line"
    if estimate.starts_in_s is None or estimate.ends_in_s is None:
        return [place]
    return [place, f"starts {when(now + estimate.starts_in_s)}", f"done {when(now + estimate.ends_in_s)}"]


def _rows(jobs: Sequence[Job], page: int, last: int) -> tuple[tuple[Component, ...], ...]:
    first = page * _ON_A_PAGE
    cancels = [
        Button(id=job_component(job.id, _CANCEL, page), label=f"Cancel {number}")
        for number, job in enumerate(jobs[first : first + _ON_A_PAGE], start=first + 1)
    ]
    foot = [Button(id=ComponentId(verb=_PAGE, argument=str(page)), emoji="🔄")]
    if page > 0:
        foot.insert(0, Button(id=ComponentId(verb=_PAGE, argument=str(page - 1)), label="◀"))
    if page < last:
        foot.append(Button(id=ComponentId(verb=_PAGE, argument=str(page + 1)), label="▶"))
    if any(job.state is not State.RUNNING for job in jobs):
        foot.append(Button(id=ComponentId(verb=_CLEAR), label="Cancel all waiting", style=Style.DANGER))
    return (tuple(cancels[:_IN_A_ROW]), *((tuple(cancels[_IN_A_ROW:]),) if cancels[_IN_A_ROW:] else ()), tuple(foot))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_component(_turn, _PAGE)
    bot.registry.add_component(_clear, _CLEAR)
    bot.registry.add_job_component(_cancel, _CANCEL)
    await bot.add_cog(JobQueue())
