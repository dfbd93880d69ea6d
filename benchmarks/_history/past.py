"""Fills a database with a past: jobs that ended, their books, pictures and counters. Measures nothing.

Rows as the program itself leaves them, so that its own examination of the books finds nothing wrong; written by a few
large statements, because a million jobs one by one would take hours.
"""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.cost import period_of
from core.job import Account, PayerKind, Request
from storage.database import FILE, Database
from storage.search import code_of

SERVER = "200000000000000000"
PICTURE_BYTES = 250_000
_MONTHS = 10
_MONTH_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """How much has been. `pictures`: kept ones, four a job; `kinds`: batch keys that the heavy member has used."""

    jobs: int
    pictures: int
    kinds: int
    members: int


EMPTY = Past(jobs=0, pictures=0, kinds=0, members=0)


def user(number: int) -> str:
    """A member's id; the one with the number 0 has asked for every twentieth job."""
    return str(100_000_000_000_000_000 + number)


def account(number: int) -> Account:
    """Who pays for a member."""
    return Account(kind=PayerKind.MEMBER, server=SERVER, id=user(number))


def request(prompt: str = "a red boat on the sea", **changes: Any) -> Request:
    """What everybody asks for."""
    values: dict[str, Any] = {"width": 256, "height": 256, "seed": 7, "steps": 20, "guidance": 4.0, "sampler": "euler",
                              "model": "postcard"}  # fmt: skip
    return Request(prompt=prompt, **(values | changes))


async def make(folder: Path, past: Past, now: float) -> None:
    """A data folder with this past, up to `now` (seconds since the epoch)."""
    async with Database.open(folder):
        pass  # the schema
    connection = sqlite3.connect(folder / FILE, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    connection.create_function("code_of", 1, code_of, deterministic=True)
    params = _params(past, now)
    connection.execute("BEGIN")
    for statement in _STATEMENTS:
        connection.execute(statement, params)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    _make_files(folder / "pictures", past)


def _params(past: Past, now: float) -> dict[str, Any]:
    wanted = request()
    return {
        "jobs": past.jobs, "grids": past.jobs - past.pictures // 4, "kinds": past.kinds, "members": past.members,
        "now": now, "span": _MONTHS * _MONTH_SECONDS, "months": _MONTHS, "month": period_of(now)[0],
        "length": _MONTH_SECONDS, "server": SERVER, "first": int(user(0)), "bytes": PICTURE_BYTES,
        "request": json.dumps(wanted.to_dict()), "batch_key": wanted.batch_key(),
        "made": json.dumps({"model": "postcard", "digest": "d", "dtype": "float32", "device": "cpu", "engine": "1"}),
    }  # fmt: skip


def _make_files(folder: Path, past: Past) -> None:
    """The kept pictures' files, empty: only their number weighs here."""
    for number in range(past.jobs - past.pictures // 4 + 1, past.jobs + 1):
        name = job_id(number)
        place = folder / name[:2]
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for index in range(4):
            (place / f"{name}-{index}.png").touch()


def job_id(number: int) -> str:
    """As the statements make it: ids are scattered, as random ones are."""
    return f"{number * 2_654_435_761 % 2**32:08x}{number:08x}"


_ID = "printf('%08x%08x', {n} * 2654435761 % 4294967296, {n})"
_MEMBER = "CASE WHEN n % 20 = 0 THEN 0 ELSE 1 + n * 7919 % (:members - 1) END"
_KEY = "'member:' || :server || ':' || (:first + {m})"
_AT = ":now - :span * (1 + :jobs - n) / (1 + :jobs)"
# Periods of thirty days before this month's start; the newest jobs are of the last one.
_LOT = "{m} * :months + CAST((n - 1) * :months / :jobs AS INTEGER) + 1"
_COUNT = "WITH RECURSIVE number (n) AS (SELECT 1 WHERE {n} > 0 UNION ALL SELECT n + 1 FROM number WHERE n < {n})"
_N, _M, _K = (_COUNT.format(n=n) for n in (":jobs", ":members", ":kinds"))

_STATEMENTS = (
    f"{_M} INSERT INTO account (key, kind, server, payer, created_at)"
    f" SELECT {_KEY.format(m='n - 1')}, 'member', :server, :first + n - 1, 0 FROM number",
    f"{_M}, month (k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM month WHERE k < :months - 1)"
    " INSERT INTO lot (id, account, source, period_start, expires_at, amount_ms, created_at)"
    f" SELECT (n - 1) * :months + k + 1, {_KEY.format(m='n - 1')}, 'plan', :month - (:months - k) * :length,"
    " :month - (:months - k - 1) * :length, 12000000, 0 FROM number, month",
    "INSERT INTO entry (account, lot, kind, amount_ms, cause, at)"
    " SELECT account, id, 'grant', amount_ms, source, period_start FROM lot",
    f"{_N}, member (n, m) AS (SELECT n, {_MEMBER} FROM number)"
    " INSERT INTO job (id, kind, state, lane, account, user, multiplier, guild, channel, message, interaction, token,"
    "  token_expires_at, locale, private, dedupe, typed, request, batch_key, rows, source_job, source_index, made_with,"
    "  attempt, estimate_ms, reserved_ms, gpu_ms, charged_ms, created_at, started_at, finished_at)"
    f" SELECT {_ID.format(n='n')}, iif(n % 5 = 0, 'variation', 'grid'), 'done', 'fast', {_KEY.format(m='m')},"
    "  :first + m, 1.0, :server, '300000000000000000', 500000000000000000 + n, 400000000000000000 + n, '', 0.0,"
    f"  'en-US', 0, iif(n % 5 = 0, {_ID.format(n='(n - 3)')} || ':vary:0:' || (:first + m), NULL),"
    "  'a red boat on the sea', :request, :batch_key, iif(n > :grids, 4, 1),"
    f"  iif(n % 5 = 0, {_ID.format(n='(n - 3)')}, NULL), iif(n % 5 = 0, 0, NULL), :made, 1, 1000, 1000, 700, 700,"
    f"  {_AT}, {_AT}, {_AT} FROM member",
    f"{_N}, member (n, m) AS (SELECT n, {_MEMBER} FROM number), sign (kind, ms) AS (VALUES ('reserve', -1000),"
    " ('settle', 300)) INSERT INTO entry (account, lot, job, kind, amount_ms, cause, at)"
    f" SELECT {_KEY.format(m='m')}, {_LOT.format(m='m')}, {_ID.format(n='n')}, kind, ms, 'done', {_AT}"
    " FROM member, sign",
    f"{_N} INSERT INTO usage (payer, cause, job, attempt, gpu_ms, at)"
    f" SELECT 'account', 'done', {_ID.format(n='n')}, 1, 700, {_AT} FROM number",
    f"{_N}, member (n, m) AS (SELECT n, {_MEMBER} FROM number)"
    " INSERT INTO delivery (job, kind, user, state, way, tries, next_try_at, message, late_at,"
    "  created_at, settled_at)"
    f" SELECT {_ID.format(n='n')}, 'result', :first + m, iif(n % 1000 = 7 OR n = 40, 'undeliverable', 'posted'),"
    f" 'edit', 1, {_AT}, 500000000000000000 + n, iif(n % 1000 = 7 OR n = 40, {_AT}, NULL), {_AT}, {_AT} FROM member",
    f"{_N}, place (k) AS (VALUES (0), (1), (2), (3))"
    " INSERT INTO picture (job, number, file, bytes, sha256, pruned, created_at, used_at)"
    f" SELECT {_ID.format(n='n')}, k, substr({_ID.format(n='n')}, 1, 2) || '/' || {_ID.format(n='n')} || '-' || k ||"
    f" '.png', :bytes, printf('%064d', 0), n <= :grids, {_AT}, {_AT} FROM number, place WHERE n > :grids OR k = 0",
    f"{_M} INSERT INTO search_scope (id, name) SELECT n, 'user:' || (:first + n - 1) FROM number",
    "INSERT INTO search_scope (id, name) SELECT :members + 1, 'guild:' || :server WHERE :members > 0",
    # The words of all of them are the same: the longest list that a search can meet. A few have two more.
    f"{_N}, member (n, m) AS (SELECT n, {_MEMBER} FROM number)"
    " INSERT INTO search (rowid, words, short, owner, place)"
    " SELECT n, 'a red boat on the sea' || iif(n % 997 = 0, ' at dawn', ''), 'a' || char(57344, 57344) || 'on' ||"
    " char(57344), code_of(m + 1), code_of(:members + 1) FROM member",
    f"{_M} INSERT INTO service (scope, lane, name, ms)"
    f" SELECT 'account', 'fast', {_KEY.format(m='n - 1')}, 1000.0 * n FROM number",
    f"{_K} INSERT INTO service (scope, lane, name, ms)"
    f" SELECT 'key', 'fast', {_KEY.format(m='0')} || '|kind' || n, 1000.0 FROM number",
    # One of that member's jobs still waits, so that their counters count.
    "INSERT INTO job (id, kind, state, lane, account, user, multiplier, guild, channel, interaction, token,"
    "  token_expires_at, locale, private, typed, request, batch_key, rows, estimate_ms, reserved_ms, created_at)"
    f" SELECT {_ID.format(n='(:jobs + 1)')}, 'grid', 'queued', 'fast', {_KEY.format(m='0')}, :first, 1.0, :server,"
    "  '300000000000000000', 'waits', 'token', 0.0, 'en-US', 0, 'a red boat', :request, 'kind1', 4, 1000, 0, :now"
    " WHERE :kinds > 0",
    "INSERT INTO service (scope, lane, name, ms) VALUES ('lane', 'fast', '', 500000.0)",
    # What nobody used of a lot whose time is over.
    "INSERT INTO entry (account, lot, kind, amount_ms, cause, at)"
    " SELECT account, id, 'expire', -left_ms, 'period over', expires_at FROM lot WHERE left_ms > 0"
    " AND expires_at <= :now",
)
