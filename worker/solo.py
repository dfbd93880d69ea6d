"""A job whose model shares its forwards with nobody, in a row's place: it takes turns like one, and steps by itself.

Knows nothing of pipelines; `families/base.py` says what a run is.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from worker.families.base import Run


@dataclass(slots=True, eq=False, kw_only=True)
class Solo:
    """All pictures of one job."""

    job: str
    run: Run
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
