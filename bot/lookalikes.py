"""One spelling for what looks the same: full-width and fancy letters, accents, what cannot be seen, other scripts.

Pure. Knows no word: what a text may say is decided elsewhere.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

#: Invisible, though Unicode counts them among letters, marks and signs: joiners, fillers, selectors.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
#: Whole sentences in one character, which no word is made of, and which would make a text many times as long.
_SENTENCES = str.maketrans("\ufdfa\ufdfb", "  ")
#: Letters that are a Latin one with something to it: `ł`, `ɴ`, `🅽`, `🇦`, `ı`.
_VARIANT = re.compile(
    r"(?:(?:NEGATIVE (?:CIRCLED|SQUARED) )?LATIN (?:CAPITAL |SMALL )?|REGIONAL INDICATOR SYMBOL )LETTER "
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
_COPTIC = dict(zip("ⲀⲁⲂⲈⲎⲒⲓⲔⲕⲘⲚⲞⲟⲢⲣⲤⲥⲦⲨⲬⲭ", "AaBEHIiKkMNOoPpCcTYXx", strict=True))
_LISU = dict(zip("ꓐꓑꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴ", "BPDTGKJCZFMNLSRVHWXYAEIOU", strict=True))
_SCRIPTS: tuple[Mapping[str, str], ...] = (_CYRILLIC, _GREEK, _ARMENIAN, _CHEROKEE, _COPTIC, _LISU)
_TO_LATIN = {letter: latin for script in _SCRIPTS for letter, latin in script.items()}
#: The reverse, for a word of another script that has a Latin letter in it; of several that look like it the first.
_FROM_LATIN = [{latin: letter for letter, latin in reversed(script.items())} for script in (_CYRILLIC, _GREEK)]


def spellings(text: str, *, parted: bool = True) -> set[str]:
    """The text in small letters, in each way that a reader may take it; mostly one.

    Invisible characters, marks on letters and symbols that are letters join a word, as people read it; where it is
    `parted` they also part it, as a tokenizer does: `red™`. A word of mixed scripts is written in either. One that has
    only letters that look like Latin ones is Latin among Latin words, unless the text has other words in its script.
    """
    if text.isascii():
        return {text.casefold()}
    text = text.translate(_SENTENCES)
    found = set()
    for words in {text, _parted(text) if parted else text}:
        bare = _bare(words)
        found |= {bare, _in_latin(bare), *(_in_script(bare, table) for table in _FROM_LATIN)}
    return {unicodedata.normalize("NFKC", words.casefold()) for words in found}


def _parted(text: str) -> str:
    """With a blank for whatever is no letter by itself, and would become one, or go, among the letters beside it."""
    composed = unicodedata.normalize("NFC", text)
    blanks = {c for c in set(composed) if not c.isascii() and (_is_unseen(c) or _is_lettered_symbol(c))}
    marks = {c for c in set(composed) if unicodedata.category(c)[0] == "M"}
    if not blanks and not marks:
        return text
    parted, latin = [], False
    for c in composed:
        if c not in marks:
            latin = _is_latin(c)
        parted.append(" " if c in blanks or (latin and c in marks) else c)
    return "".join(parted)


def _bare(text: str) -> str:
    """Without accents, fancy forms and what cannot be seen."""
    decomposed = unicodedata.normalize("NFKD", text)
    bare = decomposed.translate({ord(c): _one(c) for c in set(decomposed) if not c.isascii()})
    if not any(unicodedata.category(c)[0] == "M" for c in set(bare)):
        return bare
    kept, latin = [], False
    for c in bare:  # no script writes its marks on Latin letters
        is_mark = unicodedata.category(c)[0] == "M"
        latin = latin if is_mark else _is_latin(c)
        if not (is_mark and latin):
            kept.append(c)
    return "".join(kept)


def _one(character: str) -> str:
    if _is_unseen(character):
        return ""
    category = unicodedata.category(character)
    if category == "Me" or (category == "Mn" and _is_accent(unicodedata.combining(character))):
        return ""
    return _variant(character)


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Cc", "Cn") or _UNSEEN.match(character) is not None


@lru_cache(maxsize=4096)
def _is_lettered_symbol(character: str) -> bool:
    """A symbol or a number that stands for letters: `™`, `ⓐ`, `Ⅷ`, `🅽`."""
    if unicodedata.category(character)[0] not in "SN":
        return False
    return any(c.isalpha() for c in unicodedata.normalize("NFKD", _variant(character)))


@lru_cache(maxsize=4096)
def _is_latin(character: str) -> bool:
    """Or looks like one."""
    base = unicodedata.normalize("NFKD", _variant(character))[0]
    return base in _TO_LATIN or (base.isascii() and base.isalpha())


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
        scripts = {_script(c) for c in foreign}
        disguised = foreign <= _TO_LATIN.keys() and (
            len(scripts) > 1 or any(c.isascii() for c in match[0]) or (among_latin and not written & scripts)
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
