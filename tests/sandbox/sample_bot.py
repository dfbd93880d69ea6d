"""A small bot of real, unmodified discord.py, to try the sandbox with. Knows nothing of Darkroom."""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import discord
import yarl
from discord import app_commands

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf500f0003860180ef44"
    "c6650000000049454e44ae426082"
)


def picture(name: str = "grid.png", data: bytes = PNG) -> discord.File:
    return discord.File(io.BytesIO(data), name)


class JobButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"job:(?P<job>\d+):(?P<verb>\w+)"):
    """A button that holds an id and a verb and works after any restart."""

    def __init__(self, job: int, verb: str, *, disabled: bool = False) -> None:
        super().__init__(discord.ui.Button(label=verb, custom_id=f"job:{job}:{verb}", disabled=disabled))
        self.job, self.verb = job, verb

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> "JobButton":
        return cls(int(match["job"]), match["verb"])

    async def callback(self, interaction: discord.Interaction) -> None:
        if self.verb == "fix":
            await interaction.response.send_modal(Fix())
        elif self.verb == "later":
            await interaction.response.defer()
        else:
            await interaction.response.edit_message(content=f"{self.verb} of {self.job} by {interaction.user.name}")


class Fix(discord.ui.Modal, title="Fix and run"):
    prompt: Any = discord.ui.Label(text="Prompt", component=discord.ui.TextInput(default="a red boat", max_length=50))
    lane: Any = discord.ui.Label(
        text="Lane",
        component=discord.ui.Select(options=[discord.SelectOption(label="Fast"), discord.SelectOption(label="Relax")]),
    )
    picture: Any = discord.ui.Label(text="Picture", component=discord.ui.FileUpload(required=False))

    def __init__(self) -> None:
        super().__init__(timeout=60)

    async def on_submit(self, interaction: discord.Interaction) -> None:
        files = [f"{file.filename} {len(await file.read())}" for file in self.picture.component.values]
        words = " ".join([self.prompt.component.value, *self.lane.component.values, *files])
        await interaction.response.send_message(words, ephemeral=True)


def buttons(*verbs: str) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for verb in verbs:
        view.add_item(JobButton(7, verb))
    return view


class SampleBot(discord.Client):
    """Its commands are made by `commands_of`; `seen` holds the names of its gateway events."""

    def __init__(self, **options: Any) -> None:
        intents = options.pop("intents", discord.Intents.default())
        super().__init__(intents=intents, guild_ready_timeout=0.05, **options)
        self.tree = app_commands.CommandTree(self)
        self.readies = 0
        self.resumes = 0
        self.left: list[int] = []
        self.errors: list[Exception] = []
        self.read: list[discord.Message] = []
        self.changed = asyncio.Event()
        commands_of(self)
        settings_of(self)

    async def setup_hook(self) -> None:
        self.add_dynamic_items(JobButton)
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """discord.py waits five seconds here before it identifies anew; a sandbox needs no such care."""

    async def on_ready(self) -> None:
        self.readies += 1
        self.changed.set()

    async def on_resumed(self) -> None:
        self.resumes += 1
        self.changed.set()

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        self.left.append(guild.id)
        self.changed.set()

    async def on_message(self, message: discord.Message) -> None:
        self.read.append(message)
        self.changed.set()

    async def until(self, condition: Any, seconds: float = 10) -> None:
        """Wait until a condition about this bot holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


def commands_of(bot: SampleBot) -> None:
    tree = bot.tree

    @tree.command(description="Make pictures")
    async def imagine(interaction: discord.Interaction, prompt: str, image: discord.Attachment | None = None) -> None:
        await interaction.response.send_message(f"**{prompt}** third in line")
        if image:
            await interaction.edit_original_response(content=f"{image.filename} {len(await image.read())}")
            return
        for share in (31, 62):
            preview = [picture(f"preview{share}.png")]
            await interaction.edit_original_response(content=f"**{prompt}** {share} %", attachments=preview)
        message = await interaction.original_response()
        channel = bot.get_partial_messageable(message.channel.id)
        view = buttons("U1", "U2", "fix", "later")
        await channel.get_partial_message(message.id).edit(content=f"**{prompt}**", attachments=[picture()], view=view)

    @tree.command(description="Answer later")
    async def think(interaction: discord.Interaction, private: bool = False) -> None:
        await interaction.response.defer(ephemeral=private, thinking=True)
        await interaction.followup.send("thought of it")
        await interaction.followup.send("and one more, for you", ephemeral=True)

    @tree.command(description="Never answer")
    async def sleep(interaction: discord.Interaction) -> None:
        bot.changed.set()

    @tree.command(description="Choose")
    async def style(interaction: discord.Interaction, name: str, strength: app_commands.Range[int, 1, 10] = 5) -> None:
        await interaction.response.send_message(f"{name} {strength}", ephemeral=True)

    @style.autocomplete("name")
    async def names(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        known = ["watercolour", "woodcut", "photo"]
        return [app_commands.Choice(name=name, value=name) for name in known if name.startswith(current)]


def settings_of(bot: SampleBot) -> None:
    tree = bot.tree
    prefer = app_commands.Group(name="prefer", description="Your settings")

    @prefer.command(description="Always added")
    async def suffix(interaction: discord.Interaction, text: str = "") -> None:
        await interaction.response.send_message(f"suffix {text}", ephemeral=True)

    tree.add_command(prefer)

    @tree.command(description="For those who manage messages")
    @app_commands.default_permissions(manage_messages=True)
    async def pause(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("paused")

    @tree.command(description="Grown-ups", nsfw=True)
    async def adult(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("fine")

    @tree.command(description="Guilds only")
    @app_commands.guild_only()
    async def here(interaction: discord.Interaction, where: discord.TextChannel, who: discord.Member) -> None:
        await interaction.response.send_message(f"{where.name} {who.name} {interaction.permissions.manage_messages}")

    @tree.context_menu(name="Cancel Job")
    async def cancel(interaction: discord.Interaction, message: discord.Message) -> None:
        files = ",".join(file.filename for file in message.attachments)
        await interaction.response.send_message(f"cancelled {message.content} {files}", ephemeral=True)

    @tree.error
    async def on_error(interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        bot.errors.append(error)
        bot.changed.set()


@asynccontextmanager
async def joined(url: str, bot: SampleBot | None = None) -> AsyncIterator[SampleBot]:
    """A bot that has logged in to the sandbox at `url` and is ready."""
    before = (discord.http.Route.BASE, discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY, discord.asset.Asset.BASE)
    discord.http.Route.BASE = f"{url}/api/v10"
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "/gateway")
    discord.asset.Asset.BASE = url
    bot = bot or SampleBot()
    task = asyncio.create_task(bot.start("sandbox"))
    try:
        ready = asyncio.create_task(bot.until(lambda: bot.readies))
        done, _ = await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        for finished in done:
            finished.result()
        yield bot
    finally:
        await bot.close()
        await asyncio.gather(task, return_exceptions=True)
        discord.http.Route.BASE, discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY, discord.asset.Asset.BASE = before
