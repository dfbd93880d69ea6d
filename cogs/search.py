"""/search: pictures by the words of their prompts; one's own first, then those of this server that one may see.

Private. The words stand in the answer's first line, so that its buttons work after any restart.
"""

import re
from dataclasses import dataclass

from discord import app_commands
from discord.ext import commands

from bot.interactions import OPEN, DarkroomBot, Interaction, Press, Reader, jobs_select, put_card, where_of
from bot.messages import Button, Card, Component, ComponentId
from bot.text import harmless, when
from core.errors import Gone, Refused
from core.job import Job
from core.search_terms import terms_of

_PAGE = "search"
_OWN, _OTHERS = "own", "others"
_ON_A_PAGE, _AT_ONCE = 8, 50
_MOST_SHOWN = 60  # characters of a prompt: with links, a full page stays below what a message takes
_MOST_LOOKS = 8  # at the index for one answer; whoever wants more presses on
_MOST_WORDS = 100
_FIRST_LINE = re.compile(r"🔎 `([^`]{1,100})`")
_PLACE = re.compile(r"(own|others)\.([0-9]{1,18})")
_NO_TERMS = "There is nothing to look for in that. Give a word of the prompt: `/search words: lighthouse`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose jobs are looked through, and below which row; None: from the newest on."""

    whose: str = _OWN
    before: int | None = None


class Search(commands.Cog):
    """Finds what was made."""

    @app_commands.command()
    @app_commands.describe(words="Words of the prompt; all of them have to be in it")
    async def search(self, interaction: Interaction, words: app_commands.Range[str, 1, _MOST_WORDS]) -> None:
        """Find pictures by the words of their prompts: your own first, then others' in channels that you can read"""
        where_of(interaction)
        plain = " ".join(words.replace("`", " ").split())
        if not any(terms_of(plain)):
            raise Refused(_NO_TERMS)
        await interaction.response.defer(ephemeral=True, thinking=True)
        await put_card(interaction, await _page(interaction, plain, Place()))


async def _turn(press: Press) -> None:
    """Further back, or from the start."""
    message = press.interaction.message
    found = _FIRST_LINE.match(message.content if message else "")
    if found is None:
        raise Gone("The words of that search are not known any more. Please search again.")
    await press.interaction.response.defer()
    place = _PLACE.fullmatch(press.id.argument)
    before = Place(whose=place[1], before=int(place[2])) if place else Place()
    await put_card(press.interaction, await _page(press.interaction, found[1], before))


async def _page(interaction: Interaction, words: str, place: Place) -> Card:
    """What is found from there on, as far as it was looked."""
    reader = Reader.of(interaction)
    found, further = await _look(interaction, reader, words, place)
    jobs = [job for job, _ in found]
    lines = [f"🔎 `{words}`"]
    lines += [await _line(number, job, reader) for number, job in enumerate(jobs, start=1)]
    if not jobs:
        lines.append("Nothing so far: **Further back** goes on." if further else "Nothing found.")
    if not await interaction.client.services.search.is_complete():
        lines.append("-# Pictures of before this version are being made searchable: the oldest cannot be found yet.")
    rows: list[tuple[Component, ...]] = [(jobs_select(OPEN, jobs, "Open one"),)] if jobs else []
    turns = [Button(id=ComponentId(verb=_PAGE), label="From the start")] if place != Place() else []
    if further is not None:
        argument = f"{further.whose}.{further.before}" if further.before is not None else f"{further.whose}.{10**17}"
        turns.append(Button(id=ComponentId(verb=_PAGE, argument=argument), label="Further back ▶"))
    return Card(content="\n".join(lines), rows=(*rows, *((tuple(turns),) if turns else ())))


async def _look(
    interaction: Interaction, reader: Reader, words: str, place: Place
) -> tuple[list[tuple[Job, float]], Place | None]:
    """A page of jobs that this person may see, and where to go on; None: that was all."""
    services, user = interaction.client.services, str(interaction.user.id)
    guild = str(interaction.guild_id) if interaction.guild_id else None
    long, short = terms_of(words)
    jobs: list[tuple[Job, float]] = []
    for _ in range(_MOST_LOOKS):
        scope = {"user": user} if place.whose == _OWN else {"guild": guild, "without": user}
        found = await services.search.find(long, short, **scope, before=place.before, limit=_AT_ONCE)
        for entry in await services.history.rows(found.rows):
            if await reader.may_see(entry.job):
                jobs.append((entry.job, entry.at))
            if len(jobs) == _ON_A_PAGE:
                return jobs, Place(whose=place.whose, before=int(entry.at))
        if found.before is not None:
            place = Place(whose=place.whose, before=found.before)
        elif place.whose == _OWN and guild is not None:
            place = Place(whose=_OTHERS)
        else:
            return jobs, None
    return jobs, place


async def _line(number: int, job: Job, reader: Reader) -> str:
    who = "yours" if reader.is_own(job) else f"<@{job.user}>"
    parts = [
        f"{number}. **{harmless(job.request.prompt, _MOST_SHOWN)}**",
        who,
        when(job.created_at),
        await reader.link(job),
    ]
    return " · ".join(filter(None, parts))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_component(_turn, _PAGE)
    await bot.add_cog(Search())
