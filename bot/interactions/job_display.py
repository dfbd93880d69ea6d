"""Shows a finished job once more, in the answer to an interaction that was put off; and the menu that opens one.

Knows no features: who may see the job is asked before (visibility.py).
"""

from collections.abc import Sequence
from dataclasses import replace

import discord

from bot.interactions.client_base import Interaction
from bot.messages import (
    REQUEST_ERRORS,
    Button,
    Card,
    ComponentId,
    ErrorKind,
    JobView,
    Option,
    Select,
    Verb,
    error_kind,
    job_component,
)
from core.job import Job, Kind

#: The menu under lists of jobs (cogs/history.py answers it).
OPEN = ComponentId(verb="open")
_MOST_LABEL = 90
_NOT_KEPT_GRID = "-# Its pictures are not kept any more. U draws one again, for free."
_NOT_KEPT_CROP = "-# This picture is not kept any more. **Draw it again** is free."
#: Discord's longest menu.
MOST_OPTIONS = 25


async def put_pictures(interaction: Interaction, job: Job) -> discord.InteractionMessage:
    """The put-off answer becomes the job's card with its pictures and buttons. Raises what discord.py raises."""
    client = interaction.client
    card = client.cards.render(JobView(job=job))
    if not await client.files.complete(job):
        card = _without_pictures(card, job)
    refused: Exception | None = None
    async for attempt in client.files.tries(job):
        try:
            return await interaction.edit_original_response(
                content=card.content,
                attachments=[make() for make in attempt.makers],
                view=client.view_of(card),
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except REQUEST_ERRORS as error:
            if error_kind(error) is not ErrorKind.TOO_LARGE:
                raise
            attempt.refuse()
            refused = error
    assert refused is not None
    raise refused


def _without_pictures(card: Card, job: Job) -> Card:
    """They made room for newer ones; the row says how to draw them again."""
    if job.kind is not Kind.CROP or job.source is None:
        return replace(card, content=f"{card.content}\n{_NOT_KEPT_GRID}")
    again = Button(id=job_component(job.source.job, Verb.UPSCALE, job.source.index), label="Draw it again")
    return Card(content=f"{card.content}\n{_NOT_KEPT_CROP}", rows=(*card.rows, (again,)))


async def put_card(interaction: Interaction, card: Card) -> None:
    """The put-off answer becomes this card."""
    view = interaction.client.view_of(card)
    await interaction.edit_original_response(content=card.content, view=view, attachments=[])


def jobs_select(select_id: ComponentId, jobs: Sequence[Job], placeholder: str, first: int = 1) -> Select:
    """A menu of jobs, numbered from `first`; a choice is a job's id."""
    options = tuple(
        Option(value=job.id, label=f"{number}. {in_short(job)}")
        for number, job in enumerate(jobs[:MOST_OPTIONS], first)
    )
    return Select(id=select_id, options=options, placeholder=placeholder)


def in_short(job: Job) -> str:
    """The start of its words, where no markdown is rendered, and which picture it is."""
    words = " ".join(job.request.prompt.split()) or "no words"
    which = f" (picture {job.source.index + 1})" if job.kind is Kind.CROP and job.source is not None else ""
    room = _MOST_LABEL - len(which)
    return (words if len(words) <= room else words[: room - 1] + "…") + which
