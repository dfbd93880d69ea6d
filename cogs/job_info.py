"""ⓘ under a job: every number that made its pictures, with *Delete* (job_delete.py) for whoever may."""

from bot.interactions import DarkroomBot, Press, Reader, may_manage
from bot.messages import Button, Card, JobButton, Style, Verb, card_text, job_component
from bot.text import gpu_time, harmless, settings, when
from core.catalogue import SAMPLERS
from core.job import FINAL, SINGLES, Job, Kind, Lane, Request, State

_DONE = frozenset({State.DONE})

INFO_GRID = JobButton(verb=Verb.INFO, kinds=frozenset(Kind) - SINGLES, states=_DONE, row=1, order=9, label="ⓘ")
INFO_SINGLE = JobButton(verb=Verb.INFO, kinds=SINGLES, states=_DONE, row=1, order=2, label="ⓘ")
INFO_FAILED = JobButton(verb=Verb.INFO, states=FINAL - _DONE, row=0, order=9, label="ⓘ")
BUTTONS = (INFO_GRID, INFO_SINGLE, INFO_FAILED)


async def _info(press: Press) -> None:
    job = await press.job()
    parent = await press.services.jobs.get(job.source.job) if job.source is not None else None
    address = await Reader.of(press.interaction).link(parent) if parent is not None else None
    card = info_card(job, address, may_delete=may_manage(press.interaction, job))
    await press.reply(card)


def info_card(job: Job, parent: str | None, *, may_delete: bool) -> Card:
    """The private card behind ⓘ: every number that made the picture. `parent`: where its source stands, for who may."""
    request = job.request
    lines = [
        settings(request),
        f"{_drawn_with(request)}{job.lane} lane",
        _made(job),
        f"Asked for by <@{job.user}> {when(job.created_at)}",
    ]
    if job.source is not None:
        lines.append(f"From picture {job.source.index + 1} of {parent or 'a job whose message you cannot open'}")
    lines.append(f"-# job {job.id}")
    delete = Button(id=job_component(job.id, Verb.DELETE), label="Delete", style=Style.DANGER)
    return Card(content=card_text(job, "", [line for line in lines if line]), rows=((delete,),) if may_delete else ())


def _drawn_with(request: Request) -> str:
    """Empty for what a network beside the model has made larger: these numbers had no part in it."""
    if request.upscale is not None and not request.upscale.creative:
        return ""
    return f"cfg {request.guidance:g} · {SAMPLERS.get(request.sampler, request.sampler)} · "


def _made(job: Job) -> str:
    time = f"{gpu_time(job.gpu_ms)} of GPU time" if job.gpu_ms is not None else ""
    charged = (
        f", {gpu_time(job.charged_ms)} charged" if job.charged_ms is not None and job.lane is not Lane.RELAX else ""
    )
    made = job.made_with
    weights = ""
    if made:
        weights = f" · {harmless(made.model, 60)} {harmless(made.digest[:8], 20)}, {harmless(made.dtype, 40)}"
        weights += f" on {harmless(made.device, 40)}"
    return f"{time}{charged}{weights}".removeprefix(" · ")


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_button(_info, *BUTTONS)
