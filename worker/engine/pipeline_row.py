"""A job whose model shares its forwards with nobody, in a row's place: it takes turns like one, and steps by itself.

Here is also what a turn does with either. Knows nothing of pipelines; `interfaces.py` says what a run is.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from worker.engine.batch import Batch, Row
from worker.interfaces import Family, GenerationRun


@dataclass(slots=True, eq=False, kw_only=True)
class PipelineRow:
    """All pictures of one job."""

    job: str
    run: GenerationRun
    key: Hashable = field(default_factory=object)  # no other row has it
    forwards: int = 1

    @property
    def done(self) -> int:
        """Steps taken."""
        return self.run.done

    @property
    def steps(self) -> int:
        """Steps that it takes."""
        return self.run.steps

    @property
    def is_done(self) -> bool:
        """True when its last step was taken."""
        return self.done >= self.steps


def advance(rows: Sequence[Row | PipelineRow], family: Family) -> None:
    """One step of rows that share a key. A `PipelineRow` shares its own with nobody."""
    if isinstance(rows[0], PipelineRow):
        rows[0].run.advance()
    else:
        Batch.of([row for row in rows if isinstance(row, Row)]).advance(family)


def shares(rows: Sequence[Row | PipelineRow]) -> dict[str, int]:
    """Forwards × pixels of each job; rows of one batch have the same size, so the forwards decide."""
    found: dict[str, int] = {}
    for row in rows:
        found[row.job] = found.get(row.job, 0) + row.forwards
    return found
