"""Keeps the fairness counters beside the queue. Decides nothing: core/fairness.py does; knows nothing of quotas.

All writes belong to a larger transaction: counters move in the same one as the job that moves them.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping

from core.fairness import CREDIT, RELAX_SHARE, Counter, Scope, Service, Updates, WaitingJob, arrive, correct
from core.job import Lane
from core.preemption import Capacity, Entry, enter
from storage.database import Database, Params, Tx
from storage.rows import waiting_of

Fetch = Callable[[str, Params | None], Awaitable[list[sqlite3.Row]]]

# Columns of a waiting job, and the two counters that its turn depends on.
_COLUMNS = """
    SELECT job.seq, job.id, job.lane, job.account, job.batch_key, job.estimate_ms, job.rows, job.solo,
           served.ms AS account_ms, keyed.ms AS key_ms
"""
_COUNTERS = """
    LEFT JOIN service AS served ON served.scope = 'account' AND served.lane = job.lane AND served.name = job.account
    LEFT JOIN service AS keyed ON keyed.scope = 'key' AND keyed.lane = job.lane
                              AND keyed.name = job.account || '|' || job.batch_key
"""
_QUEUE = f"{_COLUMNS} FROM job {_COUNTERS} WHERE job.state = 'queued'"
# The heads of the accounts that each lane served least, ranked as core.fairness.choose ranks them: with thousands of
# members waiting, only a few rows are read whole and become values.
_HEADS = f"""
    WITH member AS (
        SELECT lane, account, min(seq) AS oldest FROM job
        WHERE state = 'queued' AND (:cap IS NULL OR account NOT IN
              (SELECT account FROM job WHERE state = 'running' AND id NOT IN (SELECT value FROM json_each(:off_gpu))
               GROUP BY account HAVING count(*) >= :cap))
        GROUP BY lane, account
    ), ranked AS (
        SELECT member.lane, member.account,
               row_number() OVER (PARTITION BY member.lane ORDER BY coalesce(service.ms, 0.0), oldest) AS rank
        FROM member LEFT JOIN service
          ON service.scope = 'account' AND service.lane = member.lane AND service.name = member.account
    ), head AS (
        SELECT min(job.seq) AS seq FROM ranked JOIN job ON job.lane = ranked.lane AND job.account = ranked.account
        WHERE ranked.rank <= 8 AND job.state = 'queued' GROUP BY job.lane, job.account, job.batch_key
    )
    {_COLUMNS} FROM head JOIN job ON job.seq = head.seq {_COUNTERS}
"""
_SERVED = """
    SELECT scope, lane, name, ms FROM service
    WHERE scope = 'account' AND lane = :lane AND name IN (SELECT value FROM json_each(:accounts))
"""
_LANES = "SELECT scope, lane, name, ms FROM service WHERE scope IN ('lane', 'credit')"
# What of these accounts lives, and their counters (all accounts': null). A key's name is its account's, a bar, its own.
_LIVE_KEYS = """
    SELECT DISTINCT lane, account, batch_key FROM job WHERE state IN ('preparing', 'queued', 'running')
    AND (:accounts IS NULL OR account IN (SELECT value FROM json_each(:accounts)))
"""
_ALL_COUNTERS = "SELECT scope, lane, name, ms FROM service WHERE scope IN ('account', 'key', 'lane')"
_SOME_COUNTERS = """
    SELECT scope, lane, name, ms FROM service WHERE scope = 'lane'
    UNION ALL SELECT service.scope, service.lane, service.name, ms FROM json_each(:names) JOIN service
      ON service.scope = json_extract(value, '$[0]') AND service.lane = json_extract(value, '$[1]')
     AND service.name = json_extract(value, '$[2]')
"""
#: Counters that go in one transaction.
_TIDIED_AT_ONCE = 200


class FairQueue:
    """See the module. `share`: relax's guaranteed share of GPU time."""

    def __init__(self, share: float = RELAX_SHARE) -> None:
        self.share = share

    async def next(self, tx: Tx, capacity: Capacity) -> Entry | None:
        """Who enters of the heads of the queue; accounts at their cap of running jobs are passed over."""
        params = {"cap": capacity.running_per_account, "off_gpu": json.dumps(sorted(capacity.off_gpu))}
        heads, service = await self._load(tx.execute, _HEADS, params)
        if heads and (running := capacity.running):
            accounts = json.dumps(sorted({job.account for job in running}))
            served = await tx.execute(_SERVED, {"lane": running[0].lane, "accounts": accounts})
            service = {**_service_of(served), **service}
        return enter(heads, service, capacity)

    async def queue(self, fetch: Fetch) -> tuple[list[WaitingJob], Service]:
        """All waiting jobs and the counters that decide their order."""
        return await self._load(fetch, _QUEUE, {})

    async def arrived(self, tx: Tx, waiting: WaitingJob) -> None:
        """A job joined its lane; its row is already there."""
        live = await tx.execute(
            "SELECT DISTINCT batch_key FROM job WHERE account = :account AND lane = :lane AND id <> :job"
            " AND state IN ('preparing', 'queued', 'running')",
            {"account": waiting.account, "lane": waiting.lane, "job": waiting.job},
        )
        live_keys = {row["batch_key"] for row in live}
        if not live_keys:  # back from idling: its batch keys start anew
            await tx.execute(
                "DELETE FROM service WHERE scope = 'key' AND lane = :lane"
                " AND name >= :account || '|' AND name < :account || '}'",
                {"lane": waiting.lane, "account": waiting.account},
            )
        service = await self._counters(tx, waiting, live_keys)
        await self.keep(tx, arrive(waiting, live_keys, service))

    async def corrected(self, tx: Tx, row: sqlite3.Row, measured_ms: int) -> None:
        """An attempt ended: `row` still says what was booked for it."""
        ended = waiting_of(row)
        service = await self._counters(tx, ended, ())
        await self.keep(tx, correct(ended, row["booked_ms"], measured_ms, service))

    async def credit(self, fetch: Fetch) -> float:
        """Relax's credit in GPU milliseconds, as it was kept last."""
        return _service_of(await fetch(_LANES, None)).get(CREDIT, 0.0)

    async def tidy(self, db: Database) -> None:
        """Lets go of counters without which every turn would be the same, so that they do not grow with history.

        Those of an account that has nothing in the lane and is not ahead of it, and those of a batch key that it has
        no job of and that is not ahead of its others: both would start from there again.
        """
        live = _by_account(await db.survey(_LIVE_KEYS, {"accounts": None}))
        silent = _silent(_service_of(await db.survey(_ALL_COUNTERS)), live)
        for first in range(0, len(silent), _TIDIED_AT_ONCE):
            async with db.transaction() as tx:
                await self._let_go(tx, silent[first : first + _TIDIED_AT_ONCE])

    async def _let_go(self, tx: Tx, counters: list[Counter]) -> None:
        """Of these, those that still say nothing."""
        accounts = json.dumps(sorted({name.partition("|")[0] for _, _, name in counters}))
        live = _by_account(await tx.execute(_LIVE_KEYS, {"accounts": accounts}))
        beside = [(Scope.KEY, lane, f"{account}|{key}") for (lane, account), keys in live.items() for key in keys]
        service = _service_of(await tx.execute(_SOME_COUNTERS, {"names": json.dumps([*counters, *beside])}))
        silent = set(_silent(service, live)) & set(counters)
        await tx.execute(
            "DELETE FROM service WHERE (scope, lane, name) IN (SELECT json_extract(value, '$[0]'),"
            " json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:names))",
            {"names": json.dumps(sorted(silent))},
        )

    async def keep(self, tx: Tx, updates: Updates) -> None:
        """Writes counters."""
        if updates:
            await tx.execute(
                "INSERT INTO service (scope, lane, name, ms)"
                " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),"
                "        CAST(json_extract(value, '$[3]') AS REAL) FROM json_each(:updates) WHERE true"
                " ON CONFLICT DO UPDATE SET ms = excluded.ms",
                {"updates": json.dumps([[*counter, ms] for counter, ms in updates.items()])},
            )

    async def _load(self, fetch: Fetch, sql: str, params: Params) -> tuple[list[WaitingJob], Service]:
        waiting: list[WaitingJob] = []
        service: dict[tuple[Scope, Lane, str], float] = {}
        for row in await fetch(sql, params):
            waiting.append(waiting_of(row))
            account, key = waiting[-1].counters
            service[account] = row["account_ms"] or 0.0
            service[key] = row["key_ms"] or 0.0
        return waiting, service | _service_of(await fetch(_LANES, None))

    async def _counters(self, tx: Tx, waiting: WaitingJob, keys: Iterable[str]) -> Service:
        """The lanes' counters, the account's in this lane, and those of these batch keys and its own."""
        names = [f"{waiting.account}|{key}" for key in {waiting.key, *keys}]
        rows = await tx.execute(
            f"{_LANES} UNION ALL SELECT scope, lane, name, ms FROM service"
            " WHERE scope = 'account' AND lane = :lane AND name = :account"
            " UNION ALL SELECT scope, lane, name, ms FROM service"
            " WHERE scope = 'key' AND lane = :lane AND name IN (SELECT value FROM json_each(:names))",
            {"lane": waiting.lane, "account": waiting.account, "names": json.dumps(names)},
        )
        return _service_of(rows)


def _service_of(rows: list[sqlite3.Row]) -> dict[tuple[Scope, Lane, str], float]:
    return {(Scope(row["scope"]), Lane(row["lane"]), row["name"]): row["ms"] for row in rows}


def _by_account(rows: list[sqlite3.Row]) -> dict[tuple[Lane, str], set[str]]:
    """Batch keys of what waits or runs, by lane and account."""
    live: dict[tuple[Lane, str], set[str]] = defaultdict(set)
    for row in rows:
        live[Lane(row["lane"]), row["account"]].add(row["batch_key"])
    return live


def _silent(service: Service, live: Mapping[tuple[Lane, str], set[str]]) -> list[Counter]:
    """Counters without which every turn would be the same (see `tidy`)."""
    floors = {
        (lane, account): min(service.get((Scope.KEY, lane, f"{account}|{key}"), 0.0) for key in keys)
        for (lane, account), keys in live.items()
    }
    found = []
    for counter, ms in service.items():
        scope, lane, name = counter
        account, _, key = name.partition("|")
        keys = live.get((lane, account), set())
        if scope is Scope.ACCOUNT and not keys and ms <= service.get((Scope.LANE, lane, ""), 0.0):
            found.append(counter)
        if scope is Scope.KEY and key not in keys and (not keys or ms <= floors[lane, account]):
            found.append(counter)
    return found
