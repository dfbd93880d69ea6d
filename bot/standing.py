"""What /info says: a person's plan, time and jobs, and how the GPU is. Reads only, but for what they were told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.admission import Purse
from bot.asking import server_that_pays, usual_lane
from bot.hub import Status, WorkerState
from bot.outlook import Estimate
from bot.words import day, harmless, link, minutes, place_in_line, when
from core.cost import grids_left
from core.job import Job, Lane, State
from core.prompt import Defaults, parse

if TYPE_CHECKING:
    from bot.client import DarkroomBot

_MOST_JOBS = 8
_MOST_CHARACTERS = 1900
_MOST_NAMES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that /info shows. `grids`: how many the fast time still pays for, None = no end."""

    purse: Purse
    lane: Lane
    grids: int | None
    jobs: tuple[tuple[Job, Estimate], ...]
    untold: tuple[Job, ...]
    worker: WorkerState
    models: tuple[str, ...] = ()  # the usual one first
    loras: tuple[str, ...] = ()


async def of(bot: "DarkroomBot", user: str, guild: int | None) -> Standing:
    """As it is now."""
    services = bot.services
    account = services.admission.account(user, await server_that_pays(bot, int(user), str(guild) if guild else None))
    purse = await services.admission.purse(account)
    usual = parse("a picture", choices=services.shelf.choices, defaults=Defaults(), seed=0).request
    live = await services.jobs.live_of(account)
    untold = [await services.jobs.get(delivery.job) for delivery in await services.deliveries.untold(user)]
    return Standing(
        purse=purse,
        lane=await usual_lane(bot, user),
        grids=grids_left(purse.balance_ms, await services.admission.price_ms(usual, Lane.FAST)),
        jobs=tuple([(job, await services.scheduler.estimate(job)) for job in live]),
        untold=tuple(job for job in untold if job is not None),
        worker=services.scheduler.worker_state(),
        models=(services.model.name, *sorted(set(services.shelf.choices.models) - {services.model.name})),
        loras=tuple(sorted(services.shelf.choices.loras)),
    )


async def told(bot: "DarkroomBot", standing: Standing) -> None:
    """They have read what could not be posted, as far as it was shown."""
    for job in standing.untold[:_MOST_JOBS]:
        await bot.services.deliveries.told(job.id)


def shown(standing: Standing) -> str:
    """The answer's text."""
    purse = standing.purse
    grids = "" if standing.grids is None else f", about {standing.grids} grids at your settings"
    lines = [
        f"**Fast time** {minutes(purse.balance_ms)} of {minutes(purse.granted_ms)} min left{grids}",
        f"-# renews {day(purse.renews_at)} ({when(purse.renews_at)})",
        f"**Lane** {standing.lane} · **Plan** {purse.plan.name}: "
        f"{purse.plan.running} running and {purse.plan.waiting} waiting at once",
        f"**GPU** {_gpu(standing.worker)}",
        *_choices(standing),
        *_not_posted(standing.untold),
        *_jobs("Running", [pair for pair in standing.jobs if pair[0].state is State.RUNNING]),
        *_jobs("Waiting", [pair for pair in standing.jobs if pair[0].state is not State.RUNNING]),
    ]
    while len("\n".join(lines)) > _MOST_CHARACTERS:
        lines.pop()
    return "\n".join(lines)


def _choices(standing: Standing) -> list[str]:
    """What a prompt may name, where there is a choice."""
    lines = []
    if len(standing.models) > 1:
        lines.append(f"**Models** {_named(standing.models)} (`--model`)")
    if standing.loras:
        lines.append(f"**LoRAs** {_named(standing.loras)} (`--lora`)")
    return lines


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(harmless(name, 40) for name in names[:_MOST_NAMES]) + more


def _not_posted(jobs: tuple[Job, ...]) -> list[str]:
    """Comes before the jobs, which may be many: it is told only once."""
    if not jobs:
        return []
    lines = ["**Not posted**, for Discord did not take it; its seed draws it again:"]
    lines += [f"- {harmless(job.request.prompt, 60)} `--seed {job.request.seed}`" for job in jobs[:_MOST_JOBS]]
    more = len(jobs) - _MOST_JOBS
    return [*lines, f"-# and {more} more: /info again shows them"] if more > 0 else lines


def _jobs(title: str, jobs: list[tuple[Job, Estimate]]) -> list[str]:
    if not jobs:
        return [f"**{title}** none"]
    lines = [f"**{title}** {len(jobs)}"]
    for job, estimate in jobs[:_MOST_JOBS]:
        parts = [link(job) or "", harmless(job.request.prompt, 60)]
        if estimate.place:
            parts.append(place_in_line(estimate.place).lower())
        lines.append("- " + " · ".join(part for part in parts if part))
    return lines


def _gpu(worker: WorkerState) -> str:
    if worker.paused:
        return "paused by its owner"
    state = {Status.ONLINE: "ready", Status.LOADING: "loading the model", Status.AWAY: "away"}[worker.status]
    reason = f": {worker.sentence}" if worker.status is Status.AWAY and worker.sentence else ""
    return f"{state}, since {when(worker.since)}{reason}"
