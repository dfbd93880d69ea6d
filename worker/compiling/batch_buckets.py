"""Row counts that are worth a compiled forward, and how any count is served by them. Pure: knows nothing of tensors."""

from collections.abc import Collection
from dataclasses import dataclass

#: Few enough to compile, near enough to each other. A grid of four with guidance is 8 rows, without 4.
BUCKETS = (1, 2, 4, 8, 12, 16, 24, 32)
#: Rows of padding for each real one, at most: a compiled forward gains about this much over an eager one.
MAX_PADDING = 1 / 3
#: More forwards than this for one step would lose again what compiling gains.
MAX_PIECES = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """`rows` real rows in a forward for `bucket` rows."""

    rows: int
    bucket: int

    @property
    def padding(self) -> int:
        """Rows that nobody ordered."""
        return self.bucket - self.rows


def pieces(rows: int, ready: Collection[int] = BUCKETS) -> tuple[Piece, ...]:
    """How `rows` are served by the buckets that are ready; empty when they are better served without."""
    if rows < 1:
        return ()
    return _pieces(rows, sorted(ready), MAX_PIECES)


def _pieces(rows: int, ready: list[int], most: int) -> tuple[Piece, ...]:
    around = next((bucket for bucket in ready if bucket >= rows), 0)
    if around and around - rows <= MAX_PADDING * rows:
        return (Piece(rows, around),)
    below = [bucket for bucket in ready if bucket <= rows]
    if not below or most == 1:
        return ()
    rest = _pieces(rows - below[-1], ready, most - 1)
    return (Piece(below[-1], below[-1]), *rest) if rest else ()
