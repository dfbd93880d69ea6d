"""One process, one writer, all or nothing: also under cancellation, a full disk and a newer schema."""

import asyncio
import sqlite3
import stat

import pytest

from core.errors import AlreadyRunning, ConfigError, DiskFull
from storage import database
from storage.database import Database

PUT = "INSERT INTO state (name, value, changed_at) VALUES (:name, '1', 0)"


async def names(db):
    return [row["name"] for row in await db.read("SELECT name FROM state ORDER BY name")]


@pytest.fixture
async def db(folder):
    async with Database.open(folder / "data") as opened:
        yield opened


async def test_a_second_process_is_told_who_holds_the_folder_and_what_to_do(folder, db):
    with pytest.raises(AlreadyRunning, match=r"already running on .*process \d+.*DARKROOM_DATA"):
        async with Database.open(folder / "data"):
            pytest.fail("it opened twice")


async def test_what_was_committed_is_there_after_opening_again(folder):
    for name in ("first", "second"):
        async with Database.open(folder) as db, db.transaction() as tx:
            await tx.execute(PUT, {"name": name})
    async with Database.open(folder) as db:
        assert await names(db) == ["first", "second"]


async def test_prompts_and_tokens_are_readable_by_their_owner_only(folder, db):
    async with db.transaction() as tx:
        await tx.execute(PUT, {"name": "a"})
    files = [file for file in (folder / "data").iterdir() if file.name.startswith(database.FILE)]
    assert len(files) == 3  # the database, -wal, -shm
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


async def test_a_newer_schema_is_refused_with_its_cure(folder):
    async with Database.open(folder):
        pass
    connection = sqlite3.connect(folder / database.FILE)
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(ConfigError, match=r"newer Darkroom \(schema 9999.*Update Darkroom"):
        async with Database.open(folder):
            pytest.fail("it opened a newer schema")


async def test_a_later_migration_runs_once_and_a_broken_one_leaves_the_schema_as_it_was(folder, monkeypatch):
    schema = folder / "schema"
    schema.mkdir()
    (schema / "0001_start.sql").write_text("CREATE TABLE one (a INTEGER) STRICT;")
    monkeypatch.setattr(database, "SCHEMA", schema)
    monkeypatch.setattr(database.migrations, "__defaults__", (schema,))
    async with Database.open(folder / "data"):
        pass
    (schema / "0002_two.sql").write_text("CREATE TABLE two (a INTEGER) STRICT; INSERT INTO nowhere VALUES (1);")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        async with Database.open(folder / "data"):
            pytest.fail("it opened half migrated")
    (schema / "0002_two.sql").write_text("CREATE TABLE two (a INTEGER) STRICT;")
    for _ in range(2):
        async with Database.open(folder / "data") as db:
            tables = await db.read("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            assert [row["name"] for row in tables] == ["one", "two"]


def test_a_missing_migration_is_noticed(folder):
    (folder / "0001_start.sql").touch()
    (folder / "0003_gap.sql").touch()
    with pytest.raises(ConfigError, match=r"\[1, 3\]"):
        database.migrations(folder)


def test_every_migration_opens_with_a_line_that_says_what_it_is():
    for file in database.migrations():
        assert file.read_text().startswith(f"-- {file.name[:4]} ")


async def test_an_error_in_the_block_undoes_all_of_it(db):
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            await tx.execute(PUT, {"name": "a"})
            raise ZeroDivisionError
    async with db.transaction() as tx:
        await tx.execute(PUT, {"name": "b"})
    assert await names(db) == ["b"]


async def test_a_task_never_writes_inside_another_tasks_transaction(db):
    async def put(name, fail):
        async with db.transaction() as tx:
            await tx.execute(PUT, {"name": name})
            await asyncio.sleep(0)
            if fail:
                raise ZeroDivisionError

    results = await asyncio.gather(*(put(f"n{n:02}", n % 2) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(result, ZeroDivisionError) for result in results) == 10
    assert await names(db) == [f"n{n:02}" for n in range(0, 20, 2)]


POINTS = [(sql, when) for sql in ("INSERT", "UPDATE", "COMMIT") for when in ("before", "after")]


@pytest.mark.parametrize(("statement", "moment"), POINTS)
async def test_cancelled_at_any_statement_a_transaction_is_whole_or_not_at_all(db, statement, moment):
    async def work():
        async with db.transaction() as tx:
            await tx.execute(PUT, {"name": "a"})
            await tx.execute("UPDATE state SET name = 'b' WHERE name = 'a'")

    task = asyncio.ensure_future(work())
    db.trace = lambda sql, when: task.cancel() if sql.startswith(statement) and when == moment else None
    with pytest.raises(asyncio.CancelledError):
        await task
    db.trace = None
    # After the last statement nothing is awaited but the commit, which goes to its end.
    late = statement == "COMMIT" or (statement, moment) == ("UPDATE", "after")
    assert await names(db) == (["b"] if late else [])
    async with db.transaction() as tx:  # and the next one is not disturbed
        await tx.execute(PUT, {"name": "c"})
    assert "c" in await names(db)


@pytest.mark.parametrize("steps", range(0, 24, 2))
async def test_cancelled_after_any_number_of_loop_turns_nothing_stays_open(db, steps):
    async def work():
        async with db.transaction() as tx:
            for name in "abcd":
                await tx.execute(PUT, {"name": name})

    task = asyncio.ensure_future(work())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    async with db.transaction() as tx:
        await tx.execute(PUT, {"name": "z"})
    assert await names(db) in (["z"], ["a", "b", "c", "d", "z"])


async def test_a_waiting_task_that_is_cancelled_gives_its_turn_away(db):
    async with db.transaction() as tx:
        waiting = asyncio.ensure_future(db.transaction().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await tx.execute(PUT, {"name": "a"})
    async with db.transaction() as tx:
        await tx.execute(PUT, {"name": "b"})
    assert await names(db) == ["a", "b"]


async def test_a_transaction_inside_a_transaction_is_a_mistake_that_says_so(db):
    with pytest.raises(RuntimeError, match="wait for itself"):
        async with db.transaction(), db.transaction():
            pytest.fail("it nested")
    async with db.transaction() as tx:
        await tx.execute(PUT, {"name": "a"})


async def test_readers_see_the_last_commit_and_cannot_write(db):
    async with db.transaction() as tx:
        await tx.execute(PUT, {"name": "a"})
        assert await names(db) == []
    assert await names(db) == ["a"]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await db.read(PUT, {"name": "b"})


async def test_a_long_look_of_housekeeping_holds_up_no_reader_and_cannot_write(db):
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    look = asyncio.ensure_future(db.survey(endless))
    async with db.transaction() as tx:
        await tx.execute(PUT, {"name": "a"})
    assert await names(db) == ["a"] and not look.done()
    await db._surveyor.interrupt()
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        await look
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await db.survey(PUT, {"name": "b"})


async def test_a_full_disk_undoes_the_transaction_and_leaves_the_database_usable(db):
    async with db.transaction() as tx:
        await tx.execute(PUT, {"name": "kept"})
    pages = (await db.read("PRAGMA page_count"))[0][0]
    await db._writer.execute_fetchall(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull, match="The disk is full"):
        async with db.transaction() as tx:
            for n in range(1000):
                await tx.execute(
                    "INSERT INTO state (name, value, changed_at) VALUES (:name, :value, 0)",
                    {"name": f"n{n}", "value": '"' + "x" * 4000 + '"'},
                )
    assert await names(db) == ["kept"]
    await db._writer.execute_fetchall("PRAGMA max_page_count = 1000000")
    async with db.transaction() as tx:
        await tx.execute(PUT, {"name": "later"})
    assert await names(db) == ["kept", "later"]
    assert (await db.read("PRAGMA integrity_check"))[0][0] == "ok"


async def test_a_file_that_is_no_database_is_refused(folder):
    (folder / database.FILE).write_text("this is a text file" * 1000)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        async with Database.open(folder):
            pytest.fail("it opened a text file")


async def test_a_data_folder_that_is_a_file_is_refused_with_the_cure(tmp_path):
    taken = tmp_path / "data"
    taken.write_text("a note")
    with pytest.raises(ConfigError, match="DARKROOM_DATA"):
        async with Database.open(taken):
            pass
