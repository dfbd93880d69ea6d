"""The index of prompts: whose jobs, of which server, say what. Tells numbers of rows; decides not who may see them.

One full-text table whose tokens are three characters each (FTS5, trigram). Shorter terms, and a job's owner and server,
are made tokens of their own by filling them up to three characters with ones that no prompt has: so a search within one
person's jobs, or one server's, is one walk through lists that stand in order, however long the past is.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from core.search_terms import LONG, PRIVATE, normal, short_terms
from storage.database import Database, Tx

#: A search looks through so many of the newest jobs at once, and begins anew from there.
WINDOW = 250_000
#: Jobs of before the index that are put into it in one transaction, for which admissions wait.
BACKLOG_AT_ONCE = 50
_FILL = chr(PRIVATE[0])
_FIRST, _CODES = PRIVATE[1], len(PRIVATE) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows that match, newest first, and from where to go on: None when there is nothing older."""

    rows: tuple[int, ...]
    before: int | None


class SearchIndex:
    """See the module."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, tx: Tx, row: sqlite3.Row) -> None:
        """Makes a finished job findable, in the transaction that ends it. Older ones are `catch_up`'s."""
        backlog = await tx.one("SELECT seq FROM search_backlog")
        if backlog is not None and row["seq"] >= backlog["seq"]:
            await self._insert(tx, row)

    async def catch_up(self) -> bool:
        """Goes back through jobs of before the index, a few at a time; whether there may be more."""
        async with self._db.transaction() as tx:
            rows = await tx.execute(
                "SELECT seq, kind, state, user, guild, private, request FROM job"
                " WHERE seq < (SELECT seq FROM search_backlog) ORDER BY seq DESC LIMIT :most",
                {"most": BACKLOG_AT_ONCE},
            )
            for row in rows:
                if row["state"] == "done":
                    await self._insert(tx, row)
            last = rows[-1]["seq"] if len(rows) == BACKLOG_AT_ONCE else 0
            await tx.execute("UPDATE search_backlog SET seq = :last", {"last": last})
        await asyncio.sleep(0)
        return last > 0

    async def is_complete(self) -> bool:
        """Whether all jobs can be found."""
        return int((await self._db.read("SELECT seq FROM search_backlog"))[0]["seq"]) == 0

    async def find(
        self,
        long: Sequence[str],
        short: Sequence[str],
        *,
        user: str | None = None,
        guild: str | None = None,
        without: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Found:
        """Jobs with all these terms: a person's own, or those of a server that are not private; newest first.

        `without`: a person whose jobs are left out; `before`: rows below this one. Looks through WINDOW rows at most.
        """
        codes = await self._codes([name for name in (_user(user), _guild(guild), _user(without)) if name])
        scope = _user(user) or _guild(guild) or ""
        newest = (await self._db.survey("SELECT max(seq) AS seq FROM job"))[0]["seq"] or 0
        top = newest + 1 if before is None else min(before, newest + 1)
        if scope not in codes or top <= 1 or not (long or short):
            return Found(rows=(), before=None)
        low = max(0, top - WINDOW)
        wanted = [f"words : {_phrase(term)}" for term in long]
        wanted += [f"short : {_phrase(_filled(term))}" for term in short]
        wanted.append(f"{'owner' if user else 'place'} : {_phrase(codes[scope])}")
        query = " AND ".join(wanted)
        if (other := codes.get(_user(without) or "")) is not None:
            query = f"({query}) NOT owner : {_phrase(other)}"
        rows = await self._db.survey(
            "SELECT rowid FROM search WHERE search MATCH :query AND rowid < :top AND rowid >= :low"
            " ORDER BY rowid DESC LIMIT :limit",
            {"query": query, "top": top, "low": low, "limit": limit},
        )
        found = tuple(int(row["rowid"]) for row in rows)
        if len(found) == limit:
            return Found(rows=found, before=found[-1])
        return Found(rows=found, before=low if low > 1 else None)

    async def _insert(self, tx: Tx, row: sqlite3.Row) -> None:
        """A crop shows a picture of a job that has the same words: it is not findable beside it."""
        if row["kind"] == "crop":
            return
        values = await self._values(tx, row)
        await tx.execute(
            "INSERT INTO search (rowid, words, short, owner, place) VALUES (:seq, :words, :short, :owner, :place)",
            values,
        )

    async def moved(self, tx: Tx, before: sqlite3.Row, after: sqlite3.Row) -> None:
        """A job stands in another server now, or is not private any more: its rows before and after."""
        backlog = await tx.one("SELECT seq FROM search_backlog")
        if before["kind"] == "crop" or backlog is None or before["seq"] < backlog["seq"]:
            return
        was = await self._values(tx, before)
        if was != await self._values(tx, after):
            await tx.execute(
                "INSERT INTO search (search, rowid, words, short, owner, place)"
                " VALUES ('delete', :seq, :words, :short, :owner, :place)",
                was,
            )
            await self._insert(tx, after)

    async def _values(self, tx: Tx, row: sqlite3.Row) -> dict[str, str | int]:
        """What the index has of a job."""
        prompt = await tx.one("SELECT json_extract(:request, '$.prompt') AS prompt", {"request": row["request"]})
        words = normal(prompt["prompt"] or "") if prompt is not None else ""
        place = None if row["private"] else _guild(row["guild"])
        return {
            "seq": row["seq"],
            "words": words,
            "short": "".join(_filled(term) for term in short_terms(words)),
            "owner": await self._code(tx, f"user:{row['user']}"),
            "place": "" if place is None else await self._code(tx, place),
        }

    async def _code(self, tx: Tx, name: str) -> str:
        await tx.execute("INSERT INTO search_scope (name) VALUES (:name) ON CONFLICT DO NOTHING", {"name": name})
        row = await tx.one("SELECT id FROM search_scope WHERE name = :name", {"name": name})
        assert row is not None
        return code_of(row["id"])

    async def _codes(self, names: Sequence[str]) -> dict[str, str]:
        found = {}
        for name in names:
            for row in await self._db.survey("SELECT id FROM search_scope WHERE name = :name", {"name": name}):
                found[name] = code_of(row["id"])
        return found


def _user(user: str | None) -> str | None:
    return None if user is None else f"user:{user}"


def _guild(guild: str | None) -> str | None:
    return None if guild is None else f"guild:{guild}"


def code_of(number: int) -> str:
    """What stands for a row of search_scope: three private characters, one token."""
    return "".join(chr(_FIRST + number // power % _CODES) for power in (_CODES**2, _CODES, 1))


def _filled(term: str) -> str:
    """A short term as one token."""
    return term + _FILL * (LONG - len(term))


def _phrase(text: str) -> str:
    """As FTS5 reads a text that is only a text."""
    return '"' + text.replace('"', '""') + '"'
