"""The schema itself refuses what must never be: wrong types, impossible rows, changed books."""

import sqlite3

import pytest

REFUSED = [
    ("a state that does not exist", "UPDATE job SET state = 'lost'"),
    ("text where a number belongs", "UPDATE job SET attempt = 'many'"),
    ("a request that is no JSON", "UPDATE job SET request = 'prompt'"),
    ("running without a worker", "UPDATE job SET state = 'running'"),
    ("a worker without running", "UPDATE job SET worker = 'w'"),
    ("done without a time", "UPDATE job SET state = 'done', charged_ms = 0"),
    ("failed without a reason", "UPDATE job SET state = 'failed', charged_ms = 0, finished_at = 1"),
    ("failed and charged", "UPDATE job SET state = 'failed', failure = 'x', charged_ms = 1, finished_at = 1"),
    ("charged more than quoted", "UPDATE job SET state = 'done', charged_ms = 1001, finished_at = 1"),
    ("a fourth strike", "UPDATE job SET strikes = 4"),
    ("an id that Discord's buttons cannot carry", "UPDATE job SET id = 'Job:1'"),
    ("an account that nobody opened", "UPDATE job SET account = 'member:guild:nobody'"),
    ("half a source", "UPDATE job SET source_index = 1"),
    ("a negative balance", "INSERT INTO entry (account, lot, job, kind, amount_ms, cause, at)"
     " SELECT account, id, NULL, 'expire', -left_ms - 1, 'x', 0 FROM lot"),
    ("more than was granted", "INSERT INTO entry (account, lot, job, kind, amount_ms, cause, at)"
     " SELECT account, id, NULL, 'expire', amount_ms, 'x', 0 FROM lot"),
    ("a second grant of a lot", "INSERT INTO entry (account, lot, kind, amount_ms, cause, at)"
     " SELECT account, id, 'grant', 1, 'x', 0 FROM lot"),
    ("a reservation that gives", "INSERT INTO entry (account, lot, job, kind, amount_ms, cause, at)"
     " SELECT lot.account, lot.id, job.id, 'reserve', 5, 'x', 0 FROM lot, job"),
    ("a reservation for no job", "INSERT INTO entry (account, lot, kind, amount_ms, cause, at)"
     " SELECT account, id, 'reserve', -5, 'x', 0 FROM lot"),
    ("a second reservation from the same lot", "INSERT INTO entry (account, lot, job, kind, amount_ms, cause, at)"
     " SELECT account, lot, job, kind, -1, 'x', 0 FROM entry WHERE kind = 'reserve'"),
    ("an entry in somebody else's lot", "INSERT INTO entry (account, lot, kind, amount_ms, cause, at)"
     " SELECT 'member:guild:bob', id, 'expire', -1, 'x', 0 FROM lot WHERE account <> 'member:guild:bob'"),
    ("a rewritten entry", "UPDATE entry SET amount_ms = 1"),
    ("a deleted entry", "DELETE FROM entry"),
    ("a larger lot", "UPDATE lot SET amount_ms = amount_ms + 1"),
    ("a longer lot", "UPDATE lot SET expires_at = NULL"),
    ("a deleted lot", "DELETE FROM lot"),
    ("rewritten usage", "UPDATE usage SET gpu_ms = 0"),
    ("deleted usage", "DELETE FROM usage"),
    ("a deleted job with books", "DELETE FROM job"),
    ("an unknown outcome", "INSERT INTO delivery (job, kind, state, next_try_at, created_at)"
     " SELECT id, 'result', 'sent', 0, 0 FROM job"),
    ("a picture without bytes", "INSERT INTO picture (job, number, file, bytes, sha256, created_at, used_at)"
     " SELECT id, 0, 'x', 0, printf('%064d', 0), 0, 0 FROM job"),
    ("a setting that is no JSON", "INSERT INTO state (name, value, changed_at) VALUES ('a', 'b', 0)"),
]  # fmt: skip


@pytest.mark.parametrize("sql", [pytest.param(sql, id=name) for name, sql in REFUSED])
async def test_the_schema_refuses(store, sql):
    await store.admit(user="alice", estimate=1000)
    await store.admit(user="bob", estimate=1000)
    async with store.db.transaction() as tx:
        await store.ledger.book(tx, "house", "load", 5, job=None, attempt=None)
    before = await store.rows("job"), await store.rows("entry"), await store.rows("lot")
    with pytest.raises(sqlite3.IntegrityError):
        async with store.db.transaction() as tx:
            await tx.execute(sql)
    assert (await store.rows("job"), await store.rows("entry"), await store.rows("lot")) == before


async def test_every_table_is_strict(store):
    tables = await store.db.read("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    assert {row["name"] for row in tables if not row["strict"]} == {"sqlite_schema"}


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        ("SELECT min(seq) FROM job WHERE state = 'queued' GROUP BY lane, account", "job_queued"),
        ("SELECT count(*) FROM job WHERE account = 'a' AND state IN ('preparing', 'queued', 'running')", "job_live"),
        ("SELECT * FROM delivery WHERE state = 'pending' AND next_try_at <= 1 ORDER BY next_try_at", "delivery_due"),
        ("SELECT id FROM lot WHERE account = 'a' AND left_ms > 0 AND expires_at > 1", "lot_usable"),
        ("SELECT * FROM job WHERE message = '1'", "job_message"),
        ("SELECT * FROM entry WHERE job = '1' AND kind = 'reserve'", "sqlite_autoindex_entry_1"),
    ],
)
async def test_what_runs_often_reads_an_index(store, sql, index):
    plan = await store.db.read(f"EXPLAIN QUERY PLAN {sql}")
    assert any(index in row["detail"] for row in plan), [row["detail"] for row in plan]
