"""The bot as discord.py knows it: start-up, the lateness guard, and the one place where errors become sentences."""

import asyncio
import hashlib
import json
import logging
import secrets
import traceback
from dataclasses import replace
from typing import Any, cast

import discord
from discord import app_commands
from discord.ext import commands

from bot.interactions import submission
from bot.interactions.home_server import HomeServers
from bot.interactions.interaction_deadline import InteractionDeadline
from bot.messages.api_errors import REQUEST_ERRORS
from bot.messages.attachments import ResultFiles
from bot.messages.components import AskButton, JobButton, refusal_view
from bot.messages.edit_rate_limiter import EditRateLimiter
from bot.messages.grid_image import UPLOAD_BYTES
from bot.messages.job_card import Button, JobView
from bot.messages.message_api import MessageApi
from bot.messages.pending_responses import PendingResponses
from bot.messages.progress_editor import ProgressEditor
from bot.messages.result_delivery import DeliveryTimes, ResultDelivery
from bot.services import Services
from bot.storage_retry import until_stored
from bot.text import code_block
from core.errors import DarkroomError, QuotaSpent, Refused
from core.events import Progress
from core.job import Job
from core.prompt import MAX_TYPED

log = logging.getLogger(__name__)

COGS = ("cogs.imagine", "cogs.lanes", "cogs.context_menus", "cogs.help", "cogs.worker_admin")
_CLOSING_SECONDS = 3.0
_HASH = "commands:hash"


class Tree(app_commands.CommandTree["DarkroomBot"]):
    """Slash commands and message apps."""

    async def interaction_check(self, interaction: discord.Interaction["DarkroomBot"], /) -> bool:
        """Leaves alone what nobody waits for any more."""
        return not self.client.too_late(interaction)

    async def on_error(
        self, interaction: discord.Interaction["DarkroomBot"], error: app_commands.AppCommandError, /
    ) -> None:
        """All errors of commands."""
        await self.client.explain(interaction, error)


class DarkroomBot(commands.Bot):
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
        self.log = log
        self.lateness = InteractionDeadline()
        self.answers = PendingResponses()
        self.message_api = MessageApi(self, services.clock)
        self.home_servers = HomeServers(self, services.config.guilds)
        limiter = EditRateLimiter(services.config.edits_per_second)
        self.editor = ProgressEditor(services.bus, self.message_api, limiter, self.look, clock=services.clock)
        self.delivery = ResultDelivery(
            self,
            services.jobs,
            services.outbox,
            ResultFiles(services.images, self._upload_limit),
            services.bus,
            self.message_api,
            self.editor,
            self.answers,
            limiter,
            DeliveryTimes(new_after=services.config.new_message_after),
            clock=services.clock,
        )
        self._logged_in = asyncio.Event()

    async def setup_hook(self) -> None:
        """After login, before the gateway: everything that may happen only once."""
        self.services.owners.update(self._owners_of_application())
        for cog in COGS:
            await self.load_extension(cog)
        self.add_dynamic_items(JobButton, AskButton)
        await self._register_commands()
        self._logged_in.set()

    async def background(self) -> None:
        """Keeps messages up to date and posts results, from login until it is cancelled."""
        await self._logged_in.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.editor.run())
            tasks.create_task(self.delivery.run())
            await asyncio.sleep(0)  # both listen before the rows are read, so that no news falls between
            await self._take_up_again()

    async def close(self) -> None:
        """Lets answers under way arrive first."""
        await self.answers.all_settled(_CLOSING_SECONDS)
        await super().close()

    async def on_ready(self) -> None:
        """May come again after each reconnect, so nothing happens here."""
        log.info("Connected to Discord as %s.", self.user)

    async def on_message(self, message: discord.Message, /) -> None:
        """Nothing is read in channels: there are only commands, buttons and modals."""

    async def on_interaction(self, interaction: discord.Interaction["DarkroomBot"]) -> None:
        """Modals, by their custom id: discord.py knows only those that it opened since its last start."""
        if interaction.type is not discord.InteractionType.modal_submit or self.too_late(interaction):
            return
        try:
            if cast("dict[str, Any]", interaction.data or {}).get("custom_id") == submission.MODAL:
                await submission.submitted(interaction)
        except Exception as error:
            await self.explain(interaction, error)

    async def look(self, job: Job, progress: Progress | None) -> JobView:
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
        late = self.lateness.too_late(interaction.created_at.timestamp())
        if late:
            log.warning("An interaction came too late to be answered.", extra={"interaction": interaction.id})
        return late

    async def explain(
        self, interaction: discord.Interaction["DarkroomBot"], error: BaseException, *, pressed: Button | None = None
    ) -> None:
        """Tells one person, privately, what went wrong and what would be right."""
        cause = getattr(error, "original", error)
        if self.is_closed():
            log.info("An interaction was left unanswered at the stop.", extra={"interaction": interaction.id})
            return
        if isinstance(cause, DarkroomError):
            await self._say(interaction, cause.sentence, *_correction(cause, pressed))
            return
        word = secrets.token_hex(2)
        if isinstance(cause, REQUEST_ERRORS):
            log.warning("Answering failed (%s): %s", word, cause, extra={"interaction": interaction.id})
        else:
            log.error(
                "An interaction failed (%s):\n%s",
                word,
                "".join(traceback.format_exception(cause)),
                extra={"interaction": interaction.id},
            )
        await self._say(interaction, f"Something went wrong on my side. Please try again. Trace: `{word}`", None, None)

    async def _say(
        self,
        interaction: discord.Interaction["DarkroomBot"],
        sentence: str,
        embed: discord.Embed | None,
        view: discord.ui.View | None,
    ) -> None:
        more: dict[str, Any] = {"ephemeral": True}
        if embed is not None:
            more["embed"] = embed
        if view is not None:
            more["view"] = view
        try:
            if interaction.response.is_done():
                await interaction.followup.send(sentence, **more)
            else:
                await interaction.response.send_message(sentence, **more)
        except REQUEST_ERRORS as error:
            log.info("A sentence could not be said: %s", error, extra={"interaction": interaction.id})

    def _owners_of_application(self) -> set[str]:
        application = self.application
        if application is None:
            return set()
        if application.team is not None:
            return {str(member.id) for member in application.team.members}
        return {str(application.owner.id)}

    async def _register_commands(self) -> None:
        """Tells Discord our commands, only when they changed: registering is limited each day."""
        body = json.dumps([command.to_dict(self.tree) for command in self.tree.get_commands()], sort_keys=True)
        digest = hashlib.sha256(f"{self.application_id}{self.services.config.api_url}{body}".encode()).hexdigest()
        ours = {(command.name, _type_of(command)) for command in self.tree.get_commands()}
        if await self.services.settings.state(_HASH) == digest:
            theirs = {(command.name, command.type) for command in await self.tree.fetch_commands()}
            if ours == theirs:
                return
        await self.tree.sync()
        await self.services.settings.put_state(_HASH, digest)
        log.info("The commands were registered with Discord.")

    async def _take_up_again(self) -> None:
        """Goes on with the messages of jobs that were alive when the bot stopped."""
        for job in await until_stored(self.services.jobs.live, "read the jobs that go on"):
            try:
                message = job.where.message or await self.message_api.original(job.where)
            except REQUEST_ERRORS as error:
                log.info("A message could not be found again: %s", error, extra={"job": job.id})
                continue
            if message is None:
                continue
            if job.where.message is None:
                await self.services.jobs.set_message(job.id, message)
            self.editor.follow(replace(job, where=replace(job.where, message=message)), None)

    def _upload_limit(self, job: Job) -> int:
        guild = self.get_guild(int(job.where.guild)) if job.where.guild else None
        return max(UPLOAD_BYTES, guild.filesize_limit) if guild is not None else UPLOAD_BYTES


def _correction(error: DarkroomError, pressed: Button | None) -> tuple[discord.Embed | None, discord.ui.View | None]:
    """The prompt and the buttons that stand beside a refusal."""
    if not isinstance(error, Refused) or error.prompt is None:
        return None, None
    spent = isinstance(error, QuotaSpent)
    relax = replace(pressed, relax=True, label="Run it in relax", emoji=None) if spent and pressed is not None else None
    view = refusal_view(relax=relax, relax_prompt=spent)
    if not error.prompt:  # only blanks were typed: there is nothing to show, and still something to correct
        return None, view
    return discord.Embed(description=code_block(error.prompt[:MAX_TYPED])), view


def _type_of(command: Any) -> discord.AppCommandType:
    return command.type if isinstance(command, app_commands.ContextMenu) else discord.AppCommandType.chat_input
