"""The queue: one method per transition of a job, each one guarded statement. Knows nothing of Discord and of workers.

None means "no longer yours": the row is not in the state, or not in the attempt, that the caller believes in. Ending a
job settles its account, books its GPU time and fills the outbox in the same transaction. A life, in short:

    async with Database.open(folder) as db:
        ledger = Ledger(db)
        jobs = Jobs(db, ledger)
        await jobs.new_boot("boot1")
        async with db.transaction() as tx:
            await ledger.renew(tx, job.account, plan, db.clock())
            mine = await jobs.submit(tx, job)              # mine.id != job.id: it was a double
        claimed = (await jobs.claim(boot="boot1", worker="w1", capacity=Capacity())).job
        await jobs.started(claimed.id, claimed.attempt, made_with)
        await jobs.finish(claimed.id, claimed.attempt, gpu_ms=812)
        for delivery in await Outbox(db).undelivered(db.clock()):
            ...

Leases are not here: they are monotonic, in the scheduler's memory, so that a clock that jumps cannot end one. Across
restarts the boot id is the guard: `new_boot` takes back whatever an older boot was running.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.fairness import CREDIT, RELAX_SHARE
from core.job import Job, MadeWith, State
from core.preemption import Capacity
from storage.database import Database, Tx
from storage.fair_queue import FairQueue
from storage.job_queries import Counts, JobQueries, QueuePlace
from storage.ledger import Ledger
from storage.outbox import DeliveryKind, Outbox
from storage.rows import job_columns, job_of, waiting_of
from storage.search import SearchIndex

__all__ = ["Claim", "Counts", "Dedupe", "Jobs", "QueuePlace"]

DOUBLE_PRESS_SECONDS = 3.0
STRIKES = 3
POISON = "The worker stopped three times while computing this job alone, so it was given up."
UNPREPARED = "Darkroom restarted while it was storing this job's input. Please run it again."

_MINE = "id = :job AND state = 'running' AND attempt = :attempt"
_WAITS = "id = :job AND state IN ('preparing', 'queued')"
_FREE_HANDS = "boot = NULL, worker = NULL, heard_at = NULL, started_at = NULL"
# min(measured × multiplier, rounded up, reserved): the same as core.cost.price_ms.
_FLOOR = "CAST(:gpu_ms * multiplier AS INTEGER)"
_CHARGE = f"min(reserved_ms, {_FLOOR} + (:gpu_ms * multiplier > {_FLOOR}))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dedupe:
    """What makes two presses of a button the same."""

    parent: str
    verb: str
    index: int
    presser: str

    def key(self) -> str:
        return f"{self.parent}:{self.verb}:{self.index}:{self.presser}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that a worker was given, and the jobs of its lane that give their places there to it."""

    job: Job
    displaced: tuple[str, ...] = ()


class Jobs(JobQueries):
    """Every change of a job. `relax_share`: the share of GPU time that relax is guaranteed."""

    def __init__(self, db: Database, ledger: Ledger, *, relax_share: float = RELAX_SHARE) -> None:
        super().__init__(db, FairQueue(relax_share))
        self._ledger = ledger
        self._outbox = Outbox(db)
        self._search = SearchIndex(db)

    async def new_boot(self, boot: str) -> list[Job]:
        """A new life of the bot: what older ones were running waits again, uncounted; what they prepared fails.

        Returns the jobs that wait again. What somebody had cancelled is cancelled.
        """
        async with self._db.transaction() as tx:
            await tx.execute("INSERT INTO boot (id, started_at) VALUES (:boot, :now)", self._now(boot=boot))
            unwanted = "SELECT id, attempt, attempt_ms FROM job"
            unwanted += " WHERE state = 'running' AND boot <> :boot AND unwanted_at IS NOT NULL"
            for row in await tx.execute(unwanted, {"boot": boot}):
                mine = {"job": row["id"], "attempt": row["attempt"]}
                await self._end(tx, _MINE, State.CANCELLED, row["attempt_ms"], **mine)
            orphans = await tx.execute(
                f"UPDATE job SET state = 'queued', {_FREE_HANDS} WHERE state = 'running' AND boot <> :boot RETURNING *",
                {"boot": boot},
            )
            for row in orphans:
                await self._lose(tx, row, row["attempt_ms"])
            for row in await tx.execute("SELECT id FROM job WHERE finished_at IS NULL AND state = 'preparing'"):
                await self._end(tx, _WAITS, State.FAILED, 0, job=row["id"], failure=UNPREPARED)
        return [job_of(row) for row in orphans]

    async def submit(self, tx: Tx, job: Job, *, ordinal: int = 0, dedupe: Dedupe | None = None) -> Job:
        """Inserts a queued or preparing job and reserves its price, as of its creation; raises NotEnough.

        Returns the job that is there already for the same request.
        """
        if job.state not in (State.QUEUED, State.PREPARING):
            raise ValueError(f"A job enters as queued or preparing, not as {job.state}.")
        if same := await self.find_duplicate(tx, job, ordinal=ordinal, dedupe=dedupe):
            return same
        await self._ledger.open_account(tx, job.account)
        columns = job_columns(job) | {"ordinal": ordinal, "dedupe": dedupe.key() if dedupe else None}
        names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        (row,) = await tx.execute(f"INSERT INTO job ({names}) VALUES ({values}) RETURNING *", columns)
        if job.reserved_ms > 0:
            await self._ledger.reserve(tx, job.account, job.id, job.reserved_ms, job.created_at)
        await self._fair_queue.arrived(tx, waiting_of(row))
        return job_of(row)

    async def find_duplicate(self, tx: Tx, job: Job, *, ordinal: int = 0, dedupe: Dedupe | None = None) -> Job | None:
        """The job that is there already when the same interaction came twice, or the same button was pressed twice
        within DOUBLE_PRESS_SECONDS and the first press's job was not cancelled or failed.
        """
        double = (
            "dedupe = :dedupe AND created_at > :after AND created_at < :before AND state NOT IN ('cancelled', 'failed')"
        )
        return await self._one(
            f"(interaction = :interaction AND ordinal = :ordinal) OR ({double})",
            {"interaction": job.where.interaction, "ordinal": ordinal, "dedupe": dedupe.key() if dedupe else None,
             "after": job.created_at - DOUBLE_PRESS_SECONDS, "before": job.created_at + DOUBLE_PRESS_SECONDS},
            tx,
        )  # fmt: skip

    async def finish_at_once(self, tx: Tx, job: str) -> Job | None:
        """A prepared job that needed no GPU (a crop of a kept picture) is done."""
        return await self._end(tx, "id = :job AND state = 'preparing'", State.DONE, 0, job=job)

    async def claim(self, *, boot: str, worker: str, capacity: Capacity) -> Claim | None:
        """Gives the next job in the fair order to a worker; None when none waits or the next one does not fit yet."""
        async with self._db.transaction() as tx:
            entry = await self._fair_queue.next(tx, capacity)
            if entry is None:
                return None
            turn = entry.turn
            row = await tx.one(
                "UPDATE job SET state = 'running', attempt = attempt + 1, boot = :boot, worker = :worker,"
                " heard_at = :now, attempt_ms = 0, booked_ms = estimate_ms, contended = :contended"
                " WHERE id = :job AND state = 'queued' RETURNING *",
                self._now(job=turn.waiting.job, boot=boot, worker=worker, contended=int(turn.contended)),
            )
            if row is None:
                return None
            await self._fair_queue.keep(tx, turn.updates)
        return Claim(job=job_of(row), displaced=entry.displaced)

    async def keep_credit(self, credit_ms: float) -> None:
        """Relax's credit, so that its share holds over a restart."""
        async with self._db.transaction() as tx:
            await self._fair_queue.keep(tx, {CREDIT: credit_ms})

    async def started(self, job: str, attempt: int, made_with: MadeWith) -> Job | None:
        """Its rows entered the worker's loop."""
        made = json.dumps(made_with.to_dict())
        change = f"started_at = :now, heard_at = :now, made_with = :made WHERE {_MINE}"
        return await self._update(change, job=job, attempt=attempt, made=made)

    async def add_note(self, job: str, attempt: int, note: str) -> Job | None:
        """One more line on its card, said while it runs; not twice."""
        new = "NOT EXISTS (SELECT 1 FROM json_each(notes) WHERE value = :note)"
        change = f"notes = json_insert(notes, '$[#]', :note) WHERE {_MINE} AND {new}"
        return await self._update(change, job=job, attempt=attempt, note=note)

    async def renew(self, running: Iterable[tuple[str, int, int]]) -> set[str]:
        """Notes (job, attempt, GPU ms so far) of what a worker has in hand; returns the ids that are still its own.

        The last word counts, also when it is less: a worker forgives what is lost through no fault of the member.
        """
        mine: set[str] = set()
        async with self._db.transaction() as tx:
            for job, attempt, gpu_ms in running:
                row = await tx.one(
                    f"UPDATE job SET heard_at = :now, attempt_ms = :gpu_ms WHERE {_MINE} RETURNING id",
                    self._now(job=job, attempt=attempt, gpu_ms=gpu_ms),
                )
                if row is not None:
                    mine.add(job)
        return mine

    async def finish(self, job: str, attempt: int, gpu_ms: int) -> Job | None:
        """All its pictures are kept: done, charged, and in the outbox."""
        async with self._db.transaction() as tx:
            return await self._end(tx, _MINE, State.DONE, gpu_ms, job=job, attempt=attempt)

    async def fail(self, job: str, attempt: int | None, sentence: str, *, gpu_ms: int = 0) -> Job | None:
        """Given up, free of charge. Without an attempt: a job that waits and can never run here."""
        guard = _WAITS if attempt is None else _MINE
        async with self._db.transaction() as tx:
            return await self._end(tx, guard, State.FAILED, gpu_ms, job=job, attempt=attempt, failure=sentence)

    async def cancel_waiting(self, job: str) -> Job | None:
        """Cancelled before it ran. A running one is cancelled by its worker: see `cancelled`."""
        async with self._db.transaction() as tx:
            return await self._end(tx, _WAITS, State.CANCELLED, 0, job=job)

    async def request_cancel(self, job: str) -> Job | None:
        """Somebody cancels a running job: whatever happens until its worker lets go of it, it never runs again."""
        wish = "unwanted_at = coalesce(unwanted_at, :now) WHERE id = :job AND state = 'running'"
        return await self._update(wish, job=job)

    async def cancelled(self, job: str, attempt: int, gpu_ms: int) -> Job | None:
        """It left the worker because somebody cancelled it; what was measured is charged."""
        async with self._db.transaction() as tx:
            return await self._end(tx, _MINE, State.CANCELLED, gpu_ms, job=job, attempt=attempt)

    async def requeue(
        self, job: str, attempt: int, *, strike: bool = False, solo: bool = False, lost_ms: int | None = None
    ) -> Job | None:
        """Its worker was lost or is needed otherwise: it waits again; what was computed is overhead.

        One that is unwanted ends as cancelled instead.

        `strike`: the worker died computing this job alone; the third ends it. `solo`: it must run alone next time.
        `lost_ms`: GPU time of the lost attempt; by default what `renew` heard last.
        """
        params = {"job": job, "attempt": attempt, "strike": int(strike), "solo": int(solo), "limit": STRIKES}
        async with self._db.transaction() as tx:
            unwanted = f"SELECT attempt_ms FROM job WHERE {_MINE} AND unwanted_at IS NOT NULL"
            if found := await tx.execute(unwanted, {"job": job, "attempt": attempt}):
                spent = found[0]["attempt_ms"] if lost_ms is None else lost_ms
                return await self._end(tx, _MINE, State.CANCELLED, spent, job=job, attempt=attempt)
            row = await tx.one(
                f"UPDATE job SET state = 'queued', strikes = strikes + :strike, solo = max(solo, :solo), {_FREE_HANDS}"
                f" WHERE {_MINE} AND strikes + :strike < :limit RETURNING *",
                params,
            )
            if row is not None:
                await self._lose(tx, row, row["attempt_ms"] if lost_ms is None else lost_ms)
                return job_of(row)
            row = await tx.one(f"UPDATE job SET strikes = :limit WHERE {_MINE} RETURNING attempt_ms", params)
            if row is None:
                return None
            lost = row["attempt_ms"] if lost_ms is None else lost_ms
            return await self._end(tx, _MINE, State.FAILED, lost, job=job, attempt=attempt, failure=POISON)

    async def set_message(self, job: str, message: str) -> None:
        """The message that shows the job."""
        async with self._db.transaction() as tx:
            await tx.execute("UPDATE job SET message = :message WHERE id = :job", {"job": job, "message": message})

    async def forget_tokens(self, most: int = 5000) -> int:
        """Takes out tokens that have ended, which are worth nothing any more; returns how many."""
        ended = "SELECT seq FROM job WHERE token <> '' AND token_expires_at <= :now LIMIT :most"
        async with self._db.transaction() as tx:
            sql = f"UPDATE job SET token = '' WHERE seq IN ({ended}) RETURNING seq"
            return len(await tx.execute(sql, self._now(most=most)))

    async def _update(self, change: str, **params: Any) -> Job | None:
        async with self._db.transaction() as tx:
            row = await tx.one(f"UPDATE job SET {change} RETURNING *", self._now(**params))
        return None if row is None else job_of(row)

    async def _end(self, tx: Tx, guard: str, state: State, gpu_ms: int, *, failure: str | None = None,
                   **params: Any) -> Job | None:  # fmt: skip
        """The one way into a final state: transition, settlement, usage, fairness and outbox together."""
        charge = "0" if state is State.FAILED else _CHARGE
        row = await tx.one(
            f"UPDATE job SET state = :state, gpu_ms = :gpu_ms, charged_ms = {charge}, failure = :failure,"
            f" worker = NULL, finished_at = :now WHERE {guard} RETURNING *",
            self._now(state=state, gpu_ms=gpu_ms, failure=failure, **params),
        )
        if row is None:
            return None
        await self._ledger.settle(tx, row["id"], row["charged_ms"], state, self._db.clock())
        if guard == _MINE:
            await self._book(tx, row, state, gpu_ms)
            await self._fair_queue.corrected(tx, row, 0 if state is State.FAILED else gpu_ms)
        await self._outbox.put(tx, row["id"], _TELLS[state])
        if state is State.DONE:
            await self._search.add(tx, row)
        return job_of(row)

    async def _book(self, tx: Tx, row: sqlite3.Row, state: State, gpu_ms: int) -> None:
        """Measured time: overhead when the job failed or beyond the quote, else the account's (free in relax)."""
        quoted = gpu_ms if row["multiplier"] == 0 else int(row["reserved_ms"] / row["multiplier"])
        own = 0 if state is State.FAILED else min(gpu_ms, quoted)
        if state is not State.FAILED:
            await self._ledger.book(tx, "account", state, own, job=row["id"], attempt=row["attempt"])
        if gpu_ms > own:
            cause = "failed" if state is State.FAILED else "over quote"
            await self._ledger.book(tx, "house", cause, gpu_ms - own, job=row["id"], attempt=row["attempt"])

    async def _lose(self, tx: Tx, row: sqlite3.Row, lost_ms: int) -> None:
        if lost_ms > 0:
            await self._ledger.book(tx, "house", "lost", lost_ms, job=row["id"], attempt=row["attempt"])
        await self._fair_queue.corrected(tx, row, 0)

    def _now(self, **params: Any) -> dict[str, Any]:
        return {"now": self._db.clock(), **params}


_TELLS = {State.DONE: DeliveryKind.RESULT, State.FAILED: DeliveryKind.FAILURE, State.CANCELLED: DeliveryKind.CANCELLED}
