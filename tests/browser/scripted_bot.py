"""A small bot on unmodified discord.py for the page's tests: each command answers in one of the ways that a bot can.

python -m tests.browser.scripted_bot URL   (prints "ready" once its commands are registered)
"""

import asyncio
import logging
import sys

import discord
import yarl
from discord import app_commands

logging.basicConfig(level=logging.WARNING)


class Form(discord.ui.Modal, title="Fix and run"):
    """One text that comes filled in, and a choice."""

    def __init__(self, prompt: str) -> None:
        super().__init__(timeout=60)
        self.prompt: discord.ui.TextInput[Form] = discord.ui.TextInput(
            label="Prompt", style=discord.TextStyle.paragraph, default=prompt, min_length=3, max_length=400
        )
        options = [discord.SelectOption(label="fast"), discord.SelectOption(label="relax")]
        self.lane: discord.ui.Select[Form] = discord.ui.Select(options=options)
        self.add_item(self.prompt)
        self.add_item(discord.ui.Label(text="Lane", description="how it is paid", component=self.lane))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"Running **{self.prompt.value}** in {self.lane.values[0]}.")


class Edit(discord.ui.Modal, title="Edit a picture"):
    """Words, several choices, a person and files."""

    words: discord.ui.TextDisplay["Edit"] = discord.ui.TextDisplay("A picture, or one with a **scribble** over it.")
    prompt: discord.ui.Label["Edit"] = discord.ui.Label(
        text="Prompt", component=discord.ui.TextInput(default="a red boat")
    )
    where: discord.ui.Label["Edit"] = discord.ui.Label(
        text="Where",
        component=discord.ui.Select(
            max_values=2,
            options=[discord.SelectOption(label=name, default=name == "sky") for name in ("sky", "sea", "sand")],
        ),
    )
    whom: discord.ui.Label["Edit"] = discord.ui.Label(text="For whom", component=discord.ui.UserSelect())
    pictures: discord.ui.Label["Edit"] = discord.ui.Label(
        text="Pictures", component=discord.ui.FileUpload(max_values=2)
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        prompt, where, whom, files = (part.component for part in (self.prompt, self.where, self.whom, self.pictures))
        assert isinstance(prompt, discord.ui.TextInput) and isinstance(where, discord.ui.Select)
        assert isinstance(whom, discord.ui.UserSelect) and isinstance(files, discord.ui.FileUpload)
        names = ", ".join(file.filename for file in files.values)
        places = ", ".join(where.values)
        await interaction.response.send_message(
            f"{prompt.value}: {places} for {whom.values[0].display_name} with {names}"
        )


AREAS = [f"{column}{row}" for row in range(1, 5) for column in "ABCD"]


class Areas(discord.ui.View):
    """Several areas of a picture."""

    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.select(
        custom_id="areas",
        placeholder="Areas",
        max_values=3,
        options=[discord.SelectOption(label=name, default=name == "B2") for name in AREAS],
    )
    async def areas(self, interaction: discord.Interaction, select: discord.ui.Select["Areas"]) -> None:
        await interaction.response.send_message(f"Areas {', '.join(select.values)}.")


class Buttons(discord.ui.View):
    """One button for each thing that may follow a press."""

    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Count", custom_id="count")
    async def count(self, interaction: discord.Interaction, button: discord.ui.Button["Buttons"]) -> None:
        assert interaction.message is not None
        await interaction.response.edit_message(content=interaction.message.content + " one", view=Buttons())

    @discord.ui.button(label="Whisper", custom_id="whisper")
    async def whisper(self, interaction: discord.Interaction, button: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.send_message("A secret for you.", view=Buttons(), ephemeral=True)

    @discord.ui.button(label="Form", custom_id="form", style=discord.ButtonStyle.primary)
    async def form(self, interaction: discord.Interaction, button: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.send_modal(Form("a red boat --foo"))

    @discord.ui.button(label="Silent", custom_id="silent")
    async def silent(self, interaction: discord.Interaction, button: discord.ui.Button["Buttons"]) -> None:
        """Says nothing, so that the page has to."""

    @discord.ui.select(custom_id="colour", options=[discord.SelectOption(label=name) for name in ("red", "blue")])
    async def colour(self, interaction: discord.Interaction, select: discord.ui.Select["Buttons"]) -> None:
        await interaction.response.send_message(f"You chose {select.values[0]}.")


def commands(tree: app_commands.CommandTree[discord.Client]) -> None:
    @tree.command(description="Four pictures from your words")
    @app_commands.describe(prompt="what you want to see", style="a look")
    async def imagine(interaction: discord.Interaction, prompt: str, style: str | None = None) -> None:
        await interaction.response.defer()
        await interaction.followup.send(f"**{prompt}**" + (f" in {style}" if style else ""), view=Buttons())

    @imagine.autocomplete("style")
    async def styles(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=f"{typed} in {way}", value=f"{way}-{typed}") for way in ("oil", "ink")]

    @tree.command(description="Think without end")
    async def ponder(interaction: discord.Interaction) -> None:
        await interaction.response.defer()

    @tree.command(description="Say nothing at all")
    async def sulk(interaction: discord.Interaction, prompt: str, style: str | None = None) -> None:
        """As if the bot were away."""

    @tree.command(description="Four prompts from a picture")
    async def describe(interaction: discord.Interaction, image: discord.Attachment) -> None:
        await interaction.response.send_message(f"{image.filename} is {image.width} wide.")

    @tree.command(description="One picture from two")
    async def blend(interaction: discord.Interaction, image1: discord.Attachment, image2: discord.Attachment) -> None:
        await interaction.response.send_message(f"{image1.filename} and {image2.filename}")

    @tree.command(name="help", description="Pages")
    @app_commands.choices(
        page=[app_commands.Choice(name=name, value=name.lower()) for name in ("Start", "Parameters", "Models")]
    )
    async def pages(interaction: discord.Interaction, page: str = "start") -> None:
        await interaction.response.send_message(f"The page {page}.", ephemeral=True)


def more_commands(tree: app_commands.CommandTree[discord.Client]) -> None:
    """Choices, forms, threads, reactions, apps."""

    prefer = app_commands.Group(name="prefer", description="Your settings")
    option = app_commands.Group(name="option", description="Words of your own", parent=prefer)

    @option.command(name="set", description="Make one")
    async def set_option(interaction: discord.Interaction, name: str, value: str | None = None) -> None:
        await interaction.response.send_message(f"{name} is {value}.", ephemeral=True)
        await interaction.edit_original_response(content=f"{name} is {value} now.")

    @set_option.autocomplete("value")
    async def values(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=f"{typed} and {interaction.namespace.name}", value=typed * 2)]

    tree.add_command(prefer)

    @tree.context_menu(name="Pictures of")
    async def pictures_of(interaction: discord.Interaction, user: discord.Member) -> None:
        await interaction.response.send_message(f"All of {user.display_name}", ephemeral=True)

    @tree.command(description="Choose areas")
    async def areas(interaction: discord.Interaction) -> None:
        await interaction.response.send_message(view=Areas(), content="Where?")

    @tree.command(description="Change a picture")
    async def edit(interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Edit(timeout=60))

    @tree.command(description="Pictures in a thread")
    async def batch(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("Six boats")
        message = await interaction.original_response()
        thread = await message.create_thread(name="the batch")
        await thread.send("one of six")

    @tree.command(description="A thread for all and one for you")
    async def rooms(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        assert isinstance(interaction.channel, discord.TextChannel)
        private = await interaction.channel.create_thread(name=f"{interaction.user.display_name}'s room")
        await private.add_user(interaction.user)
        kind = discord.ChannelType.public_thread
        public = await interaction.channel.create_thread(name="open room", type=kind)
        await public.send("for all")
        await interaction.followup.send("made", ephemeral=True)

    @tree.command(description="Stars")
    async def vote(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("Vote")
        await (await interaction.original_response()).add_reaction("⭐")

    @tree.context_menu(name="Cancel Job")
    async def cancel(interaction: discord.Interaction, message: discord.Message) -> None:
        await interaction.response.send_message(f"Cancelled {message.content}", ephemeral=True)


def at(client: discord.Client, payload: discord.RawReactionActionEvent) -> discord.PartialMessage:
    return client.get_partial_messageable(payload.channel_id).get_partial_message(payload.message_id)


async def reacted(client: discord.Client, payload: discord.RawReactionActionEvent, verb: str) -> None:
    """Says who did what, unless it was the bot."""
    assert client.user is not None
    if payload.user_id != client.user.id:
        user = await client.fetch_user(payload.user_id)
        await at(client, payload).reply(f"{user.display_name} {verb} {payload.emoji}")


async def main(url: str) -> None:
    discord.http.Route.BASE = f"{url}/api/v10"
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "/gateway")
    client = discord.Client(intents=discord.Intents(guilds=True, guild_reactions=True))
    tree = app_commands.CommandTree(client)
    commands(tree)
    more_commands(tree)

    async def set_up() -> None:
        client.add_view(Buttons())
        client.add_view(Areas())
        await tree.sync()

    client.setup_hook = set_up  # type: ignore[method-assign]

    @client.event
    async def on_raw_reaction_add(payload: discord.RawReactionActionEvent) -> None:
        await reacted(client, payload, "added")
        if str(payload.emoji) == "❌":
            await at(client, payload).clear_reactions()

    @client.event
    async def on_raw_reaction_remove(payload: discord.RawReactionActionEvent) -> None:
        await reacted(client, payload, "removed")

    @client.event
    async def on_connect() -> None:
        print("ready", flush=True)

    async with client:
        await client.start("sandbox")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
