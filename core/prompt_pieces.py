"""Finds the parameters in what was typed: which dashes start one, and where LoRAs' tags stand. Knows no values.

Two hyphens start a parameter. So do the other dashes that phones, editors and keyboards make of them, one or two, where
a parameter's name follows at once; sentences have such dashes too, and keep them. Works on a copy of the text that has
a plain keyboard's signs in the same places.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from core.parameter_parsers import Number, Ratio, Whole
from core.parameters import BY_NAME, IGNORED, MEANT, Takes
from core.spelling import DASHES, nearest, plain_signs

_DASHED = re.compile(r"(?<![^\s,])(?P<dashes>--?+)(?![\s-])(?P<name>[^\s=:,]*+)[=:]?+")
#: A name and its value in one word, `--ar16:9`.
_GLUED = re.compile(r"(?P<name>[a-z]+)(?P<value>[0-9].*)", re.IGNORECASE)
# The same signs where they do not count: inside a word, or with a blank before the name.
_HIDDEN = re.compile(r"(?P<dashes>-{1,2}+)(?P<gap>\s*+)(?P<name>[A-Za-z]++)(?P<glued>(?=[0-9])|(?![\w-]))")
# A number ends soon: what is longer is none, and looking at all of it behind each of a thousand names takes long.
_VALUE = re.compile(r"[\s=:]*+(?P<value>[0-9.][^\s,]{0,39}+)")
_NEXT = re.compile(r"\s*+(?P<next>\S?)")
_TAG = re.compile(r"<\s*+(?P<kind>lora|lyco|hypernet)\s*+:(?P<inside>[^<>]*+)>", re.IGNORECASE)
#: Names that are nearer than this were meant.
SURELY = 0.8
#: Words behind a long dash that are held against all names; a text with more of them is prose.
_MOST_GUESSES = 16
#: Of what other programs call a parameter, the words that sentences have behind a dash.
_PROSE = frozenset({"not", "without"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One `--name` with the text that follows it, each with its place in the prompt.

    `origin`: the saved setting that it stands in, where it is no part of the prompt.
    """

    dashed: str
    name: str
    start: int
    value: str
    value_start: int
    origin: str = ""

    def shown(self) -> str:
        """As it may be typed."""
        return f"--{self.name} {self.value}".rstrip()


@dataclass(frozen=True, slots=True)
class Tag:
    """`<lora:ink:0.8>`: what stands in it, and where."""

    kind: str
    whole: str
    start: int
    inside: str
    inside_start: int


def find_pieces(text: str) -> list[Piece]:
    """The parameters, in order; what stands before the first one is the prompt's words."""
    end = _without_full_stop(text)
    plain = plain_signs(text[:end])
    found = list(_starts(text[:end], plain))
    ends = [*(match.start() for match in found[1:]), end]
    return [_piece(text, plain, match, end) for match, end in zip(found, ends, strict=False)]


def take_tags(text: str) -> tuple[str, list[Tag]]:
    """The text with blanks in place of its tags, as long as before, and the tags."""
    plain = plain_signs(text)
    tags = [
        Tag(match["kind"].lower(), text[slice(*match.span())], match.start(), text[slice(*match.span("inside"))],
            match.start("inside"))
        for match in _TAG.finditer(plain)
    ]  # fmt: skip
    parts, at = [], 0
    for tag in tags:
        parts += [text[at : tag.start], " " * len(tag.whole)]
        at = tag.start + len(tag.whole)
    return "".join([*parts, text[at:]]), tags


def without(text: str, flags: Collection[str]) -> str:
    """The text without these parameters, which have no values.

    >>> without("a boat —turbo --seed 3", {"turbo"})
    'a boat --seed 3'
    """
    bare, _ = take_tags(text)
    parts, at = [], 0
    for piece in find_pieces(bare):
        if piece.name in flags:
            parts.append(text[at : piece.start].rstrip())
            at = piece.start + len(piece.dashed)
    return "".join([*parts, text[at:]]).strip()


def find_hidden(text: str, pieces: list[Piece]) -> tuple[str, str, int] | None:
    """A parameter that would be read as words (`a boat--ar 3:2`, `-- ar 3:2`, `-ar 1:1`, `— ar 1:1`).

    As typed, its name, and its place.
    """
    plain, starts = plain_signs(text), {piece.start for piece in pieces}
    for match in _HIDDEN.finditer(plain):
        name = match["name"].lower()
        if match.start() in starts or not (name in BY_NAME or name in IGNORED):
            continue
        dashes, value = text[slice(*match.span("dashes"))], _has_number(plain, match.end(), name)
        single = dashes == "-" and (match["gap"] or len(name) == 1 or not _stands_free(text, match.start()))
        glued = match["glued"] is not None and plain[match.end() : match.end() + 1].isdecimal()
        wide = len(dashes) == 2 and not match["gap"] and _among_wide(text, match)
        if not single and (value or wide or (dashes.isascii() and not glued)):
            return text[match.start() : match.end()], name, match.start()
    return None


def _without_full_stop(text: str) -> int:
    """Where the text ends but for what ends a sentence: behind a parameter's value it is no part of it."""
    return len(text.rstrip().rstrip(".。"))


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blanks and commas around it."""
    while start < end and (text[start].isspace() or text[start] in ",，、"):
        start += 1
    while start < end and (text[end - 1].isspace() or text[end - 1] in ",，、"):
        end -= 1
    return start, end


def _piece(text: str, plain: str, match: re.Match[str], end: int) -> Piece:
    name, name_start = match["name"].lower(), match.start("name")
    name_end, value_start = match.end("name"), match.end()
    if glued := _glued(match["name"]):
        name = glued["name"].lower()
        name_end = value_start = name_start + glued.start("value")
    start, stop = trimmed(text, value_start, end)
    return Piece(text[match.start() : name_end], name, match.start(), text[start:stop], start)


def _starts(text: str, plain: str) -> Iterator[re.Match[str]]:
    guesses = _MOST_GUESSES
    for match in _DASHED.finditer(plain):
        dashes, name = text[slice(*match.span("dashes"))], match["name"].lower()
        if dashes == "--" or (dashes != "-" and _is_name(name)):
            yield match
        elif dashes != "-" and guesses and name[:1].isalpha() and _VALUE.match(plain, match.end()):
            guesses -= 1
            if nearest(name, (*BY_NAME, *IGNORED), near=SURELY) is not None:
                yield match


def _is_name(name: str) -> bool:
    """Whether the word behind a long dash was meant as a parameter."""
    return name in BY_NAME or name in IGNORED or (name in MEANT and name not in _PROSE) or _glued(name) is not None


def _glued(name: str) -> re.Match[str] | None:
    """The name and value in one word, where such a name takes one value."""
    match = _GLUED.fullmatch(name)
    if match is None:
        return None
    known = match["name"].lower()
    takes = BY_NAME[known].takes if known in BY_NAME else IGNORED[known].takes if known in IGNORED else None
    return match if takes is Takes.ONE else None


def _has_number(plain: str, end: int, name: str) -> bool:
    """Whether a number follows that such a parameter takes: then it was meant, whatever its dash."""
    parameter, match = BY_NAME.get(name), _VALUE.match(plain, end)
    if parameter is None or match is None or not isinstance(parameter.parser, Whole | Number | Ratio):
        return False
    try:
        parameter.parser.parse(match["value"])
    except ValueError:
        return False
    return True


def _among_wide(text: str, match: re.Match[str]) -> bool:
    """Whether it stands in a script without blanks, so that nobody would have put one before it."""
    following = _NEXT.match(text, match.end())
    assert following is not None  # it matches anywhere
    then = following["next"]
    return match.start() > 0 and _is_wide(text[match.start() - 1]) and (not then or then in DASHES or _is_wide(then))


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")


def _stands_free(text: str, start: int) -> bool:
    return start == 0 or text[start - 1].isspace()
