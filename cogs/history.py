"""/history: a member's own pictures, their favourites, and what they deleted lately; open, delete, take back.

Private; pages are found again by what stands in their buttons, so they work after any restart.
"""

import re
from dataclasses import dataclass, replace
from typing import Self

from discord import app_commands
from discord.ext import commands

from bot.interactions import (
    OPEN,
    DarkroomBot,
    Interaction,
    Press,
    Reader,
    delete_job,
    jobs_select,
    put_card,
    put_pictures,
    reply,
    where_of,
)
from bot.messages import REQUEST_ERRORS, Button, Card, Component, ComponentId, Style, Verb, job_component
from bot.text import harmless, when
from core.errors import Gone, NotYours
from core.job import Job, Kind

_PAGE, _DELETE, _BACK, _HERE = "history", "history-delete", "history-back", "history-here"
_MADE, _LIKED, _DELETED = "made", "liked", "deleted"
_ON_A_PAGE = 10
_PLACE = re.compile(r"(?P<what>made|liked|deleted)(?:\.(?P<way>older|newer)\.(?P<at>[0-9]{1,19}(?:\.[0-9]{1,9})?))?")
_TITLES = {
    _MADE: "**Your pictures**, newest first",
    _LIKED: "**Your favourites**, newest first",
    _DELETED: "**Deleted in the last 7 days**, newest first",
}
_EMPTY = {
    _MADE: "You have made no pictures here yet. `/imagine` makes some.",
    _LIKED: "You have no favourites here yet: press ♥ under a single picture.",
    _DELETED: "You have deleted nothing in the last 7 days.",
}
_NOT_FOUND = "That picture is not there any more, or you cannot read its channel now."
_TOO_LATE = "It cannot be taken back any more: the 7 days are over, or a moderator deleted it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which page of which list. `way` is "older" or "newer" than `at`; the first page has neither."""

    what: str = _MADE
    way: str = ""
    at: float = 0.0

    @classmethod
    def parse(cls, argument: str) -> Self:
        """What a button says; the first page where it says nothing that can be read."""
        found = _PLACE.fullmatch(argument)
        if found is None:
            return cls()
        return cls(what=found["what"], way=found["way"] or "", at=float(found["at"] or 0))

    def __str__(self) -> str:
        return f"{self.what}.{self.way}.{self.at:.6f}" if self.way else self.what


class History(commands.Cog):
    """What a member has made."""

    @app_commands.command()
    async def history(self, interaction: Interaction) -> None:
        """Your pictures, newest first: open, delete, take back what you deleted, and your favourites"""
        where_of(interaction)
        await reply(interaction, await _page(interaction, Place()))


async def _turn(press: Press) -> None:
    """Another page or list. Whether others' pictures may still be seen is Discord's to say, which may take a while."""
    place = Place.parse(press.id.argument)
    if place.what != _LIKED:
        await press.update(await _page(press.interaction, place))
        return
    await press.interaction.response.defer()
    await put_card(press.interaction, await _page(press.interaction, place))


async def _open(press: Press) -> None:
    """A link where the message still is, else the pictures again, for this person's eyes."""
    job = await _chosen(press)
    await press.interaction.response.defer(ephemeral=True, thinking=True)
    reader = Reader.of(press.interaction)
    if not await reader.may_see(job):
        await put_card(press.interaction, Card(content=_NOT_FOUND))
        return
    address = await reader.link(job)
    if address is None or not await _is_there(press, job):
        await put_pictures(press.interaction, job)
        return
    buttons = [Button(id=job_component(job.id, _HERE), label="Show it here, to me")]
    if reader.is_own(job):
        buttons.append(Button(id=job_component(job.id, Verb.DELETE), label="Delete", style=Style.DANGER))
    await put_card(press.interaction, Card(content=f"{_named(job)} is here: {address}", rows=(tuple(buttons),)))


async def _show_here(press: Press) -> None:
    """The pictures all the same."""
    job = await press.job()
    await press.interaction.response.defer(ephemeral=True, thinking=True)
    if await Reader.of(press.interaction).may_see(job):
        await put_pictures(press.interaction, job)
    else:
        await put_card(press.interaction, Card(content=_NOT_FOUND))


async def _delete(press: Press) -> None:
    """Deletes one's own; the list then shows the rest."""
    job = await _chosen(press)
    if job.user != str(press.interaction.user.id):
        raise NotYours("That is somebody else's picture. Press ♥ under it to take it out of your favourites.")
    await press.interaction.response.defer()
    words = await delete_job(press.client, job, by=job.user)
    place = Place.parse(press.id.argument)
    await put_card(press.interaction, await _page(press.interaction, place, said=f"{_named(job)}: {words}"))


async def _take_back(press: Press) -> None:
    """Undoes a delete: the pictures are in the list again; their message is gone, so `/show` posts them anew."""
    job = await _chosen(press)
    back = await press.services.history.take_back(job.id, str(press.interaction.user.id))
    if back is None:
        raise Gone(_TOO_LATE)
    said = f"{_named(job)} is back. Its message is gone: `/show` posts it anew."
    await press.update(await _page(press.interaction, Place.parse(press.id.argument), said=said))


async def _chosen(press: Press) -> Job:
    """What was chosen in a menu of jobs."""
    (name,) = press.values or ("",)
    job = await press.services.jobs.get(name)
    if job is None:
        raise Gone(_NOT_FOUND)
    return job


async def _is_there(press: Press, job: Job) -> bool:
    """Whether Discord still has its message. Nobody knows where it does not say: then the pictures are shown."""
    try:
        await press.client.message_api.channel(job.where).fetch_message(int(job.where.message or 0))
    except REQUEST_ERRORS:
        return False
    return True


async def _page(interaction: Interaction, place: Place, *, said: str = "") -> Card:
    """`said`: what the last press did, as its first line."""
    entries, newer, older = await _entries(interaction, place)
    if not entries and place.way:
        return await _page(interaction, Place(what=place.what), said=said)
    jobs = [entry for entry, _ in entries]
    if place.what == _LIKED:
        reader = Reader.of(interaction)
        jobs = [job for job in jobs if await reader.may_see(job)]
    liked = await interaction.client.services.history.likes(str(interaction.user.id), jobs)
    lines = [_line(number, job, job.id in liked) for number, job in enumerate(jobs, start=1)]
    body = [_TITLES[place.what], *lines] if lines else [_EMPTY[place.what]]
    turns = [Button(id=_id(place, "newer", entries[0][1]), label="◀ Newer")] if newer else []
    turns += [Button(id=_id(place, "older", entries[-1][1]), label="Older ▶")] if older else []
    lists = {_MADE: "All", _LIKED: "⭐ Favourites", _DELETED: "Deleted"}
    turns += [
        Button(id=ComponentId(verb=_PAGE, argument=what), label=label)
        for what, label in lists.items()
        if what != place.what
    ]
    rows: list[tuple[Component, ...]] = [(menu,) for menu in _menus(interaction, place, jobs)]
    return Card(content="\n".join(filter(None, [said, *body])), rows=(*rows, tuple(turns)))


async def _entries(interaction: Interaction, place: Place) -> tuple[list[tuple[Job, float]], bool, bool]:
    """The page's jobs with their places in the order, and whether there are newer and older ones."""
    history, user = interaction.client.services.history, str(interaction.user.id)
    guild = str(interaction.guild_id) if interaction.guild_id else None
    before = place.at if place.way == "older" else None
    after = place.at if place.way == "newer" else None
    if place.what == _DELETED:
        found = await history.deleted(user, guild, before=before, after=after, limit=_ON_A_PAGE + 1)
    elif place.what == _LIKED:
        found = await history.liked(user, guild, before=before, after=after, limit=_ON_A_PAGE + 1)
    else:
        found = await history.made(user, guild, before=before, after=after, limit=_ON_A_PAGE + 1)
    more = len(found) > _ON_A_PAGE
    if after is None:
        found = found[:_ON_A_PAGE]
        return [(entry.job, entry.at) for entry in found], before is not None, more
    found = found[-_ON_A_PAGE:]
    return [(entry.job, entry.at) for entry in found], more, True


def _menus(interaction: Interaction, place: Place, jobs: list[Job]) -> list[Component]:
    if not jobs:
        return []
    if place.what == _DELETED:
        return [jobs_select(ComponentId(verb=_BACK, argument=str(place)), jobs, "Take one back")]
    menus: list[Component] = [jobs_select(OPEN, jobs, "Open one")]
    own = [job for job in jobs if job.user == str(interaction.user.id)]
    if own == jobs:  # numbers are those of the lines
        menus.append(jobs_select(ComponentId(verb=_DELETE, argument=str(place)), jobs, "Delete one"))
    return menus


def _id(place: Place, way: str, at: float) -> ComponentId:
    return ComponentId(verb=_PAGE, argument=str(replace(place, way=way, at=at)))


def _line(number: int, job: Job, liked: bool) -> str:
    which = f"picture {job.source.index + 1}" if job.kind is Kind.CROP and job.source is not None else str(job.kind)
    parts = [f"{number}. {_named(job)}", which, when(job.created_at), "⭐" if liked else ""]
    return " · ".join(filter(None, parts))


def _named(job: Job) -> str:
    return f"**{harmless(job.request.prompt, 70)}**"


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_component(_turn, _PAGE)
    bot.registry.add_component(_open, OPEN.verb)
    bot.registry.add_component(_delete, _DELETE)
    bot.registry.add_component(_take_back, _BACK)
    bot.registry.add_job_component(_show_here, _HERE)
    await bot.add_cog(History())
