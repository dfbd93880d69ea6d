"""The job that a message shows: for message apps, and for reactions, which name the message alone. Decides nothing."""

import discord

from bot.interactions.client_base import ClientBase
from bot.messages import Verb, components_in
from core.job import Job


async def job_in(client: ClientBase, message: discord.Message) -> Job | None:
    """By the buttons, which name the job before its row knows the message. A crop's "Vary" names another job.

    A forwarded message stands for the one that it was made from.
    """
    jobs = client.services.jobs
    reference = message.reference
    if reference is not None and reference.type is discord.MessageReferenceType.forward and reference.message_id:
        return await jobs.by_message(str(reference.message_id))
    if client.user is None or message.author.id != client.user.id:
        return None
    for name in (Verb.CANCEL, Verb.INFO):
        for component in components_in(message):
            if component.verb == name and component.job is not None:
                return await jobs.get(component.job)
    return await jobs.by_message(str(message.id))
