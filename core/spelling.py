"""Finds the right word near a wrong one, and quotes words safely. Knows no parameter."""

import difflib
from collections.abc import Iterable

_LONGEST_QUOTE = 60
#: So many letters at the beginning of one word alone are enough to know it by.
_SHORTEST_START = 3


def nearest(word: str, right: Iterable[str], *, near: float = 0.6) -> str | None:
    """The one of `right` that `word` was probably meant to be, or None when nothing is near (1 = the same)."""
    typed, words = word.lower()[:_LONGEST_QUOTE], list(right)
    if found := difflib.get_close_matches(typed, words, n=1, cutoff=near):
        return found[0]
    if swapped := [other for other in words if len(typed) >= _SHORTEST_START and sorted(other) == sorted(typed)]:
        return swapped[0]
    begun = [other for other in words if len(typed) >= _SHORTEST_START and other.startswith(typed)]
    return begun[0] if len(begun) == 1 else None


def quoted(word: str) -> str:
    """`word` as it may stand in a sentence: in a code span that nothing inside can leave, cut where it is long."""
    plain = " ".join(word.replace("`", "'").split())
    return f"`{plain[:_LONGEST_QUOTE]}…`" if len(plain) > _LONGEST_QUOTE else f"`{plain or ' '}`"
