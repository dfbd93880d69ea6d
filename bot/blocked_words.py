"""Finds the owner's blocked words in a text, as a model's tokenizer takes it apart. Pure: knows no person and no rule.

A tokenizer parts letters from digits and from signs: `naked1` is the word and a digit, `bad, phrase` and `bad-phrase`
are two words in a row. It looks for whole words, so that a blocked one inside another word does no harm; scripts that
are written without blanks are looked through letter by letter. Time grows with the text, not with the list.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from bot.lookalikes import spellings
from core.prompt_weights import without_signs

# On a copy of a text that has one letter for each kind of character (`_kind`): runs that are one word.
_WORD = re.compile(r"a[am]*+|k[km]*+|h++|0++|cm*+|m++")
_BLANKS = re.compile(r"[\s_]++")
#: What may stand between the words of a term; any other sign is meant as it stands.
_JOINERS = re.compile(r"[\s\-_'’.,/&·]*+")
#: Written without blanks between words: Thai to Myanmar, Khmer, hiragana, Chinese characters.
_UNSPACED = (
    (0x0E00, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3041, 0x309F), (0x3400, 0x9FFF), (0x20000, 0x3FFFF),
)  # fmt: skip
_KATAKANA, _HANGUL = (0x30A0, 0x30FF), (0xAC00, 0xD7FF)


class BlockedWords:
    """`terms`: words, phrases, and whatever has other signs than those between words, which is taken literally."""

    def __init__(self, terms: Iterable[str]) -> None:
        self._phrases: dict[str, list[tuple[str, ...]]] = {}
        self._literal: list[str] = []
        self._terms: dict[tuple[str, ...], str] = {}
        read = {spelling for term in terms for spelling in spellings(term, parted=False)}
        written = {_BLANKS.sub(" ", spelling).strip() for spelling in read}
        for term in sorted(written - {""}, key=lambda term: (-len(term), term)):
            words = tuple(_words(term)[0])
            if not words or not _JOINERS.fullmatch("".join(c for c in term if _kind(c) == ".")):
                self._literal.append(term)
            elif words not in self._terms:
                self._terms[words] = term
                self._phrases.setdefault(words[0], []).append(words)

    def find(self, text: str) -> str | None:
        """The first term that stands in the text, in the owner's spelling but for accents and capitals."""
        if not self._terms and not self._literal:
            return None
        for reading in _readings(text):
            words, plain = _words(reading)
            found = self._phrase(words) or (self._phrase(plain) if plain is not None else None)
            found = found or next((term for term in self._literal if _stands_in(reading, term)), None)
            if found is not None:
                return found
        return None

    def _phrase(self, words: list[str]) -> str | None:
        if self._phrases.keys().isdisjoint(words):
            return None
        for place, word in enumerate(words):
            for phrase in self._phrases.get(word, ()):
                if tuple(words[place : place + len(phrase)]) == phrase:
                    return self._terms[phrase]
        return None


def _readings(text: str) -> Iterator[str]:
    """The text as it stands, and as a model gets it: weights and brackets neither hide a word nor part a phrase."""
    seen = set()
    for spelling in sorted(spellings(text)):
        for reading in (spelling, without_signs(spelling, ""), without_signs(spelling, " ")):
            if reading not in seen:
                seen.add(reading)
                yield _BLANKS.sub(" ", reading)


def _words(reading: str) -> tuple[list[str], list[str] | None]:
    """The words, and those without numbers that hang on one, `bad1phrase`; None where there are no such numbers."""
    kinds = reading.translate({ord(c): _kind(c) for c in set(reading)})
    spans = [match.span() for match in _WORD.finditer(kinds)]
    words = [reading[start:end] for start, end in spans]
    if "0" not in kinds:
        return words, None
    ends, starts = {end for _, end in spans}, {start for start, _ in spans}
    hanging = [kinds[start] == "0" and (start in ends or end in starts) for start, end in spans]
    return words, [word for word, hangs in zip(words, hanging, strict=True) if not hangs]


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """a: a letter; k, h: one of katakana, of hangul; c: a letter that is a word; m: a mark; 0: a digit; else a sign."""
    category, code = unicodedata.category(character), ord(character)
    if category[0] == "N":
        return "0"
    if category[0] == "M":
        return "m"
    if any(low <= code <= high for low, high in _UNSPACED):
        return "c"
    if category[0] != "L":
        return "."
    return next((kind for kind, (low, high) in {"k": _KATAKANA, "h": _HANGUL}.items() if low <= code <= high), "a")


def _stands_in(reading: str, term: str) -> bool:
    """Whether a term with signs stands there; a letter at its edge is the edge of a word."""
    at = reading.find(term)
    while at >= 0:
        end = at + len(term)
        joined_before = at > 0 and term[0].isalnum() and reading[at - 1].isalnum()
        joined_behind = end < len(reading) and term[-1].isalnum() and reading[end].isalnum()
        if not joined_before and not joined_behind:
            return True
        at = reading.find(term, at + 1)
    return False
