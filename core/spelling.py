"""Finds the right word near a wrong one, and quotes words safely. Knows no parameter."""

import difflib
from collections.abc import Iterable

_LONGEST_QUOTE = 60


def nearest(word: str, right: Iterable[str]) -> str | None:
    """The one of `right` that `word` was probably meant to be, or None when nothing is near."""
    found = difflib.get_close_matches(word.lower()[:_LONGEST_QUOTE], list(right), n=1, cutoff=0.6)
    return found[0] if found else None


def quoted(word: str) -> str:
    """`word` as it may stand in a sentence: in a code span that nothing inside can leave, cut where it is long."""
    plain = " ".join(word.replace("`", "'").split())
    return f"`{plain[:_LONGEST_QUOTE]}…`" if len(plain) > _LONGEST_QUOTE else f"`{plain or ' '}`"
