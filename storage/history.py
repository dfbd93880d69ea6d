"""What one person made, liked and deleted, page by page; and where a job stands that was shown again elsewhere.

Each page is found by an index of its own, so that it takes as long after a million jobs as after ten. Knows nothing of
who may see what, and touches no file.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from core.job import Job, Kind
from storage.database import Database
from storage.rows import job_of
from storage.search import SearchIndex

#: So long what somebody deleted themselves can be taken back.
KEPT_SECONDS = 7 * 86_400.0
_MADE = "state = 'done' AND deleted_at IS NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a list. `at`: its place in the list's order, for the next page."""

    job: Job
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A message that shows a job, beside the one that its row names."""

    guild: str | None
    channel: str
    message: str


class History:
    """Lists, newest first. `before` and `after` name an entry's `at`: what is older, or what is newer, next to it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._search = SearchIndex(db)

    async def made(
        self, user: str, guild: str | None, *, before: float | None = None, after: float | None = None, limit: int
    ) -> list[Entry]:
        """A person's finished jobs: in one server, or all of them."""
        here = "" if guild is None else "AND guild = :guild"
        return await self._page(
            f"SELECT job.*, seq AS at FROM job WHERE user = :user {here} AND {_MADE}",
            "seq", {"user": user, "guild": guild}, before, after, limit,
        )  # fmt: skip

    async def liked(
        self, user: str, guild: str | None, *, before: float | None = None, after: float | None = None, limit: int
    ) -> list[Entry]:
        """What a person likes: of one server, also of others there, or all of their own.

        Whoever shows it has to know whether they may still see it.
        """
        here = "AND job.user = :user" if guild is None else "AND job.guild = :guild"
        return await self._page(
            "SELECT job.*, favourite.id AS at FROM favourite CROSS JOIN job ON job.id = favourite.shown"
            f" WHERE favourite.user = :user {here} AND {_MADE}",
            "favourite.id", {"user": user, "guild": guild}, before, after, limit,
        )  # fmt: skip

    async def deleted(
        self, user: str, guild: str | None, *, before: float | None = None, after: float | None = None, limit: int
    ) -> list[Entry]:
        """What a person deleted themselves and may still take back: in one server, or everywhere."""
        here = "" if guild is None else "AND guild = :guild"
        return await self._page(
            "SELECT job.*, deleted_at AS at FROM job WHERE user = :user AND deleted_by = 'member' AND state = 'done'"
            f" AND deleted_at > :old {here}",
            "deleted_at", {"user": user, "guild": guild, "old": self._db.clock() - KEPT_SECONDS}, before, after, limit,
        )  # fmt: skip

    async def rows(self, numbers: Sequence[int]) -> list[Entry]:
        """The finished jobs with these numbers, in this order; those that are deleted are left out."""
        marks = ", ".join(str(int(number)) for number in numbers)
        found = await self._db.read(f"SELECT job.*, seq AS at FROM job WHERE seq IN ({marks}) AND {_MADE}")
        by_number = {row["at"]: Entry(job=job_of(row), at=row["at"]) for row in found}
        return [by_number[number] for number in numbers if number in by_number]

    async def likes(self, user: str, jobs: Sequence[Job]) -> set[str]:
        """The ids of those of these jobs that this person likes."""
        found = set()
        for job in jobs:
            about, number = picture_of(job)
            rows = await self._db.read(
                "SELECT 1 FROM favourite WHERE user = :user AND job = :job AND number = :number",
                {"user": user, "job": about, "number": number},
            )
            found |= {job.id} if rows else set()
        return found

    async def like(self, user: str, job: Job, *, like: bool | None = None) -> bool:
        """Likes it, or does not any more; None: the other way round. Returns how it is now."""
        about, number = picture_of(job)
        params = {"user": user, "job": about, "number": number, "shown": job.id, "now": self._db.clock()}
        async with self._db.transaction() as tx:
            if like is not True:
                sql = "DELETE FROM favourite WHERE user = :user AND job = :job AND number = :number RETURNING id"
                if await tx.one(sql, params) is not None or like is False:
                    return False
            await tx.execute(
                "INSERT INTO favourite (user, job, number, shown, at) VALUES (:user, :job, :number, :shown, :now)"
                " ON CONFLICT DO NOTHING",
                params,
            )
        return True

    async def delete(self, job: str, *, by_moderator: bool) -> None:
        """Hides it, its pictures too. A moderator's word holds whoever else deletes it, before or after."""
        now = round(self._db.clock(), 3)  # as a button of a list can say it
        params = {"job": job, "by": "moderator" if by_moderator else "member", "now": now}
        async with self._db.transaction() as tx:
            await tx.execute(
                "UPDATE job SET deleted_at = coalesce(deleted_at, :now),"
                " deleted_by = iif(deleted_by = 'moderator', deleted_by, :by) WHERE id = :job",
                params,
            )
            await tx.execute(
                "UPDATE picture SET forgotten = 1, deleted_at ="
                " (SELECT iif(deleted_by = 'member', deleted_at, NULL) FROM job WHERE id = :job) WHERE job = :job",
                params,
            )

    async def take_back(self, job: str, user: str) -> Job | None:
        """Undoes the person's own delete; None where it is too late, or not theirs to undo."""
        params = {"job": job, "user": user, "old": self._db.clock() - KEPT_SECONDS}
        async with self._db.transaction() as tx:
            row = await tx.one(
                "UPDATE job SET deleted_at = NULL, deleted_by = NULL"
                " WHERE id = :job AND user = :user AND deleted_by = 'member' AND deleted_at > :old RETURNING *",
                params,
            )
            if row is not None:
                await tx.execute("UPDATE picture SET forgotten = 0, deleted_at = NULL WHERE job = :job", params)
                sql = (
                    "UPDATE delivery SET note = NULL WHERE job = :job AND state = 'undeliverable' AND note = 'deleted'"
                )
                await tx.execute(sql, params)
        return None if row is None else job_of(row)

    async def message_gone(self, job: str) -> None:
        """Nothing shows it any more."""
        async with self._db.transaction() as tx:
            await tx.execute("UPDATE job SET message = NULL WHERE id = :job", {"job": job})
            await tx.execute("DELETE FROM posting WHERE job = :job", {"job": job})

    async def postings(self, job: str) -> list[Posting]:
        """Messages that showed it before it was shown elsewhere."""
        rows = await self._db.read("SELECT guild, channel, message FROM posting WHERE job = :job", {"job": job})
        return [Posting(guild=row["guild"], channel=row["channel"], message=row["message"]) for row in rows]

    async def about_to_show(self, job: str, *, guild: str | None, channel: str, message: str) -> None:
        """This message will show it too: whatever happens until `moved`, Delete finds it."""
        async with self._db.transaction() as tx:
            await tx.execute(
                "INSERT INTO posting (job, guild, channel, message, at)"
                " VALUES (:job, :guild, :channel, :message, :now) ON CONFLICT DO NOTHING",
                {"job": job, "guild": guild, "channel": channel, "message": message, "now": self._db.clock()},
            )

    async def moved(self, job: str, *, guild: str | None, channel: str, message: str) -> bool:
        """It is shown in this message from now on, and who can read its channel may see it; what was not posted is.

        In a direct message a server's job is only shown beside: it stays where it is. False: somebody has deleted it
        meanwhile.
        """
        params = {"job": job, "guild": guild, "channel": channel, "message": message, "now": self._db.clock()}
        async with self._db.transaction() as tx:
            before = await tx.one(f"SELECT * FROM job WHERE id = :job AND {_MADE}", params)
            if before is None:
                return False
            if guild is None and before["guild"] is not None:
                await tx.execute(
                    "INSERT INTO posting (job, guild, channel, message, at)"
                    " VALUES (:job, :guild, :channel, :message, :now) ON CONFLICT DO NOTHING",
                    params,
                )
                return True
            await tx.execute(
                "INSERT INTO posting (job, guild, channel, message, at) SELECT id, guild, channel, message, :now"
                " FROM job WHERE id = :job AND message IS NOT NULL ON CONFLICT DO NOTHING",
                params,
            )
            after = await tx.one(
                "UPDATE job SET guild = :guild, channel = :channel, message = :message, private = 0, token = '',"
                " token_expires_at = 0.0 WHERE id = :job RETURNING *",
                params,
            )
            assert after is not None
            await tx.execute("DELETE FROM posting WHERE job = :job AND message = :message", params)
            await self._search.moved(tx, before, after)
            await tx.execute(
                "UPDATE delivery SET state = 'posted', message = :message, note = NULL, settled_at = :now"
                " WHERE job = :job AND state = 'pending'",
                params,
            )
            await tx.execute("UPDATE delivery SET told = 1 WHERE job = :job AND state <> 'posted'", params)
        return True

    async def _page(
        self, sql: str, column: str, params: dict[str, str | float | None], before: float | None, after: float | None,
        limit: int,
    ) -> list[Entry]:  # fmt: skip
        beyond = f"AND {column} > :after" if after is not None else f"AND {column} < :before"
        order = f"ORDER BY {column} {'ASC' if after is not None else 'DESC'} LIMIT :limit"
        top = before if before is not None else 1e18
        rows = await self._db.read(f"{sql} {beyond} {order}", params | {"before": top, "after": after, "limit": limit})
        entries = [_entry(row) for row in rows]
        return entries[::-1] if after is not None else entries


def picture_of(job: Job) -> tuple[str, int]:
    """What is liked: a crop's picture is its source's; of other jobs all pictures together."""
    if job.kind is Kind.CROP and job.source is not None:
        return job.source.job, job.source.index
    return job.id, -1


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(job=job_of(row), at=row["at"])
