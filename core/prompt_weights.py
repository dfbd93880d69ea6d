"""Reads the weights in a prompt: `a boat::2 a lighthouse::1` and `a (red (fat cat:1.3):1.2)`. Pure; knows no model.

A number stands right after the two colons; what has none counts 1. Each weight belongs to all text since the colons
before. Emphasis is a bracket that ends in a colon and a number; one inside another multiplies. Every other bracket is
just a bracket, and so is one that holds a time or a ratio, as in `(12:30)`; `\\(` and `\\)` are brackets always.
Full-width signs are the same signs. Each character is looked at a fixed number of times, however a text is made.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from core.spelling import plain_signs, quoted

# Possessive throughout (`++`): what a run of digits or blanks has taken is never given back and tried again.
_PART = re.compile(r"::(?:(?P<weight>[+-]?+(?:\d++\.?+\d*+|\.\d++))(?!\w))?")
_MARK = re.compile(
    r"(?P<escaped>\\[\\()\[\]])|(?P<open>\()|(?P<close>\))|"
    r":\s*+(?P<weight>[+-]?+(?:\d++(?:[.,]\d*+)?+|[.,]\d++))\s*+\)"
)
# From its opening bracket on: nothing but numbers, as in a time, a ratio or a score.
_ONLY_NUMBERS = re.compile(r"\(\s*+\d+(?:[.,:]\d+)*\s*:\s*+\d++\s*+\)")
# As typed after one spelling for look-alikes: the colons and numbers of weights, brackets of any sort, and escapes.
_SIGNS = re.compile(r"::(?:[-+.,\d]++(?!\w))?|:[-+.,\d\s]*+(?=[)\]}])|[()\[\]{}\\]")
#: More emphasis than this, in either direction, breaks any picture.
MOST_EMPHASIS = 4.0
MOST_WEIGHT = 100.0
#: Each part is a pass through the text encoders, for which all other jobs wait.
MOST_PARTS = 64
#: Texts that are remembered: one request's are asked for several times, by its parser, its admission and its encoders.
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Span:
    """Words in a row with the same emphasis; 1 = none."""

    text: str
    emphasis: float = 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """A thought of its own, with its share of all weights: the shares of a prompt add up to 1."""

    spans: tuple[Span, ...]
    share: float = 1.0


def parse(text: str) -> tuple[Part, ...]:
    """The parts of a prompt, at least one. Raises ValueError with a sentence for weights that cannot be."""
    found = _remembered(text)
    if isinstance(found, str):
        raise ValueError(found)
    return found


def is_weighted(text: str) -> bool:
    """True when the text asks for anything that only a model with weights understands. Raises ValueError as `parse`."""
    parts = parse(text)
    return len(parts) > 1 or any(span.emphasis != 1 for span in parts[0].spans)


def unweighted(text: str) -> str:
    """The words alone, for a model that knows no weights. Raises ValueError as `parse`."""
    return " ".join("".join(span.text for span in part.spans) for part in parse(text))


def without_signs(text: str, instead: str) -> str:
    """The words without the signs of weights and without brackets, each of which becomes `instead`."""
    return _SIGNS.sub(instead, text)


@lru_cache(maxsize=_REMEMBERED)
def _remembered(text: str) -> tuple[Part, ...] | str:
    """The parts, or the sentence why there are none."""
    try:
        weighted = _parts(text, plain_signs(text))
    except ValueError as error:
        return str(error)
    whole = sum(weight for _, weight in weighted)
    if whole <= 0:
        return "The weights after `::` add up to 0 or less; their sum must be above 0."
    return tuple(Part(spans, weight / whole) for spans, weight in weighted)


def _parts(text: str, plain: str) -> list[tuple[tuple[Span, ...], float]]:
    """Each part's spans and weight. `plain`: the text with signs as a keyboard has them, character by character."""
    found: list[tuple[int, int, float]] = []
    start = 0
    for match in _PART.finditer(plain):
        weight = float(match["weight"] or 1)
        if abs(weight) > MOST_WEIGHT:
            raise ValueError(f"The weight {quoted(match[0])} is too large; the limit is {MOST_WEIGHT:g}.")
        found.append((*_stripped(text, start, match.start()), weight))
        start = match.end()
    if not start:
        return [(_spans(text, plain), 1.0)]
    found.append((*_stripped(text, start, len(text)), 1.0))
    found = [one for one in found if one[0] < one[1]]
    if len(found) > MOST_PARTS:
        raise ValueError(f"`::` makes {len(found)} parts of this; the limit is {MOST_PARTS}.")
    if _emphases(text, plain) > sum(_emphases(text[at:end], plain[at:end]) for at, end, _ in found):
        raise ValueError("A bracket with emphasis has to be closed before `::`.")
    parts = [(_spans(text[at:end], plain[at:end]), weight) for at, end, weight in found]
    return parts or [((Span(""),), 1.0)]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _spans(text: str, plain: str) -> tuple[Span, ...]:
    """Neighbours of one emphasis are one span."""
    marks = list(_MARK.finditer(plain))
    runs: list[tuple[list[str], float]] = []
    for words, emphasis in _runs(text, marks, _brackets(text, plain, marks)):
        if runs and runs[-1][1] == emphasis:
            runs[-1][0].append(words)
        elif words:
            runs.append(([words], emphasis))
    return tuple(Span("".join(words), emphasis) for words, emphasis in runs) or (Span(""),)


def _brackets(text: str, plain: str, marks: list[re.Match[str]]) -> Mapping[int, float]:
    """The brackets that emphasise: where each opens and where its weight begins, with the number. Raises ValueError."""
    found: dict[int, float] = {}
    opened: list[tuple[int, int]] = []  # where, and how much had been said before
    said = at = 0
    for mark in marks:
        said += bool(plain[at : mark.start()].replace(":", " ").strip()) or mark["escaped"] is not None
        at = mark.end()
        if mark["open"]:
            opened.append((mark.start(), said))
        elif mark["escaped"] is None and opened:
            start, before = opened.pop()
            if mark["weight"] and said > before and not _is_words(plain, start, mark):
                emphasis = float(mark["weight"].replace(",", "."))
                if abs(emphasis) > MOST_EMPHASIS:
                    _refuse(text[start:at])
                found[start] = found[mark.start()] = emphasis
            said += 1  # the bracket itself says something to the one around it
    return found


def _emphases(text: str, plain: str) -> int:
    """How many brackets emphasise."""
    return len(_brackets(text, plain, list(_MARK.finditer(plain))))


def _is_words(plain: str, start: int, mark: re.Match[str]) -> bool:
    """Whether the number behind the last colon is half of a time, a ratio or a verse: `(12:30)`, `(in 16:9)`."""
    weight: str = mark["weight"]
    if not weight.isdecimal():
        return False
    joined = plain[mark.start() - 1].isdecimal() and mark.start("weight") == mark.start() + 1
    return (joined and (len(weight) > 1 or int(weight) > MOST_EMPHASIS)) or bool(_ONLY_NUMBERS.match(plain, start))


def _runs(text: str, marks: list[re.Match[str]], brackets: Mapping[int, float]) -> Iterator[tuple[str, float]]:
    """The words between the marks, each run with its emphasis. Raises ValueError for products that are too large."""
    within: list[float] = [1.0]
    at = 0
    for mark in marks:
        start, end = mark.span()
        yield text[at:start], within[-1]
        at = end
        if mark["escaped"]:
            yield text[end - 1], within[-1]
        elif start not in brackets:
            yield text[start:end], within[-1]
        elif mark["open"]:
            within.append(round(within[-1] * brackets[start], 6))
            if abs(within[-1]) > MOST_EMPHASIS:
                _refuse(text[start:])
        else:
            within.pop()
    yield text[at:], within[-1]


def _refuse(bracket: str) -> None:
    raise ValueError(
        f"The emphasis {quoted(bracket)} is too strong; the limit is {MOST_EMPHASIS:g}. "
        r"A bracket that is only a bracket is written `\(` and `\)`."
    )
