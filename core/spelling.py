"""Finds the right word near a wrong one, and writes words so that they stay words. Knows no parameter."""

import difflib
import re
from collections.abc import Iterable

_LONGEST_QUOTE = 60
#: So many letters at the beginning of one word alone are enough to know it by.
_SHORTEST_START = 3
#: What ends a line or moves a terminal's cursor, and the halves of characters that names of files can have in them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


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


def printable(text: str) -> str:
    """On one line, and so that every file takes it: whatever would not be seen stands there by its number.

    >>> printable("two\\nlines")
    'two\\\\x0alines'
    """
    return _UNPRINTABLE.sub(lambda found: _numbered(ord(found[0])), text)


def is_text(text: str) -> bool:
    """False for the name of a file that is not UTF-8, as Python reads it: nothing can be told to others under it."""
    return not _SURROGATE.search(text)


def _numbered(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is part of no character
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
