"""What an earlier schema left is what the present one finds."""

import sqlite3

from core.job import Account, PayerKind
from storage import database
from storage.database import Database
from storage.history import History
from storage.image_retention import ImageRetention
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.outbox import Outbox
from storage.search import SearchIndex
from storage.settings import Settings

ACCOUNT = Account(kind=PayerKind.MEMBER, server="1", id="5")
COLUMNS = (
    "kind, state, lane, account, user, multiplier, guild, channel, token, token_expires_at, locale, private, typed,"
    " request, batch_key, rows, estimate_ms, reserved_ms, created_at"
)
VALUES = "'grid', 'queued', 'relax', 'member:1:5', '5', 0, '1', '2', 't', 0, 'en', 0, 'x', '{}', 'k', 1, 0, 0, 0"
JOBS = ("a", "b", "lives")
ENDED = "UPDATE job SET state = 'done', finished_at = 1, charged_ms = 0, gpu_ms = 0 WHERE id <> 'lives'"


def fill(path, *statements):
    """A database of the schema as far as the third migration."""
    connection = sqlite3.connect(path, isolation_level=None)
    for file in database.migrations()[:3]:
        connection.executescript(file.read_text())
    connection.execute("PRAGMA user_version = 3")
    for statement in (
        "INSERT INTO account VALUES ('member:1:5', 'member', '1', '5', 0)",
        *(f"INSERT INTO job (id, interaction, {COLUMNS}) VALUES ('{job}', '{job}', {VALUES})" for job in JOBS),
        ENDED,
        *statements,
    ):  # fmt: skip
        connection.execute(statement)
    connection.close()


async def test_what_is_kept_who_waits_and_who_was_not_told_is_found_in_an_older_database(folder):
    fill(
        folder / database.FILE,
        *(f"INSERT INTO picture VALUES ('a', {n}, 'f{n}', 100, '{'0' * 64}', {n == 2}, 0, {n}, 0)" for n in range(3)),
        "INSERT INTO delivery (job, kind, state, next_try_at, created_at, settled_at)"
        " VALUES ('a', 'result', 'undeliverable', 0, 0, 7), ('b', 'result', 'posted', 0, 0, 7)",
        "INSERT INTO service VALUES ('key', 'relax', 'member:1:5|k', 9), ('key', 'fast', 'member:1:5|k', 9)",
    )
    async with Database.open(folder) as db:
        jobs, pictures = Jobs(db, Ledger(db)), ImageRetention(db)
        assert await pictures.total_bytes() == 200
        assert [picture.index for picture in await pictures.prune_candidates(150)] == [0, 1]
        assert (await jobs.counts(ACCOUNT)).waiting == 1
        assert [delivery.job for delivery in await Outbox(db).untold("5")] == ["a"]
        assert await Settings(db).server("1") == {"served": "before"}, "a server with jobs goes on being served"
        left = await db.read("SELECT lane FROM service")
        assert [row["lane"] for row in left] == ["relax"], "nothing of theirs is in the fast lane"


async def test_what_was_deleted_before_stays_deleted_and_older_prompts_become_searchable(folder):
    prompt = """UPDATE job SET request = '{"prompt": "a red boat"}' WHERE id <> 'lives'"""
    gone = "INSERT INTO picture VALUES ('a', 0, 'f', 100, '" + "0" * 64 + "', 1, 0, 0, 1)"
    fill(folder / database.FILE, prompt, gone)
    async with Database.open(folder) as db:
        search = SearchIndex(db)
        assert not await search.is_complete() and (await search.find(("boat",), (), user="5")).rows == ()
        assert not await search.catch_up() and await search.is_complete()
        assert (await search.find(("boat",), (), user="5")).rows == (2, 1)
        deleted = await db.read("SELECT id, deleted_by FROM job WHERE deleted_at IS NOT NULL")
        assert [(row["id"], row["deleted_by"]) for row in deleted] == [("a", "moderator")]
        assert await History(db).take_back("a", "5") is None, "its files are gone"
