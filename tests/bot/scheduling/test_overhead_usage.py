"""GPU time that no job pays is booked by its causes, of which there are few."""

from pathlib import Path

from bot.scheduling.overhead_usage import OverheadUsage
from storage.database import Database
from storage.ledger import Ledger


async def test_however_many_causes_workers_name_few_are_booked_and_no_time_is_lost(tmp_path: Path) -> None:
    async with Database.open(tmp_path) as db:
        overhead = OverheadUsage(Ledger(db))
        for number in range(1000):
            overhead.add(f"cause {number}", 2)
        await overhead.book()
        (row,) = await db.read("SELECT count(*) AS rows, sum(gpu_ms) AS ms FROM usage")
    assert row["rows"] <= 33 and row["ms"] == 2000
