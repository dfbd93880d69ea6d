"""Who may be shown where a job stands: only who can read its channel now. Shows nothing itself."""

import discord

from bot.interactions.client_base import Interaction
from core.job import Job


def may_open(interaction: Interaction, job: Job) -> bool:
    """Whether this person can read the place that the job stands in.

    What stands here is open to whoever presses here. A private thread elsewhere is not: nobody tells us its members.
    """
    where = job.where
    if where.private or where.guild is None:
        return str(interaction.user.id) == job.user
    if where.channel == str(interaction.channel_id):
        return True
    guild, member = interaction.guild, interaction.user
    if guild is None or where.guild != str(guild.id) or not isinstance(member, discord.Member):
        return False
    channel = guild.get_channel_or_thread(int(where.channel))
    if channel is None or (isinstance(channel, discord.Thread) and channel.is_private()):
        return False
    allowed = channel.permissions_for(member)
    return allowed.view_channel and allowed.read_message_history
