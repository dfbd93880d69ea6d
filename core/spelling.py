"""Finds the right word near a wrong one, reads signs in all their shapes, writes words so that they stay words.

Knows no parameter.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from heapq import nlargest

_LONGEST_QUOTE = 60
#: Words that are compared letter by letter; there may be tens of thousands of LoRAs.
_MOST_COMPARED = 300
#: So many letters at the beginning of one word alone are enough to know it by.
_SHORTEST_START = 3
#: What stands for a hyphen on some keyboard, phone or editor: Unicode's dashes, the minus signs, the box and the bullet
#: that are drawn like them, and the long vowel of kana, which is typed with the same key.
DASHES = (
    "-\u058a\u05be\u1400\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u2e5d\u301c\u3030"
    "\u30a0\ufe31\ufe32\ufe58\ufe63\uff0d\U00010ead"
    "\u2212\u207b\u208b\u02d7\u2796\u2043\u2500\u2501\u30fc\uff70"
)
#: To what a keyboard without them has, one character for one: full-width signs, letters and digits, ratios, dashes.
_PLAIN: Mapping[int, int | str] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys(map(ord, DASHES), "-"),
    **str.maketrans("\u3000\u3001\u2236\u2215\u2044\u00d7", " ,://x"),
}


def plain_signs(text: str) -> str:
    """The text as a plain keyboard has it, each character in its place: full-width signs, and dashes as hyphens.

    >>> plain_signs("――ａｒ　１６：９")
    '--ar 16:9'
    """
    return text.translate(_PLAIN)


#: What ends a line or moves a terminal's cursor, and the halves of characters that names of files can have in them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def nearest(word: str, right: Iterable[str], *, near: float = 0.6) -> str | None:
    """The one of `right` that `word` was probably meant to be, or None when nothing is near (1 = the same)."""
    typed, words = word.lower()[:_LONGEST_QUOTE], list(right)
    if len(words) > _MOST_COMPARED:
        words = nlargest(_MOST_COMPARED, words, key=lambda other: _ends_alike(typed, other))
    if found := difflib.get_close_matches(typed, words, n=1, cutoff=near):
        return found[0]
    if swapped := [other for other in words if len(typed) >= _SHORTEST_START and sorted(other) == sorted(typed)]:
        return swapped[0]
    begun = [other for other in words if len(typed) >= _SHORTEST_START and other.startswith(typed)]
    return begun[0] if len(begun) == 1 else None


def _ends_alike(one: str, other: str) -> int:
    """So many letters are the same at the beginning and at the end."""
    return _begins_alike(one, other) + _begins_alike(one[::-1], other[::-1])


def _begins_alike(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


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
