"""Allowed or not, and by which rule of the owner. Pure: knows nothing of plans, queues or Discord's objects."""

from collections.abc import Collection

from bot.blocked_words import BlockedWords
from bot.config import Config
from bot.text import first_of
from core.errors import Cure, NotAllowed
from core.job import Job

_MOST_NAMED = 5  # channels in a sentence


class Moderation:
    """`owners` is shared and grows at login, when Discord tells who owns the application."""

    def __init__(self, config: Config, owners: Collection[str]) -> None:
        self._channels = config.channels
        self._owners = owners
        self._blocked = BlockedWords(config.blocked)

    def is_owner(self, user: str) -> bool:
        """May do everything."""
        return user in self._owners

    def check_place(
        self, user: str, guild: str | None, channel: str, parent: str | None = None, *, beside: Collection[str] = ()
    ) -> None:
        """Raises NotAllowed in a channel that is not served.

        `parent`: the channel that a thread belongs to; `beside`: all channels of the server, of which some are named.
        """
        if self.is_owner(user):
            return
        if guild is not None and self._channels is not None and not {channel, parent} & self._channels:
            cure = _one_of(sorted(self._channels & set(beside)))
            raise NotAllowed(f"Darkroom does not work in this channel. {cure}", rule="DARKROOM_CHANNELS")

    def check_text(self, *texts: str, prompt: str | None = None) -> None:
        """Raises NotAllowed, which names the term, when a blocked one stands in a text."""
        for text in texts:
            if (found := self._blocked.find(text)) is not None:
                raise NotAllowed(
                    f"“{found}” is not allowed here. Leave it out and run the prompt again.",
                    rule="DARKROOM_BLOCKED",
                    prompt=prompt,
                    cure=Cure.WORDS,
                )

    def may_manage(self, user: str, job: Job, *, guild: str | None, manage_messages: bool) -> bool:
        """May cancel or delete: whoever asked for it, owners, and moderators of the server that the job is in."""
        if user == job.user or self.is_owner(user):
            return True
        return manage_messages and guild is not None and guild == job.where.guild


def _one_of(channels: list[str]) -> str:
    """Where to go instead."""
    if not channels:
        return "The bot's owner can add it."
    return f"Try {first_of([f'<#{channel}>' for channel in channels], _MOST_NAMED)}."
