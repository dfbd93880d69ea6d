"""What handlers of commands, presses and forms may use of the client. Builds and decides nothing: see client.py."""

import io
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import discord
from discord.ext import commands

from bot.interactions.home_server import HomeServers
from bot.interactions.served_servers import ServedServers
from bot.messages import Card, JobCards, JobView, Mends, MessageApi, PendingResponses, ProgressEditor, ResultFiles
from bot.services import Services
from core.bounded_dict import BoundedDict
from core.events import Progress
from core.job import Job


class ClientBase(commands.Bot):
    """A client of Discord with our services beside it."""

    services: Services
    home_servers: HomeServers
    served_servers: ServedServers
    pending: PendingResponses
    message_api: MessageApi
    editor: ProgressEditor
    cards: JobCards
    files: ResultFiles
    archived_threads: BoundedDict[int, tuple[float, discord.Thread]]  # with when they were asked for

    @abstractmethod
    async def job_view(self, job: Job, progress: Progress | None) -> JobView:
        """The job with its place in line and its times as they are now."""

    @abstractmethod
    def view_of(self, card: Card) -> discord.ui.View:
        """A card's components for discord.py: a fresh view for each message and each edit."""

    @abstractmethod
    def too_late(self, interaction: "Interaction") -> bool:
        """Whether nobody waits for an answer any more."""

    @abstractmethod
    async def explain(self, interaction: "Interaction", error: BaseException, *, mends: Mends | None = None) -> None:
        """Tells one person, privately, what went wrong and what would be right.

        `mends`: what runs a refused wish as it was meant; None: its words make a new grid.
        """


Interaction = discord.Interaction[ClientBase]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A file that an answer shows."""

    name: str
    data: bytes = field(repr=False)

    def fresh(self) -> discord.File:
        """For one request: it is read once."""
        return discord.File(io.BytesIO(self.data), self.name)


async def reply(interaction: Interaction, card: Card, *, public: bool = False, file: NamedFile | None = None) -> None:
    """The first answer to a command or a press: a new message, which only the person sees unless it is `public`."""
    more: dict[str, Any] = {} if file is None else {"file": file.fresh()}
    view = interaction.client.view_of(card)
    await interaction.response.send_message(card.content, view=view, ephemeral=not public, suppress_embeds=True, **more)
