"""/info: a person's plan, fast time and jobs, and the GPU's state.

What could not be posted is listed until the person takes it off the list.
"""

import re
from dataclasses import dataclass, replace

from discord import app_commands
from discord.ext import commands

from bot.admission import AccountStatus
from bot.event_bus import Status, WorkerState
from bot.interactions import (
    ClientBase,
    DarkroomBot,
    Interaction,
    Press,
    reply,
    saved_settings,
    server_that_pays,
    usual_lane,
    where_of,
)
from bot.messages import Button, Card, ComponentId, Verb, job_component
from bot.scheduling import Estimate
from bot.services import Services
from bot.text import TURBO_PRICE, counted, day, first_of, harmless, link, minutes, place_in_line, sentence, when
from core.cost import grids_left
from core.errors import PromptError
from core.job import Job, Kind, Lane, Request, State
from core.prompt import Defaults, parse

_MOST_JOBS = 8
_MOST_UNTOLD = 4  # each with its buttons, and one row to take them off; Discord takes five rows of five
_SEEN, _SEEN_LABEL = "seen", "Take these off the list"
_ROUNDING = 1e-5  # of a moment in a button's id, seconds
_MOMENT = re.compile(r"[0-9]{1,12}\.[0-9]{6}")
_MOST_CHARACTERS = 1900
_MORE_ROOM = 20  # for "and 1,234 more"
_MOST_NAMES = 12
#: The GPU's state; before "7 minutes ago".
_STATES = {
    Status.ONLINE: "ready, started",
    Status.LOADING: "loading the model, started",
    Status.AWAY: "offline, went away",
}
_MOST_REASON = 300
_MOST_INSTEAD = 200  # of what became of each untold job
_ASK_OWNER = "the bot's owner can find the reason in the log"


class Info(commands.Cog):
    """What a member has."""

    @app_commands.command()
    async def info(self, interaction: Interaction) -> None:
        """Your plan, your fast time, your jobs, and the GPU's state"""
        where_of(interaction)
        client = interaction.client
        found = await account_info(client, str(interaction.user.id), interaction.guild_id)
        await reply(interaction, info_card(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInfo:
    """All that /info shows. `grids`: how many the fast time still pays for, None = no end."""

    status: AccountStatus
    lane: Lane
    grids: int | None
    jobs: tuple[tuple[Job, Estimate], ...]
    untold: tuple[Job, ...]  # oldest first
    untold_count: int = 0  # of all, also of those that are not named yet
    untold_until: float = 0.0  # when the last of those that are shown became late, seconds since the epoch
    worker: WorkerState
    models: tuple[str, ...] = ()  # the usual one first
    loras: tuple[str, ...] = ()


async def account_info(bot: ClientBase, user: str, guild: int | None) -> AccountInfo:
    """All of it as it is now, the month's fast time granted first."""
    services = bot.services
    payer = services.admission.account(user, await server_that_pays(bot, int(user), str(guild) if guild else None))
    status = await services.admission.account_status(payer)
    usual = await _usual_request(services, user)
    lane = await usual_lane(bot, user)
    priced = Lane.FAST if lane is Lane.RELAX else lane  # relax is free, so what fast time still pays for is said
    live = await services.jobs.live_of(payer)
    late = await services.outbox.untold(user)
    untold = [await services.jobs.get(delivery.job) for delivery in late]
    return AccountInfo(
        status=status,
        lane=lane,
        grids=grids_left(status.balance_ms, await services.admission.price_ms(usual, priced)),
        jobs=tuple([(job, await services.scheduler.estimate(job)) for job in live]),
        untold=tuple(job for job in untold if job is not None),
        untold_count=await services.outbox.count_untold(user),
        untold_until=max((delivery.late_at or 0.0 for delivery in late[:_MOST_UNTOLD]), default=0.0),
        worker=_seen_by(services.scheduler.worker_state(), is_owner=services.moderation.is_owner(user)),
        models=(services.model.name, *sorted(set(services.model_registry.choices.models) - {services.model.name})),
        loras=tuple(sorted(services.model_registry.choices.loras)),
    )


async def _usual_request(services: Services, user: str) -> Request:
    """What this member asks for where a prompt says nothing more; without what they saved where that is wrong today."""
    saved = (await saved_settings.of(services, user)).saved
    choices, defaults = services.model_registry.choices, Defaults()
    try:
        return parse("a picture", choices=choices, defaults=defaults, seed=0, saved=saved).request
    except PromptError:
        return parse("a picture", choices=choices, defaults=defaults, seed=0).request


def _seen_by(worker: WorkerState, *, is_owner: bool) -> WorkerState:
    """Why the GPU is away may have paths, settings and a library's words in it: those are the owner's."""
    return worker if is_owner or not worker.sentence else replace(worker, sentence=_ASK_OWNER)


async def _take_off(press: Press) -> None:
    """Takes what that message showed as not posted off the list, and shows the rest."""
    user, outbox = str(press.interaction.user.id), press.services.outbox
    until = float(press.id.argument) if _MOMENT.fullmatch(press.id.argument) else 0.0
    for delivery in await outbox.untold(user):
        if (delivery.late_at or 0.0) <= until + _ROUNDING:
            await outbox.told(delivery.job)
    await press.update(info_card(await account_info(press.client, user, press.interaction.guild_id)))


def info_card(account: AccountInfo) -> Card:
    """The answer: its text, a row of buttons for each result that could not be posted, and one that ends the list.

    Two results may be one picture, asked for twice: Discord takes each button once, so the first stands for both.
    """
    rows, ids = [], set[ComponentId]()
    for job in account.untold[:_MOST_UNTOLD]:
        row = tuple(button for button in _ways_to(job) if button.id not in ids)
        ids |= {button.id for button in row}
        rows += [row] if row else []
    if account.untold:
        rows.append((Button(id=ComponentId(verb=_SEEN, argument=f"{account.untold_until:.6f}"), label=_SEEN_LABEL),))
    return Card(content=_text(account), rows=tuple(rows))


def _ways_to(job: Job) -> tuple[Button, ...]:
    """Buttons that post a job's pictures here, from where they are kept; none where there are no pictures."""
    if job.state is not State.DONE:
        return ()
    if job.kind is Kind.CROP:
        assert job.source is not None
        return (Button(id=job_component(job.source.job, Verb.UPSCALE, job.source.index), label=_shortly(job)),)
    words = [_shortly(job)] + [""] * (job.request.count - 1)
    return tuple(
        Button(id=job_component(job.id, Verb.UPSCALE, index), label=f"{word} U{index + 1}".strip())
        for index, word in enumerate(words)
    )


def _shortly(job: Job) -> str:
    """The start of its words, for a button's label, which renders no markdown."""
    return " ".join(job.request.prompt.split())[:30]


def _text(account: AccountInfo) -> str:
    status = account.status
    grids = "" if account.grids is None else f", about {counted(account.grids, 'grid')} at your settings"
    dear = f", {TURBO_PRICE}" if account.lane is Lane.TURBO else ""
    lines = [
        f"**Fast time** {minutes(status.balance_ms)} of {minutes(status.granted_ms)} min left{grids}",
        f"-# renews {day(status.renews_at)} ({when(status.renews_at)})",
        f"**Lane** {account.lane}{dear} · **Plan** {status.plan.name}: "
        f"{status.plan.running} running and {status.plan.waiting} waiting at once",
        f"**GPU** {_gpu(account.worker)}",
        *_choices(account),
        *_not_posted(account),
    ]
    lines += _jobs("Running", [pair for pair in account.jobs if pair[0].state is State.RUNNING], _room(lines) // 2)
    lines += _jobs("Waiting", [pair for pair in account.jobs if pair[0].state is not State.RUNNING], _room(lines))
    return "\n".join(lines)


def _room(lines: list[str]) -> int:
    """Characters that are left for more lines."""
    return _MOST_CHARACTERS - len("\n".join(lines)) - 1


def _choices(account: AccountInfo) -> list[str]:
    """What a prompt may name, where there is a choice."""
    lines = []
    if len(account.models) > 1:
        lines.append(f"**Models** {_named(account.models)} (`--model`)")
    if account.loras:
        lines.append(f"**LoRAs** {_named(account.loras)} (`--lora`)")
    return lines


def _named(names: tuple[str, ...]) -> str:
    return first_of([harmless(name, 40) for name in names], _MOST_NAMES)


def _not_posted(account: AccountInfo) -> list[str]:
    """Comes before the jobs, which may be many."""
    jobs = account.untold
    if not jobs:
        return []
    lines = ["**Not posted**, because Discord refused it. The buttons below post the kept pictures here:"]
    lines += [f"- {harmless(job.request.prompt, 60)}{_instead(job)}" for job in jobs[:_MOST_UNTOLD]]
    more = max(account.untold_count, len(jobs)) - _MOST_UNTOLD
    return [*lines, f"-# and {more:,} more, once these are off the list"] if more > 0 else lines


def _instead(job: Job) -> str:
    """What became of a job that has no pictures."""
    if job.state is State.FAILED:
        return f": not made. {sentence(job.failure or '', _MOST_INSTEAD)}".rstrip()
    return ": cancelled" if job.state is State.CANCELLED else ""


def _jobs(title: str, jobs: list[tuple[Job, Estimate]], room: int) -> list[str]:
    """How many there are, and as many of them as `room` characters take."""
    if not jobs:
        return [f"**{title}** none"]
    lines = [f"**{title}** {len(jobs)}"]
    for job, estimate in jobs[:_MOST_JOBS]:
        parts = [link(job) or "", harmless(job.request.prompt, 60)]
        if estimate.place:
            parts.append(place_in_line(estimate.place).lower())
        line = "- " + " · ".join(part for part in parts if part)
        if len("\n".join([*lines, line])) > room - _MORE_ROOM:
            break
        lines.append(line)
    more = len(jobs) - len(lines) + 1
    return [*lines, f"-# and {more:,} more"] if more else lines


def _gpu(worker: WorkerState) -> str:
    if worker.paused:
        return "paused by the bot's owner"
    reason = f": {harmless(worker.sentence, _MOST_REASON)}" if worker.status is Status.AWAY and worker.sentence else ""
    return f"{_STATES[worker.status]} {when(worker.since)}{reason}"


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_component(_take_off, _SEEN)
    await bot.add_cog(Info())
