"""May this person run this now? Rules first, then quota and insert in one transaction.

Knows plans, prices and storage; knows nothing of Discord or workers.
"""

import logging
from dataclasses import dataclass, replace

from bot.moderation import Moderation
from bot.resources import Resources
from bot.scheduling import OTHER_MODEL, CostEstimator, Scheduler
from bot.text import TURBO_PRICE, counted, gpu_time
from core.cost import MULTIPLIER, AccountPlan, period_of, price_ms
from core.errors import Cure, Gone, QueueFull, QuotaSpent, Refused
from core.job import HOME, Account, Job, Kind, Lane, PayerKind, Request, Source, State, Where
from core.model_capabilities import missing_capability
from core.spelling import quoted
from storage.database import Tx
from storage.jobs import Dedupe
from storage.ledger import NotEnough

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PressedButton:
    """The button that asked: two presses of one person on one button within seconds are one request.

    `parent` is the job that has the button, or the message of a refusal.
    """

    parent: str
    verb: str
    index: int | None = None

    def by(self, presser: str) -> Dedupe:
        """As the queue's key. A button that names no picture counts as one of its own."""
        index = -1 if self.index is None else self.index
        return Dedupe(parent=self.parent, verb=self.verb, index=index, presser=presser)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What somebody wants, parsed. For a crop `request` is the source job's, with count 1."""

    kind: Kind
    lane: Lane
    user: str
    account: Account
    where: Where
    typed: str
    request: Request
    source: Source | None = None
    pressed: PressedButton | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatus:
    """What an account has. `granted_ms`: this month's fast time. `renews_at`: seconds since the epoch."""

    plan: AccountPlan
    balance_ms: int
    granted_ms: int
    renews_at: float
    running: int
    waiting: int


class Admission:
    """`submit` is the only way into the queue."""

    def __init__(
        self, resources: Resources, costs: CostEstimator, moderation: Moderation, scheduler: Scheduler
    ) -> None:
        self._resources = resources
        self._costs = costs
        self._moderation = moderation
        self._scheduler = scheduler
        self._closed = ""

    def close(self, sentence: str) -> None:
        """From now on everybody hears this."""
        self._closed = sentence

    def account(self, user: str, guild: str | None) -> Account:
        """Who pays for what `user` runs there."""
        return Account(kind=PayerKind.MEMBER, server=guild or HOME, id=user)

    async def price_ms(self, request: Request, lane: Lane) -> int:
        """What would be reserved."""
        return price_ms(self._costs.estimate_ms(request), MULTIPLIER[lane])

    async def account_status(self, account: Account) -> AccountStatus:
        """What the account has now; grants this month's time when that did not happen yet."""
        now = self._resources.clock()
        async with self._resources.db.transaction() as tx:
            await self._resources.ledger.renew(tx, account, self._resources.plan, now)
        counts = await self._resources.jobs.counts(account)
        return AccountStatus(
            plan=self._resources.plan,
            balance_ms=await self._resources.ledger.balance(account, now),
            granted_ms=await self._resources.ledger.granted(account, now),
            renews_at=period_of(now)[1],
            running=counts.running,
            waiting=counts.waiting,
        )

    async def submit(self, job_request: JobRequest) -> Job:
        """The new job, queued, or done at once for the crop of a kept picture. The same request twice: the first's job.

        Raises NotAllowed, QueueFull, QuotaSpent, DiskFull, Gone or Refused; nothing was queued or charged then.
        """
        if self._closed:
            raise Refused(self._closed, prompt=job_request.typed, cure=Cure.LATER)
        self._moderation.check_text(job_request.request.prompt, job_request.request.negative, prompt=job_request.typed)
        self._check_able(job_request)
        self._check_work(job_request)
        await self._resources.images.check_room()
        job, kept = await self._job(job_request)
        dedupe = job_request.pressed.by(job_request.user) if job_request.pressed else None
        try:
            async with self._resources.db.transaction() as tx:
                # One moment for all that follows, read behind the wait for the lock: a month may end in between.
                job = replace(job, created_at=self._resources.clock())
                stored = await self._insert(tx, job, dedupe, at_once=kept)
        except NotEnough as error:
            raise _spent(error, job_request, self._resources.plan, renews_at=period_of(job.created_at)[1]) from None
        if stored.id == job.id:
            log.info("A job was admitted.", extra={"job": job.id, "kind": job.kind, "lane": job.lane})
            self._resources.bus.changed(stored)
            self._scheduler.kick()
        return stored

    async def _insert(self, tx: Tx, job: Job, dedupe: Dedupe | None, *, at_once: bool) -> Job:
        resources = self._resources
        await resources.ledger.renew(tx, job.account, resources.plan, job.created_at)
        if not at_once:
            try:
                await self._check_caps(tx, job)
            except QueueFull:
                # The same request twice: the first one may have taken the last place.
                if same := await resources.jobs.find_duplicate(tx, job, dedupe=dedupe):
                    return same
                raise
        stored = await resources.jobs.submit(tx, job, dedupe=dedupe)
        if at_once and stored.id == job.id:
            return await resources.jobs.finish_at_once(tx, job.id) or stored
        return stored

    def _check_able(self, job_request: JobRequest) -> None:
        """Raises Refused where the model or a LoRA is not here any more, or where the model lacks what this needs."""
        request, choices = job_request.request, self._resources.model_registry.choices
        if job_request.kind is Kind.CROP:
            return
        model = choices.get(request.model)
        if model is None:
            raise Gone(OTHER_MODEL, prompt=job_request.typed, cure=Cure.WORDS)
        for lora in request.loras:
            if lora.name not in choices.loras:
                sentence = f"The LoRA {quoted(lora.name)} is no longer here. Leave it out, or name another one."
                raise Gone(sentence, prompt=job_request.typed, cure=Cure.WORDS)
        lacks = missing_capability(request, model, job_request.kind, choices.models.values())
        if lacks is not None:
            raise Refused(lacks[1], prompt=job_request.typed)

    def _check_work(self, job_request: JobRequest) -> None:
        most = self._resources.plan.max_work
        if job_request.kind is not Kind.CROP and job_request.request.work() > most:
            wanted, allowed = _apart(job_request.request.work() / 1e6, most / 1e6)
            raise Refused(
                f"That is too much for one job: {wanted} megapixel steps; the limit is {allowed}. "
                f"{_smaller(job_request)}",
                prompt=job_request.typed,
            )

    async def _check_caps(self, tx: Tx, job: Job) -> None:
        resources = self._resources
        waiting = (await resources.jobs.counts(job.account, tx=tx)).waiting
        if waiting >= resources.plan.waiting:
            raise QueueFull(
                f"You have {counted(waiting, 'job')} waiting, which is the limit for one person. "
                f"Try again when {'it' if waiting == 1 else 'one of them'} has started.",
                prompt=job.typed,
            )
        if await resources.jobs.waiting_total(tx=tx) >= resources.config.queue:
            raise QueueFull("The queue is full for now. Try again in a few minutes.", prompt=job.typed)

    async def _job(self, job_request: JobRequest) -> tuple[Job, bool]:
        """The row to be, and whether its picture is there already."""
        source = await self._resources.images.root(job_request.source) if job_request.source else None
        kept = False
        if source is not None:
            kept = await self._check_source(source) and job_request.kind is Kind.CROP
        multiplier = 0.0 if job_request.kind is Kind.CROP else MULTIPLIER[job_request.lane]
        estimate = 0 if kept else self._costs.estimate_ms(job_request.request)
        job = Job(
            id=self._resources.new_id(),
            kind=job_request.kind,
            state=State.PREPARING if kept else State.QUEUED,
            lane=job_request.lane,
            account=job_request.account,
            user=job_request.user,
            where=job_request.where,
            typed=job_request.typed,
            request=job_request.request,
            source=source,
            multiplier=multiplier,
            estimate_ms=estimate,
            reserved_ms=price_ms(estimate, multiplier),
            created_at=self._resources.clock(),
            notes=job_request.notes,
        )
        return job, kept

    async def _check_source(self, source: Source) -> bool:
        """Whether the picture is kept; a use of it. Raises Gone when not even its job is there."""
        if await self._resources.images.use(source.job, source.index) is not None:
            return True
        if await self._resources.jobs.get(source.job) is None:
            raise Gone("That picture is gone, and so is its job.")
        return False


def _apart(more: float, most: float) -> tuple[str, str]:
    """Both with so many decimals that they differ, up to those of a pixel."""
    pairs = ((f"{more:.{digits}f}", f"{most:.{digits}f}") for digits in range(7))
    return next(pair for pair in pairs if pair[0] != pair[1])


def _smaller(job_request: JobRequest) -> str:
    """What makes the job smaller: in its own prompt, which the refusal's button opens, or in its picture's."""
    if job_request.kind is Kind.UPSCALE:
        return "A smaller picture, or one that is made larger by less, takes less."
    if job_request.kind is not Kind.GRID:
        return "It takes as many steps as its picture: make that one again with fewer `--steps`."
    return "Use fewer `--steps`" + (" or a smaller `--count`." if job_request.request.count > 1 else ".")


def _spent(error: NotEnough, job_request: JobRequest, plan: AccountPlan, *, renews_at: float) -> QuotaSpent:
    dear = f" (in turbo {TURBO_PRICE})" if job_request.lane is Lane.TURBO else ""
    needed, month = gpu_time(error.needed_ms), plan.fast_ms_per_period
    if month == 0:
        sentence = "There is no fast time here; in relax it runs free of charge."
    elif month < error.needed_ms:  # no renewal helps
        sentence = (
            f"This takes about {needed} of fast time{dear}, more than the {gpu_time(month)} you get in a month. "
            f"In relax it runs free of charge. {_smaller(job_request)}"
        )
    else:
        sentence = (
            f"Your fast time does not cover this: {gpu_time(error.balance_ms)} left, about {needed} needed{dear}. "
            f"It renews <t:{renews_at:.0f}:R>; in relax it runs free of charge."
        )
    return QuotaSpent(sentence, renews_at=renews_at, prompt=job_request.typed)
