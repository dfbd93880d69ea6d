"""The bot as discord.py knows it: start-up, the lateness guard, and the one place where errors become sentences."""

import asyncio
import logging
import secrets
import sqlite3
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import database
from bot.config import ROOT
from bot.interactions import refused_prompt
from bot.interactions.client_base import ClientBase, Interaction
from bot.interactions.command_registration import CommandRegistration
from bot.interactions.home_server import HomeServers
from bot.interactions.registry import ComponentItem, Registry, view_of
from bot.interactions.served_servers import ServedServers
from bot.messages import (
    REQUEST_ERRORS,
    UPLOAD_BYTES,
    Card,
    DeliveryTimes,
    EditRateLimiter,
    JobCards,
    JobView,
    Mends,
    MessageApi,
    PendingResponses,
    ProgressEditor,
    Refusal,
    ResultDelivery,
    ResultFiles,
    Verb,
    in_one_line,
    refusal_of,
)
from bot.services import Services
from bot.storage_retry import PASSING, until_stored
from core.errors import ConfigError, DarkroomError
from core.events import Progress
from core.job import Job

log = logging.getLogger(__name__)

#: Every file in it is a feature and is loaded at start.
COGS = ROOT / "cogs"
_CLOSING_SECONDS = 3.0
#: Delay in seconds after which no answer can arrive in time.
TOO_LATE_SECONDS = 2.8
_WINDOW_SECONDS = 60.0


class InteractionDeadline:
    """Tells whether an interaction is worth answering: Discord waits three seconds.

    Our clock may differ from Discord's by minutes and may jump, so time is taken from one that only goes on, and only
    what is over the smallest difference of the last minute counts as delay. `monotonic` is in seconds, from anywhere.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: deque[tuple[float, float]] = deque()

    def too_late(self, created_at: float) -> bool:
        """`created_at`: Discord's time of the interaction, seconds since the epoch."""
        now = self._monotonic()
        apart = now - created_at
        while self._seen and self._seen[0][0] < now - _WINDOW_SECONDS:
            self._seen.popleft()
        while self._seen and self._seen[-1][1] >= apart:  # kept rising, so the first one is the smallest
            self._seen.pop()
        self._seen.append((now, apart))
        return apart - self._seen[0][1] > TOO_LATE_SECONDS


class Tree(app_commands.CommandTree["DarkroomBot"]):
    """Slash commands and message apps."""

    async def interaction_check(self, interaction: discord.Interaction["DarkroomBot"], /) -> bool:
        """Leaves alone what nobody waits for any more; before the rest, whether its server is served is known."""
        if self.client.too_late(interaction):
            return False
        await self.client.served_servers.look(interaction.guild_id)
        return True

    async def on_error(
        self, interaction: discord.Interaction["DarkroomBot"], error: app_commands.AppCommandError, /
    ) -> None:
        """All errors of commands."""
        await self.client.explain(interaction, error)


class DarkroomBot(ClientBase):
    """Runs with `start(token)` and `background()` side by side."""

    def __init__(self, services: Services) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=Tree,
            intents=discord.Intents(guilds=True),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            allowed_mentions=discord.AllowedMentions.none(),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=False),
        )
        self.services = services
        self.cards = JobCards()
        self.registry = Registry(self.cards)
        self.deadline = InteractionDeadline()
        self.pending = PendingResponses()
        self.message_api = MessageApi(self, services.clock, view_of)
        self.served_servers = ServedServers(self, services)
        self.home_servers = HomeServers(self, self.served_servers.is_served)
        limiter = EditRateLimiter(services.config.edits_per_second)
        self.editor = ProgressEditor(
            services.bus, self.message_api, limiter, self.cards, self.job_view, clock=services.clock
        )
        self.delivery = ResultDelivery(
            self,
            services.jobs,
            services.outbox,
            ResultFiles(services.images, self._upload_limit),
            services.bus,
            self.message_api,
            self.editor,
            self.pending,
            limiter,
            self.cards,
            DeliveryTimes(new_after=services.config.new_message_after),
            clock=services.clock,
        )
        self.commands_at_discord = CommandRegistration(self.tree, services.settings)
        self._logged_in = asyncio.Event()

    async def setup_hook(self) -> None:
        """After login, before the gateway: everything that may happen only once."""
        self.services.owners.update(owners_of(self.application))
        for feature in sorted(await asyncio.to_thread(_features)):
            await self._load(feature)
        self._check_features()
        self.add_dynamic_items(ComponentItem)
        await self.commands_at_discord.begin(f"{self.application_id}{self.services.config.api_url}")
        self._logged_in.set()

    def _check_features(self) -> None:
        """Raises ConfigError without the buttons by which messages of jobs are found again after a crash."""
        missing = [verb for verb in (Verb.INFO, Verb.CANCEL) if not self.registry.has_job_component(verb)]
        if missing:
            raise ConfigError(
                f"No file in {COGS.name}/ declares the button {str(missing[0])!r}, by which a job's messages are found "
                "again: put job_info.py and job_buttons.py back."
            )

    async def _load(self, feature: str) -> None:
        try:
            await self.load_extension(f"{COGS.name}.{feature}")
        except commands.ExtensionError as error:
            cause = getattr(error, "original", error)
            log.error("A feature cannot be loaded:\n%s", "".join(traceback.format_exception(cause)))
            raise ConfigError(
                f"{COGS.name}/{feature}.py cannot be loaded: {type(cause).__name__}: {cause}. "
                "Fix the file, or take it out of that folder."
            ) from error

    async def background(self) -> None:
        """Keeps messages up to date and posts results, from login until it is cancelled."""
        await self._logged_in.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.editor.run())
            tasks.create_task(self.delivery.run())
            tasks.create_task(self.served_servers.run())
            await asyncio.sleep(0)  # both listen before the rows are read, so that no news falls between
            await self._take_up_again()

    async def close(self) -> None:
        """Lets answers under way arrive first."""
        await self.pending.all_settled(_CLOSING_SECONDS)
        await self.commands_at_discord.end()
        self.home_servers.close()
        await super().close()

    async def on_ready(self) -> None:
        """May come again after each reconnect, so nothing happens here."""
        log.info("Connected to Discord as %s.", self.user)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Whether it is served is known before anybody asks for something."""
        await self.served_servers.look(guild.id)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """What a listener raises; one that the stop cuts off, its database closed, is no mistake."""
        if self.is_closed():
            log.info("The stop cut off what listens to %s.", event_method)
            return
        await super().on_error(event_method, *args, **kwargs)

    async def on_message(self, message: discord.Message, /) -> None:
        """Nothing is read in channels: there are only commands, buttons and modals."""

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Forms, by their custom id: discord.py knows only those that it opened since its last start."""
        if interaction.type is discord.InteractionType.modal_submit:
            await self.registry.submitted(interaction)

    def view_of(self, card: Card) -> discord.ui.View:
        """A card's components for discord.py."""
        return view_of(card)

    async def job_view(self, job: Job, progress: Progress | None) -> JobView:
        """The job with its place in line and its times as they are now."""
        estimate = await self.services.scheduler.estimate(job)
        now = self.services.clock()
        return JobView(
            job=job,
            now=now,
            place=estimate.place or None,
            starts_at=None if estimate.starts_in_s is None else now + estimate.starts_in_s,
            ends_at=None if estimate.ends_in_s is None else now + estimate.ends_in_s,
            fraction=None if progress is None else progress.step / max(1, progress.steps),
            paused=estimate.paused,
            worker=self.services.scheduler.worker_state(),
        )

    def too_late(self, interaction: discord.Interaction[Any]) -> bool:
        """Whether nobody waits for an answer any more."""
        late = self.deadline.too_late(interaction.created_at.timestamp())
        if late:
            log.warning("An interaction came too late to be answered.", extra={"interaction": interaction.id})
        return late

    async def explain(self, interaction: Interaction, error: BaseException, *, mends: Mends | None = None) -> None:
        """Tells one person, privately, what went wrong and what would be right."""
        cause = getattr(error, "original", error)
        if self.is_closed():
            log.info("An interaction was left unanswered at the stop.", extra={"interaction": interaction.id})
            return
        if isinstance(cause, DarkroomError):
            await self._say(interaction, refusal_of(cause, mends or refused_prompt.PLAIN))
            return
        if isinstance(cause, sqlite3.DatabaseError) and (sentence := self._why_not_stored(cause)):
            await self._say(interaction, Refusal(card=Card(content=sentence)))
            return
        word = secrets.token_hex(2)
        if isinstance(cause, REQUEST_ERRORS):
            log.warning("Answering failed (%s): %s", word, in_one_line(cause), extra={"interaction": interaction.id})
        else:
            log.error(
                "An interaction failed (%s):\n%s",
                word,
                "".join(traceback.format_exception(cause)),
                extra={"interaction": interaction.id},
            )
        sentence = f"Something went wrong on my side. Please try again. Trace: `{word}`"
        await self._say(interaction, Refusal(card=Card(content=sentence)))

    def _why_not_stored(self, error: sqlite3.DatabaseError) -> str:
        """What a member hears of an error of the database; the log has the rest. Empty for a mistake of ours."""
        if database.is_damaged(error):
            log.error("%s", database.why(self.services.db.path, error))
            return "My database is damaged, so this cannot be done. Please tell the bot's owner: the log has the cure."
        if isinstance(error, PASSING):
            log.error("The database could not be used (%s).", error)
            return "My database does not answer just now. Please try again in a moment."
        return ""

    async def _say(self, interaction: Interaction, refusal: Refusal) -> None:
        more: dict[str, Any] = {"ephemeral": True}
        if refusal.prompt is not None:
            more["embed"] = discord.Embed(description=refusal.prompt)
        if refusal.card.rows:
            more["view"] = view_of(refusal.card)
        try:
            if interaction.response.is_done():
                await interaction.followup.send(refusal.card.content, **more)
            else:
                await interaction.response.send_message(refusal.card.content, **more)
        except REQUEST_ERRORS as error:
            log.info(
                "An error message could not be sent: %s", in_one_line(error), extra={"interaction": interaction.id}
            )

    async def _take_up_again(self) -> None:
        """Goes on with the messages of jobs that were alive when the bot stopped."""
        for job in await until_stored(self.services.jobs.live, "read the jobs in progress"):
            try:
                message = job.where.message or await self.message_api.original(job.where)
            except REQUEST_ERRORS as error:
                log.info("A message could not be found again: %s", in_one_line(error), extra={"job": job.id})
                continue
            if message is None:
                continue
            if job.where.message is None:
                await self.services.jobs.set_message(job.id, message)
            self.editor.follow(replace(job, where=replace(job.where, message=message)), None)

    def _upload_limit(self, job: Job) -> int:
        guild = self.get_guild(int(job.where.guild)) if job.where.guild else None
        return max(UPLOAD_BYTES, guild.filesize_limit) if guild is not None else UPLOAD_BYTES


def owners_of(application: discord.AppInfo | None) -> set[str]:
    """Users who own the application: alone, or in its team, which some were only invited to or may only read."""
    if application is None:
        return set()
    if (team := application.team) is not None:
        accepted, reader = discord.TeamMembershipState.accepted, discord.TeamMemberRole.read_only
        members = [member for member in team.members if member.membership_state is accepted]
        return {str(member.id) for member in members if member.role is not reader or member.id == team.owner_id}
    return {str(application.owner.id)}


def _features() -> list[str]:
    """The names of the files in cogs/; what begins with an underscore is none."""
    return [path.stem for path in COGS.glob("*.py") if not path.name.startswith("_")]
