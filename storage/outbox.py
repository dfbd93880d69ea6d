"""The outbox: what Discord still has to be told, and what it was told. Posts nothing; knows no network.

`begin` before the request, `posted` after it. A process that dies between the two finds `tries` > 0 and the same `way`
again, so it can look for its own message before it posts a second one.
"""

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from storage.database import Database, Tx

#: What could not be posted is told of for so long.
TOLD_FOR_SECONDS = 30 * 86_400.0
#: No delivery is put off for longer.
LONGEST_BACKOFF_SECONDS = 300.0
#: The note of what somebody deleted.
_DELETED = "deleted"
_OPEN = "job = :job AND state = 'pending' AND note IS NOT :deleted"


_UNTOLD = "FROM delivery WHERE user = :user AND late_at > :old AND told = 0 AND state <> 'posted'"


class DeliveryKind(StrEnum):
    """What is to be told."""

    RESULT = "result"
    FAILURE = "failure"
    CANCELLED = "cancelled"


class Way(StrEnum):
    """How it reaches its message: by editing the progress message, or as a new one that mentions the requester."""

    EDIT = "edit"
    NEW = "new"


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    POSTED = "posted"
    UNDELIVERABLE = "undeliverable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row of the outbox."""

    job: str
    kind: DeliveryKind
    state: DeliveryState
    way: Way | None
    tries: int
    next_try_at: float
    message: str | None
    note: str | None
    late_at: float | None = None  # since when they have to hear of it otherwise
    told: bool = False  # they have
    told_channel: str | None = None  # of the direct message that it came as, where its own channel was closed
    told_message: str | None = None

    @property
    def is_deleted(self) -> bool:
        """Somebody deleted it; where it is pending all the same, a message of it may be there."""
        return self.note == _DELETED

    @property
    def is_posted(self) -> bool:
        """Discord has it where it was asked for."""
        return self.state is DeliveryState.POSTED


class Outbox:
    """See the module. A method that returns False or None found nothing pending: it is settled already."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, tx: Tx, job: str, kind: DeliveryKind) -> None:
        """Puts a job's end into the outbox, in the transaction that ends the job."""
        await tx.execute(
            "INSERT INTO delivery (job, kind, user, next_try_at, created_at)"
            " SELECT id, :kind, user, :now, :now FROM job WHERE id = :job",
            {"job": job, "kind": kind, "now": self._db.clock()},
        )

    async def undelivered(self, now: float, limit: int = 1000) -> list[Delivery]:
        """What is due, longest due first; many, since those of a channel that is slow come first for a while.

        A time further away than any backoff is a clock's that was set back since.
        """
        rows = await self._db.read(
            "SELECT * FROM delivery WHERE state = 'pending' AND (next_try_at <= :now OR next_try_at > :now + :far) "
            "ORDER BY next_try_at LIMIT :limit",
            {"now": now, "far": LONGEST_BACKOFF_SECONDS, "limit": limit},
        )
        return [_delivery(row) for row in rows]

    async def next_due(self) -> float | None:
        """When the next delivery is due; None when nothing is pending."""
        rows = await self._db.read("SELECT min(next_try_at) AS at FROM delivery WHERE state = 'pending'")
        return None if rows[0]["at"] is None else float(rows[0]["at"])

    async def get(self, job: str) -> Delivery | None:
        """A job's delivery."""
        rows = await self._db.read("SELECT * FROM delivery WHERE job = :job", {"job": job})
        return _delivery(rows[0]) if rows else None

    async def begin(self, job: str, way: Way) -> Delivery | None:
        """Notes that a try begins, before anything is sent. The way of the first try stays."""
        return await self._change(job, "tries = tries + 1, way = coalesce(way, :way)", way=way)

    async def posted(self, job: str, message: str) -> bool:
        """Discord has it, in this message, which is the job's from now on."""
        async with self._db.transaction() as tx:
            done = await tx.one(
                "UPDATE delivery SET state = 'posted', message = :message, note = NULL, settled_at = :now"
                f" WHERE {_OPEN} RETURNING job",
                {"job": job, "message": message, "now": self._db.clock(), "deleted": _DELETED},
            )
            if done is not None:
                await tx.execute("UPDATE job SET message = :message WHERE id = :job", {"job": job, "message": message})
        return done is not None

    async def sent(self, job: str, message: str, at: float, note: str) -> bool:
        """Discord has it, in this message, but the progress message still stands beside it; its removal is tried again.

        The tries begin anew: from now on they count removals.
        """
        changes = "tries = iif(message IS NULL, 0, tries), message = :message, next_try_at = :at, note = :note"
        return await self._change(job, changes, message=message, at=at, note=note) is not None

    async def retry(self, job: str, at: float, note: str) -> bool:
        """This try failed for a reason that may pass; `note` says which."""
        return await self._change(job, "next_try_at = :at, note = :note", at=at, note=note) is not None

    async def change_way(self, job: str, way: Way) -> Delivery | None:
        """The first way turned out to be closed (its message is gone, or too old to be looked at): now the other."""
        return await self._change(job, "way = :way", way=way)

    async def undeliverable(self, job: str, note: str) -> bool:
        """It will never reach Discord; whoever asked is told at the next chance."""
        changes = "state = 'undeliverable', note = :note, settled_at = :now, late_at = coalesce(late_at, :now)"
        return await self._change(job, changes, note=note, now=self._db.clock()) is not None

    async def late(self, job: str) -> bool:
        """It is still tried, but whoever asked has to hear of it by another door."""
        return await self._change(job, "late_at = coalesce(late_at, :now)", now=self._db.clock()) is not None

    async def deleted(self, job: str) -> None:
        """Somebody deleted it: there is nothing to tell any more, nor to keep of what is on its way by any door.

        Where a try may have got through, or still may, it is pending until somebody has looked for its message.
        """
        looked_for = "(state = 'pending' AND way = 'new' AND tries > 0 AND message IS NULL)"
        async with self._db.transaction() as tx:
            await tx.execute(
                f"UPDATE delivery SET state = iif({looked_for}, 'pending', 'undeliverable'), note = :deleted, told = 1,"
                f" settled_at = iif({looked_for}, NULL, coalesce(settled_at, :now)), next_try_at = :now"
                " WHERE job = :job AND state <> 'posted'",
                {"job": job, "deleted": _DELETED, "now": self._db.clock()},
            )

    async def look_again(self, job: str, at: float) -> None:
        """What was deleted is to be looked for later."""
        async with self._db.transaction() as tx:
            await tx.execute(
                "UPDATE delivery SET next_try_at = :at, tries = tries + 1 WHERE job = :job AND state = 'pending'",
                {"job": job, "at": at},
            )

    async def gone(self, job: str) -> None:
        """Nothing of what was deleted is shown any more."""
        async with self._db.transaction() as tx:
            await tx.execute(
                "UPDATE delivery SET state = 'undeliverable', settled_at = :now"
                " WHERE job = :job AND state = 'pending' AND note = :deleted",
                {"job": job, "deleted": _DELETED, "now": self._db.clock()},
            )

    async def untold(self, user: str, limit: int = 12) -> list[Delivery]:
        """This person's results that could not be posted, or not yet, and that they have not heard of; oldest first.

        So many, no more; `count_untold` says how many there are.
        """
        rows = await self._db.read(f"SELECT * {_UNTOLD} ORDER BY late_at LIMIT :limit", self._late(user, limit))
        return [_delivery(row) for row in rows]

    async def count_untold(self, user: str, most: int = 1000) -> int:
        """How many there are of them, counted up to `most`."""
        rows = await self._db.read(
            f"SELECT count(*) AS untold FROM (SELECT 1 {_UNTOLD} LIMIT :limit)", self._late(user, most)
        )
        return int(rows[0]["untold"])

    async def told(self, job: str) -> None:
        """They have heard of it now."""
        async with self._db.transaction() as tx:
            await tx.execute("UPDATE delivery SET told = 1 WHERE job = :job", {"job": job})

    async def told_by(self, job: str, channel: str, message: str) -> bool:
        """They have it as this direct message; False: it was deleted meanwhile."""
        async with self._db.transaction() as tx:
            row = await tx.one(
                "UPDATE delivery SET told = 1, told_channel = :channel, told_message = :message"
                " WHERE job = :job AND note IS NOT :deleted RETURNING job",
                {"job": job, "channel": channel, "message": message, "deleted": _DELETED},
            )
        return row is not None

    def _late(self, user: str, limit: int) -> dict[str, str | float]:
        return {"user": user, "old": self._db.clock() - TOLD_FOR_SECONDS, "limit": limit}

    async def _change(self, job: str, changes: str, **params: str | float) -> Delivery | None:
        async with self._db.transaction() as tx:
            row = await tx.one(
                f"UPDATE delivery SET {changes} WHERE {_OPEN} RETURNING *",
                {"job": job, "deleted": _DELETED, **params},
            )
        return None if row is None else _delivery(row)


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        job=row["job"],
        kind=DeliveryKind(row["kind"]),
        state=DeliveryState(row["state"]),
        way=None if row["way"] is None else Way(row["way"]),
        tries=row["tries"],
        next_try_at=row["next_try_at"],
        message=row["message"],
        note=row["note"],
        late_at=row["late_at"],
        told=bool(row["told"]),
        told_channel=row["told_channel"],
        told_message=row["told_message"],
    )
