"""Sends a job's pictures to whoever asked for it as a direct message: separate files, its id and its seed."""

import discord

from bot.interactions.client_base import ClientBase
from bot.messages import REQUEST_ERRORS, ErrorKind, error_kind
from bot.text import harmless
from core.errors import Gone, NotYours
from core.job import Job, Kind, State

_NOT_YOURS = "Only whoever asked for it gets its files. U posts a picture, and ⓘ shows its seed, for everybody."
_NO_PICTURES = "It has no pictures to send."
_NOT_KEPT = "Its pictures are not kept any more. U draws one again, for free."
_CLOSED = "Your direct messages are closed to me. Allow them from members of this server, then try again."
_LATER = "Discord does not take it just now. Please try again in a moment."
SENT = "Sent as a direct message."


async def send_directly(client: ClientBase, job: Job, user: str) -> str:
    """Sends it, and says so, or why not. Raises NotYours and Gone, before anything is slow."""
    check_sendable(job, user)
    files = await client.files.singles(job)
    if not files:
        return _NOT_KEPT
    try:
        channel = await client.create_dm(discord.Object(int(user)))
        await channel.send(
            _text(job), files=[make() for make in files], allowed_mentions=discord.AllowedMentions.none()
        )
    except REQUEST_ERRORS as error:
        return _LATER if error_kind(error) is ErrorKind.LATER else _CLOSED
    return SENT


def check_sendable(job: Job, user: str) -> None:
    """Raises NotYours and Gone."""
    if job.user != user:
        raise NotYours(_NOT_YOURS)
    if job.state is not State.DONE or job.deleted_at is not None:
        raise Gone(_NO_PICTURES)


def _text(job: Job) -> str:
    request = job.request
    many = job.kind is not Kind.CROP and request.count > 1
    seeds = f"**Seed** {request.seed}" + (", one more for each picture after the first" if many else "")
    return f"**{harmless(request.prompt, 1400)}**\n**Job** `{job.id}`\n{seeds}"
