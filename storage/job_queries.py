"""Reads jobs for whoever has to show or count them. Writes nothing; Jobs (storage/jobs.py) inherits it."""

from dataclasses import dataclass

from core.fairness import in_order
from core.job import Account, Job, Lane, Source
from storage.database import Database, Params, Tx
from storage.fair_queue import FairQueue
from storage.rows import job_of

_RANK = "CASE {}.lane WHEN 'turbo' THEN 0 WHEN 'fast' THEN 1 ELSE 2 END"
_LIVE = "state IN ('preparing', 'queued', 'running')"
#: The same for all accounts together: an index knows those that have not ended, however many have.
_UNFINISHED = f"finished_at IS NULL AND {_LIVE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many jobs of an account are alive. Those being prepared wait."""

    running: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlace:
    """A waiting job's place in the fair order, 1 = next, and the GPU time of those before it in its own lane."""

    place: int
    lane: Lane
    ahead_ms: int
    estimate_ms: int


class JobQueries:
    """Jobs as of the last commit, or inside a transaction as that sees them."""

    def __init__(self, db: Database, fair_queue: FairQueue) -> None:
        self._db = db
        self._fair_queue = fair_queue

    async def get(self, job: str, *, tx: Tx | None = None) -> Job | None:
        """A job by id."""
        return await self._one("id = :job", {"job": job}, tx)

    async def by_message(self, message: str) -> Job | None:
        """The job that a message shows, or showed before it was shown elsewhere, or that came as it directly."""
        shown = "SELECT job FROM posting WHERE message = :message"
        told = "SELECT job FROM delivery WHERE told_message = :message"
        any_of = f"message = :message OR id IN ({shown}) OR id IN ({told})"
        return await self._one(f"{any_of} ORDER BY seq DESC", {"message": message})

    async def crop_of(self, source: Source, channel: str) -> Job | None:
        """The newest crop of a picture that was posted, or is just being posted, in a channel for all there to see."""
        shown = "state = 'posted' OR (state = 'pending' AND late_at IS NULL)"
        return await self._one(
            "source_job = :job AND source_index = :index AND kind = 'crop' AND state = 'done' AND private = 0"
            " AND channel = :channel AND message IS NOT NULL"
            f" AND EXISTS (SELECT 1 FROM delivery WHERE delivery.job = job.id AND ({shown})) ORDER BY seq DESC",
            {"job": source.job, "index": source.index, "channel": channel},
        )

    async def live_of(self, account: Account) -> list[Job]:
        """An account's jobs that wait or run, oldest first."""
        return await self._many(f"account = :account AND {_LIVE} ORDER BY seq", {"account": account.key()})

    async def live_of_user(self, user: str) -> list[Job]:
        """A person's jobs that wait or run, whoever's plan pays, oldest first."""
        return await self._many(f"user = :user AND {_UNFINISHED} ORDER BY seq", {"user": user})

    async def live(self) -> list[Job]:
        """All jobs that wait or run, oldest first: what a start finds to go on with."""
        return await self._many(f"{_UNFINISHED} ORDER BY +seq", {})  # the plus: by the index, not by age

    async def counts(self, account: Account, *, tx: Tx | None = None) -> Counts:
        """How many jobs of an account wait and run; inside a transaction, as that sees it."""
        rows = await (tx.execute if tx else self._db.read)(
            "SELECT coalesce(sum(state = 'running'), 0) AS running, coalesce(sum(state <> 'running'), 0) AS waiting"
            f" FROM job WHERE account = :account AND {_LIVE}",
            {"account": account.key()},
        )
        return Counts(running=rows[0]["running"], waiting=rows[0]["waiting"])

    async def waiting_total(self, *, tx: Tx | None = None) -> int:
        """How many jobs wait in the whole queue."""
        sql = f"SELECT count(*) AS n FROM job WHERE {_LIVE} AND state <> 'running'"
        rows = await (tx.execute if tx else self._db.read)(sql, None)
        return int(rows[0]["n"])

    async def waiting_lanes(self, running_per_account: int | None = None) -> frozenset[Lane]:
        """The lanes in which a job waits that its account's running ones in this lane and above do not keep waiting."""
        rows = await self._db.read(
            "SELECT DISTINCT lane FROM (SELECT DISTINCT lane, account FROM job WHERE state = 'queued') AS waiting"
            " WHERE :cap IS NULL OR :cap >"
            " (SELECT count(*) FROM job WHERE state = 'running' AND job.account = waiting.account"
            f" AND {_RANK.format('job')} <= {_RANK.format('waiting')})",
            {"cap": running_per_account},
        )
        return frozenset(Lane(row["lane"]) for row in rows)

    async def credit(self) -> float:
        """Relax's credit, as it was kept last."""
        return await self._fair_queue.credit(self._db.read)

    async def tidy_counters(self) -> None:
        """Housekeeping: see FairQueue.tidy."""
        await self._fair_queue.tidy(self._db)

    async def places(self) -> dict[str, QueuePlace]:
        """Every waiting job's place in the order in which jobs would be served if no other came."""
        waiting, service = await self._fair_queue.queue(self._db.read)
        places: dict[str, QueuePlace] = {}
        ahead = dict.fromkeys(Lane, 0)
        for place, job in enumerate(in_order(waiting, service, share=self._fair_queue.share), start=1):
            places[job.job] = QueuePlace(
                place=place, lane=job.lane, ahead_ms=ahead[job.lane], estimate_ms=job.estimate_ms
            )
            ahead[job.lane] += job.estimate_ms
        return places

    async def _one(self, condition: str, params: Params, tx: Tx | None = None) -> Job | None:
        rows = await (tx.execute if tx else self._db.read)(f"SELECT * FROM job WHERE {condition} LIMIT 1", params)
        return job_of(rows[0]) if rows else None

    async def _many(self, condition: str, params: Params) -> list[Job]:
        return [job_of(row) for row in await self._db.read(f"SELECT * FROM job WHERE {condition}", params)]
