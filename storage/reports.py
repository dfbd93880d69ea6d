"""What people report to the owners. Knows not who is told, nor what is done about it."""

from storage.database import Database

DAY_SECONDS = 86_400.0


class Reports:
    """One report of a job by each person."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, job: str, user: str, reason: str) -> bool:
        """Notes it; False where this person has reported this job before."""
        params = {"job": job, "user": user, "reason": reason, "now": self._db.clock()}
        async with self._db.transaction() as tx:
            row = await tx.one(
                "INSERT INTO report (job, user, reason, at) VALUES (:job, :user, :reason, :now)"
                " ON CONFLICT DO NOTHING RETURNING job",
                params,
            )
        return row is not None

    async def today(self, user: str) -> int:
        """How many this person has made in the last day."""
        rows = await self._db.read(
            "SELECT count(*) AS n FROM report WHERE user = :user AND at > :since",
            {"user": user, "since": self._db.clock() - DAY_SECONDS},
        )
        return int(rows[0]["n"])
