"""/help: pages behind a select in the answer itself, made from the parser's own table, with examples that run."""

from collections.abc import Iterator
from dataclasses import dataclass

from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction, Press, reply, submission
from bot.messages import Button, Card, ComponentId, Option, Select
from core.catalogue import Model
from core.job import Kind
from core.parameters import IGNORED, PARAMETERS, Parameter

_PAGE, _EXAMPLE = "help-page", "help-example"
#: Discord takes 2,000 characters in a message; less is easier to read.
_PAGE_ROOM = 1500
_MOST_TEXT = 2000
#: Labels that a phone shows whole.
_MOST_LABEL = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page. `name` stands in ids and commands; `examples` are prompts that its buttons run."""

    name: str
    title: str
    about: str  # below the title, where people choose
    text: str
    examples: tuple[str, ...] = ()


_START = """\
**Pictures from words**
`/imagine` with a few words makes four pictures: `a red boat on the sea at sunset`.
Parameters come after the words: `a red boat --ar 3:2 --seed 7`.
A button below runs an example, as if you had typed it.

**Below the pictures**
**U1**–**U4** posts one of them on its own · **V1**–**V4** makes four more like it
🔄 tries the same words again · ⓘ shows every setting, with **Delete**
Below a single picture: **Upscale** and **Vary**; **More** zooms out, pans, enlarges further and changes a part.
Anyone may press them; the new job is then theirs."""

_PROMPTS = """\
**Words that count more or less**
`a boat::2 a lighthouse::1` shares the picture out between two thoughts.
`a (red:1.3) boat` stresses a word; brackets in brackets multiply.
`--no people, text` says what should not be there.

**Pasting**
A prompt that was copied from a message runs as it is. Addresses are left out: nothing is fetched.
Midjourney's parameters that mean nothing here are ignored, and a small line says what comes nearest.

**Mistakes**
All of them are named at once, and **Fix and run** opens the prompt with what was surely meant filled in."""

_LANES = """\
**Lanes**
`/fast` uses your fast time · `/turbo` comes first, at double price · `/relax` is free and comes last
`--fast`, `--turbo` and `--relax` do the same for one job.
`/info` shows what you have left, and what waits or runs.
When fast time is spent, **Run it in relax** takes the same prompt on.

**Your own settings**
`/settings` has your usual model, style, lane and suffix · `/prefer suffix` adds parameters to every prompt
`/prefer option set` makes a name of your own, `--film`, stand for words and parameters"""

_FIND = """\
**Your pictures**
`/history` lists them: open, delete, or take back what you deleted in the last 7 days; ⭐ has what you pressed ♥ under.
`/search` finds pictures by words of their prompts, your own first.
`/show` posts one of your jobs again, in the channel where you type it.

**Reactions under your job**
✉️ sends its pictures as a direct message · ❌ cancels or deletes it · ⭐ keeps it among your favourites
The same is in a right-click (or a long press) on the message → Apps."""

_MANAGE = """\
**Stopping**
Press **Cancel** below a waiting or running job, or right-click its message → Apps → Cancel Job.
`/queue` lists your own, to cancel any of them.
A job that fails costs nothing. A cancelled one costs what it had used.
Moderators (Manage Messages) may cancel and delete any job of their server.

**Deleting**
ⓘ below the pictures → Delete removes the message and the pictures. `/history` takes them back for 7 days.

**Owners**
`/worker pause` keeps the GPU for you, `/worker resume` gives it back. Jobs wait in the meantime."""


_MODELS = """\
**Models and LoRAs**
`/info` lists those that are here. `--model postcard` draws with that one, at its own sizes, steps and guidance.
`--lora ink:0.8` adds a LoRA, up to four of them; the number is its strength, and a negative one steers away from it.
`--stylize 0` to `1000` turns the model's house style down or up, if it has one; `--raw` leaves it out.
If a model cannot do what you ask, you are told before anything is queued, and what would work instead."""


def _entry(parameter: Parameter) -> str:
    takes = f" · {parameter.parser.shown()}" if parameter.parser else ""
    also = f" · also {', '.join(f'`--{alias}`' for alias in parameter.aliases)}" if parameter.aliases else ""
    return f"`{parameter.example}` {parameter.help}\n-# default: {parameter.default}{takes}{also}"


def _parameter_pages() -> Iterator[Page]:
    """All parameters on as many pages as they need."""
    entries = [(parameter.name, _entry(parameter)) for parameter in PARAMETERS]
    known = ", ".join(f"`--{name}`" for name in ("weird", "v", "sref") if name in IGNORED)
    entries.append(("", f"Known from Midjourney and ignored here, with a line that says so: {known} and a few more."))
    number, names, text = 1, list[str](), "**Parameters**"
    for name, entry in entries:
        if len(text) + len(entry) >= _PAGE_ROOM:
            yield _parameter_page(number, names, text)
            number, names, text = number + 1, [], "**More parameters**"
        names.append(name)
        text += f"\n{entry}"
    yield _parameter_page(number, names, text)


def _parameter_page(number: int, names: list[str], text: str) -> Page:
    dashed = [f"--{name}" for name in names if name]
    return Page(
        name="parameters" if number == 1 else f"parameters{number}",
        title="Parameters" if number == 1 else f"More parameters {number - 1}",
        about=f"{dashed[0]} to {dashed[-1]}",
        text=text,
        examples=("a red boat --ar 3:2 --count 2",) if number == 1 else (),
    )


PAGES: tuple[Page, ...] = (
    Page(
        name="start",
        title="Start here",
        about="A first picture, and the buttons below it",
        text=_START,
        examples=("a red boat on the sea at sunset", "a red boat --ar 3:2 --seed 7"),
    ),
    Page(
        name="prompts",
        title="Prompts",
        about="Weights, pasting, mistakes",
        text=_PROMPTS,
        examples=("a (red:1.3) boat on the sea",),
    ),
    *_parameter_pages(),
    Page(
        name="lanes",
        title="Lanes, time and settings",
        about="Fast, turbo and relax; what holds for all your prompts",
        text=_LANES,
        examples=("a red boat --relax",),
    ),
    Page(name="find", title="Find and keep", about="History, search, favourites, reactions", text=_FIND),
    Page(name="models", title="Models and LoRAs", about="What draws, and how to choose it", text=_MODELS),
    Page(name="manage", title="Cancel and delete", about="Stop a job, take a picture away", text=_MANAGE),
)
_BY_NAME = {page.name: page for page in PAGES}


def card(name: str, model: Model) -> Card:
    """A page with its examples and the select of all; one that is not there any more is the first.

    The first also says what the usual model draws, where its entry in the catalogue does.
    """
    page = _BY_NAME.get(name, PAGES[0])
    options = tuple(Option(value=one.name, label=one.title, description=one.about, chosen=one is page) for one in PAGES)
    runs = tuple(
        Button(id=ComponentId(verb=_EXAMPLE, argument=f"{page.name}.{number}"), label=_label(example))
        for number, example in enumerate(page.examples)
    )
    select = Select(id=ComponentId(verb=_PAGE), options=options, placeholder="Another page")
    text = page.text + (_draws(model, _MOST_TEXT - len(page.text)) if page is PAGES[0] and model.about else "")
    return Card(content=text, rows=((runs,) if runs else ()) + ((select,),))


def _draws(model: Model, room: int) -> str:
    title, about = f"\n\n**What {model.name} draws**\n", model.about.strip()
    room -= len(title)
    return title + (about if len(about) <= room else about[: room - 1] + "…")


def _label(example: str) -> str:
    return f"▶ {example}" if len(example) < _MOST_LABEL else f"▶ {example[: _MOST_LABEL - 3]}…"


async def _turn(press: Press) -> None:
    """Another page in the same answer."""
    await press.update(card(press.values[0], press.services.model))


async def _run_example(press: Press) -> None:
    """What its label says, as if it had been typed."""
    name, _, number = press.id.argument.rpartition(".")
    page = _BY_NAME.get(name, PAGES[0])
    examples = page.examples or PAGES[0].examples
    typed = examples[int(number) if number.isdecimal() and int(number) < len(examples) else 0]
    with submission.carrying(typed):
        read = await submission.read_typed(press.services, str(press.interaction.user.id), typed)
        await submission.run(
            press.interaction, Kind.GRID, read.typed, read.request, lane=read.lane, pressed=submission.once(press),
            notes=read.notes,
        )  # fmt: skip


class Help(commands.Cog):
    """How to use the bot."""

    def __init__(self, bot: DarkroomBot) -> None:
        self._bot = bot

    @app_commands.command()
    @app_commands.describe(page="Which page; the first one if left out")
    @app_commands.choices(page=[app_commands.Choice(name=page.title, value=page.name) for page in PAGES])
    async def help(self, interaction: Interaction, page: str = PAGES[0].name) -> None:
        """What you can type and press"""
        await reply(interaction, card(page, self._bot.services.model))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_component(_turn, _PAGE)
    bot.registry.add_component(_run_example, _EXAMPLE)
    await bot.add_cog(Help(bot))
