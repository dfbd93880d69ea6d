"""One spelling for what looks the same: full-width and fancy letters, accents, what cannot be seen, other scripts.

Pure. Knows no word: what a text may say is decided elsewhere.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

#: Invisible, though Unicode counts them among letters, marks and signs: joiners, fillers, selectors.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
#: Letters that are a Latin one with something to it: `ł`, `ɴ`, `🅽`, `ı`.
_VARIANT = re.compile(
    r"(?:NEGATIVE (?:CIRCLED|SQUARED) )?LATIN (?:CAPITAL |SMALL )?LETTER "
    r"(?:SMALL CAPITAL |DOTLESS |SCRIPT |LONG )?(?P<letter>[A-Z])(?: WITH [A-Z ]+)?"
)
_LETTERS = re.compile(r"[^\W\d_]+")

# What each letter looks like: a small one and its capital may look like different letters.
_CYRILLIC = dict(
    zip(
        "аАвВгеЕкКмМнНоОпрРсСтТуУхХіІјЈѕЅһҺԁԚԛԜԝӏӀѵѴьүҮ",
        "aAbBreEkKmMhHoOnpPcCtTyYxXiIjJsShHdQqWwlIvVbyY",
        strict=True,
    )
)
_GREEK = dict(zip("αΑΒεΕΖηΗιΙκΚΜνΝοΟρΡσςτΤυΥχΧγωϲϹϳͿ", "aABeEZnHiIkKMvNoOpPocTTuYxXywcCjJ", strict=True))
_ARMENIAN = dict(zip("ԱԼՕՏՍօոսհցզյ", "ULOSUonuhgqj", strict=True))
_CHEROKEE = dict(zip("ᎠᎡᎢᎪᎫᎬᎳᎷᎻᏀᏂᏃᏏᏒᏔᏙᏚᏞᏟᏢᏦᏩᏴ", "DRTAJEWMHGhZbRWVSLCPKGB", strict=True))
_SCRIPTS: tuple[Mapping[str, str], ...] = (_CYRILLIC, _GREEK, _ARMENIAN, _CHEROKEE)
_TO_LATIN = {letter: latin for script in _SCRIPTS for letter, latin in script.items()}
#: The reverse, for a word of another script that has a Latin letter in it; of several that look like it the first.
_FROM_LATIN = [{latin: letter for letter, latin in reversed(script.items())} for script in (_CYRILLIC, _GREEK)]


def spellings(text: str) -> set[str]:
    """The text in small letters, in each way that a reader may take it; mostly one.

    Invisible characters are left out, or are blanks. A word of mixed scripts is written in either. One that has only
    letters that look like Latin ones is Latin among Latin words, unless the text has other words in its script.
    """
    if text.isascii():
        return {text.casefold()}
    found = set()
    for instead in ("", " "):
        bare = _bare(text, instead)
        found |= {bare, _in_latin(bare), *(_in_script(bare, table) for table in _FROM_LATIN)}
    return {unicodedata.normalize("NFKC", words.casefold()) for words in found}


def _bare(text: str, unseen: str) -> str:
    """Without accents and fancy forms; `unseen` stands for what cannot be seen."""
    decomposed = unicodedata.normalize("NFKD", text)
    return decomposed.translate({ord(c): _one(c, unseen) for c in set(decomposed) if not c.isascii()})


def _one(character: str, unseen: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cf", "Cc", "Cn") or _UNSEEN.match(character):
        return unseen
    if category == "Mn" and _is_accent(unicodedata.combining(character)):
        return ""
    return _variant(character)


def _is_accent(combining: int) -> bool:
    """Above, below and through letters, and the points of Hebrew and Arabic; in other scripts marks are vowels."""
    return combining == 1 or 10 <= combining <= 35 or combining >= 200


@lru_cache(maxsize=4096)
def _variant(character: str) -> str:
    match = _VARIANT.fullmatch(unicodedata.name(character, ""))
    return match["letter"].lower() if match else character


def _in_latin(bare: str) -> str:
    letters = {c for c in set(bare) if c.isalpha()}
    written = {_script(c) for c in letters if not c.isascii() and c not in _TO_LATIN}
    among_latin = any(c.isascii() for c in letters)

    def word(match: re.Match[str]) -> str:
        foreign = {c for c in match[0] if not c.isascii()}
        disguised = foreign <= _TO_LATIN.keys() and (
            any(c.isascii() for c in match[0]) or (among_latin and not written & {_script(c) for c in foreign})
        )
        return "".join(_TO_LATIN.get(c, c) for c in match[0]) if foreign and disguised else match[0]

    return _LETTERS.sub(word, bare)


def _in_script(bare: str, from_latin: Mapping[str, str]) -> str:
    """Words that are partly in that script wholly in it."""
    script = _script(next(iter(from_latin.values())))

    def word(match: re.Match[str]) -> str:
        latin = {c for c in match[0] if c.isascii()}
        mixed = latin and latin <= from_latin.keys() and all(c in latin or _script(c) == script for c in match[0])
        return "".join(from_latin.get(c, c) for c in match[0]) if mixed and len(latin) < len(match[0]) else match[0]

    return _LETTERS.sub(word, bare)


def _script(letter: str) -> str:
    """The first word of its name is its script's."""
    return unicodedata.name(letter, "").partition(" ")[0]
