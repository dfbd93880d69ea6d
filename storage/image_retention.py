"""Which pictures are kept, which may go. Knows file names and sizes; never touches a file."""

import sqlite3
from dataclasses import dataclass

from storage.database import Database, Tx
from storage.history import KEPT_SECONDS

#: A deleted picture that was drawn again for another job stays so long after its last use: jobs use it in steps.
FORGOTTEN_SECONDS = 3600.0
#: Pictures that are looked for at once.
MOST_AT_ONCE = 50

# Jobs that live or whose result is on its way: few, however many have been. Their pictures and sources stay.
_BUSY = (
    "SELECT id, source_job, source_index FROM job WHERE finished_at IS NULL UNION ALL"
    " SELECT id, source_job, source_index FROM delivery CROSS JOIN job ON job.id = delivery.job"
    " WHERE delivery.state = 'pending'"
)
_FREE = (
    "picture.job NOT IN (SELECT id FROM busy) AND (picture.job, picture.number) NOT IN"
    " (SELECT source_job, source_index FROM busy WHERE source_job IS NOT NULL)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Picture `index` (0-based) of a job. `pruned`: its file is gone; it can be rendered again from the job's row."""

    job: str
    index: int
    file: str  # a name inside the pictures folder
    bytes: int
    sha256: str
    pruned: bool


class ImageRetention:
    """The rows of finished pictures, with when each was used last."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, job: str, index: int, file: str, size: int, sha256: str, *, tx: Tx | None = None) -> None:
        """Notes that a picture's file is on the disk: new, the same once more, or rendered again after pruning.

        Of a job that somebody deleted meanwhile it is a deleted one.
        """
        params = {"job": job, "number": index, "file": file, "bytes": size, "sha256": sha256, "now": self._db.clock()}
        sql = (
            "INSERT INTO picture (job, number, file, bytes, sha256, created_at, used_at, forgotten, deleted_at)"
            " SELECT id, :number, :file, :bytes, :sha256, :now, :now, deleted_at IS NOT NULL,"
            " iif(deleted_by = 'member', deleted_at, NULL) FROM job WHERE id = :job"
            " ON CONFLICT (job, number) DO UPDATE"
            " SET file = excluded.file, bytes = excluded.bytes, sha256 = excluded.sha256, pruned = 0, used_at = :now"
        )
        if tx is not None:
            await tx.execute(sql, params)
            return
        async with self._db.transaction() as own:
            await own.execute(sql, params)

    async def of(self, job: str) -> list[Picture]:
        """A job's pictures in order, pruned ones too."""
        rows = await self._db.read("SELECT * FROM picture WHERE job = :job ORDER BY number", {"job": job})
        return [_picture(row) for row in rows]

    async def get(self, job: str, index: int) -> Picture | None:
        """One picture's row."""
        rows = await self._db.read(
            "SELECT * FROM picture WHERE job = :job AND number = :number", {"job": job, "number": index}
        )
        return _picture(rows[0]) if rows else None

    async def total_bytes(self) -> int:
        """What the kept pictures take on the disk."""
        return int((await self._db.read("SELECT bytes FROM kept"))[0]["bytes"])

    async def prune_candidates(self, over_bytes: int) -> list[Picture]:
        """Kept pictures to let go, deleted ones first, then the longest unused, until `over_bytes` are free.

        MOST_AT_ONCE, no more. With them go those that nobody can take back any more: a week after they were deleted,
        and an hour after they were drawn again and used.
        Never one of a job that lives or is not delivered yet, nor the source of such a job: a crop shows its source.
        """
        rows = await self._db.survey(
            f"WITH busy AS ({_BUSY}),"
            " oldest AS (SELECT *, 1 AS turn FROM picture WHERE :over > 0 AND pruned = 0"
            f"  AND {_FREE} ORDER BY used_at, job, number LIMIT :most),"
            " hidden AS (SELECT *, 0 AS turn FROM picture WHERE :over > 0 AND pruned = 0 AND forgotten = 1"
            f"  AND {_FREE} ORDER BY coalesce(deleted_at, 0.0), used_at LIMIT :most),"
            " first AS (SELECT * FROM hidden UNION ALL SELECT * FROM oldest WHERE forgotten = 0),"
            " going AS (SELECT job, number, sum(bytes) OVER (ORDER BY turn, used_at, job, number) - bytes AS before"
            "  FROM first),"
            " deleted AS (SELECT job, number FROM picture WHERE pruned = 0 AND forgotten = 1"
            f"  AND coalesce(deleted_at, 0.0) < :week AND used_at < :old AND {_FREE} LIMIT :most)"
            " SELECT picture.* FROM picture JOIN"
            "  (SELECT job, number FROM going WHERE before < :over UNION SELECT job, number FROM deleted)"
            "  USING (job, number) ORDER BY used_at, job, number",
            {
                "over": over_bytes,
                "old": self._db.clock() - FORGOTTEN_SECONDS,
                "week": self._db.clock() - KEPT_SECONDS,
                "most": MOST_AT_ONCE,
            },
        )
        return [_picture(row) for row in rows]

    async def mark_pruned(self, job: str, index: int) -> None:
        """Its file is about to go (mark first: a row without a file is worse than a file without a row)."""
        await self._set("pruned = 1", job, index)

    async def forget(self, job: str) -> None:
        """Its files are about to go for good: drawn again, they are kept no longer than needed."""
        async with self._db.transaction() as tx:
            await tx.execute(
                "UPDATE picture SET pruned = 1, forgotten = 1, deleted_at = NULL WHERE job = :job", {"job": job}
            )

    async def touch(self, job: str, index: int) -> None:
        """It was used just now."""
        await self._set("used_at = :now", job, index)

    async def _set(self, change: str, job: str, index: int) -> None:
        async with self._db.transaction() as tx:
            await tx.execute(
                f"UPDATE picture SET {change} WHERE job = :job AND number = :number",
                {"job": job, "number": index, "now": self._db.clock()},
            )


def _picture(row: sqlite3.Row) -> Picture:
    return Picture(
        job=row["job"],
        index=row["number"],
        file=row["file"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        pruned=bool(row["pruned"]),
    )
