"""/help: short pages, made from the table that the parser itself uses."""

from dataclasses import dataclass

from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction
from core.parameters import IGNORED, PARAMETERS


@dataclass(frozen=True, slots=True)
class Page:
    """One page: `name` is what the command sends, `title` what people choose."""

    name: str
    title: str
    text: str


_START = """\
**Pictures from words**
`/imagine` with a few words makes four pictures: `a red boat on the sea at sunset`.
Parameters come after the words: `a red boat --ar 3:2 --seed 7` (`/help` → Parameters).

**Below the pictures**
**U1**–**U4** posts one of them on its own · **V1**–**V4** makes four more like it
🔄 tries the same words again · ⓘ shows every setting, with **Delete**
Below a single picture: **Upscale** and **Vary**; **More** zooms out, pans, enlarges further and changes a part.
Anyone may press them; the new job is then theirs.

**Lanes**
`/fast` uses your fast time · `/turbo` comes first, at double price · `/relax` is free and comes last
`/info` shows what you have left"""

_MANAGE = """\
**Stopping**
Press **Cancel** below a waiting or running job, or right-click its message → Apps → Cancel Job.
A job that fails costs nothing. A cancelled one costs what it had used.
Moderators (Manage Messages) may cancel and delete any job of their server.

**Deleting**
ⓘ below the pictures → Delete removes the message and the pictures.

**Owners**
`/worker pause` keeps the GPU for you, `/worker resume` gives it back. Jobs wait in the meantime."""


_MODELS = """\
**Models and LoRAs**
`/info` lists those that are here. `--model postcard` draws with that one, at its own sizes, steps and guidance.
`--lora ink:0.8` adds a LoRA, up to four of them; the number is its strength, and a negative one steers away from it.
`--stylize 0` to `1000` turns the model's house style down or up, if it has one.
If a model cannot do what you ask, you are told before anything is queued, and what would work instead."""

#: Discord takes 2,000 characters in a message.
_PAGE_ROOM = 1900


def _parameter_pages() -> list[Page]:
    """All parameters on as many pages as they need."""
    entries = []
    for parameter in PARAMETERS:
        takes = f" · {parameter.parser.shown()}" if parameter.parser else ""
        entries.append(f"`{parameter.example}` {parameter.help}\n-# default: {parameter.default}{takes}")
    known = ", ".join(f"`--{name}`" for name in ("weird", "v", "style") if name in IGNORED)
    entries.append(f"Known from Midjourney and ignored here: {known} and a few more.")
    texts = ["**Parameters**"]
    for entry in entries:
        if len(texts[-1]) + len(entry) >= _PAGE_ROOM:
            texts.append("**More parameters**")
        texts[-1] += f"\n{entry}"
    titles = ["Parameters", "More parameters", *(f"More parameters {number}" for number in range(2, len(texts)))]
    names = ["parameters", *(f"parameters{number}" for number in range(2, len(texts) + 1))]
    return [Page(*page) for page in zip(names, titles, texts, strict=False)]


PAGES: tuple[Page, ...] = (
    Page("start", "Start here", _START),
    *_parameter_pages(),
    Page("models", "Models and LoRAs", _MODELS),
    Page("manage", "Cancel and delete", _MANAGE),
)


def shown(name: str) -> str:
    """The text of a page; an unknown one is the first."""
    return next((page.text for page in PAGES if page.name == name), PAGES[0].text)


class Help(commands.Cog):
    """How to use the bot."""

    @app_commands.command()
    @app_commands.describe(page="Which page; the first one if left out")
    @app_commands.choices(page=[app_commands.Choice(name=page.title, value=page.name) for page in PAGES])
    async def help(self, interaction: Interaction, page: str = PAGES[0].name) -> None:
        """What you can type and press"""
        await interaction.response.send_message(shown(page), ephemeral=True)


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    await bot.add_cog(Help())
