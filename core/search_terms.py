"""What a prompt can be found by, and what a search looks for. Pure: knows no index and no jobs.

Three characters that follow one another are the index's own matter (storage/search.py). Shorter terms are found here:
words of one or two letters where blanks part words, and each character and pair of characters in scripts without.
"""

import unicodedata

#: Terms shorter than this are found by `short_terms`.
LONG = 3
_MOST_TERMS = 12
#: Characters of a prompt that are searchable: what comes later has been said by then.
MOST_CHARACTERS = 2000
#: Characters that mean nothing by themselves: an index may use them as signs of its own. No text is found by them.
PRIVATE = range(0xE000, 0xF900)
_UNHEARD = dict.fromkeys([0, *PRIVATE], " ")


def normal(text: str) -> str:
    """As texts are compared: one form of each character, no capitals, single blanks."""
    plain = unicodedata.normalize("NFKC", text).translate(_UNHEARD).casefold()
    return " ".join(plain.split())[:MOST_CHARACTERS]


def short_terms(text: str) -> tuple[str, ...]:
    """The terms of one or two characters that a text (`normal`) is found by, each once."""
    found: dict[str, None] = {}
    word = ""
    before = ""
    for character in [*text, " "]:
        if _is_unspaced(character):
            found[character] = None
            if before:
                found[before + character] = None
        elif character.isalnum():
            word += character
        before = character if _is_unspaced(character) else ""
        if not character.isalnum() or before:
            if 0 < len(word) < LONG:
                found[word] = None
            word = ""
    return tuple(found)


def _is_unspaced(character: str) -> bool:
    """A character of a script that puts no blanks between words, or that has no capitals; a sign, an emoji."""
    return not (character.isascii() or character.isspace() or character.lower() != character.upper())


def terms_of(wanted: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a search for these words looks for, all of it: long terms, and short ones. Both empty: nothing to find."""
    long: dict[str, None] = {}
    short: dict[str, None] = {}
    for term in normal(wanted).split()[:_MOST_TERMS]:
        if len(term) >= LONG:
            long[term] = None
        else:
            short |= dict.fromkeys(_longest(short_terms(term)))
    return tuple(long), tuple(short)


def _longest(terms: tuple[str, ...]) -> tuple[str, ...]:
    """Of a pair and its characters, the pair."""
    pairs = tuple(term for term in terms if len(term) > 1)
    return pairs or terms
