"""Reads the weights in a prompt: `a boat::2 a lighthouse::1` and `a (red:1.3) boat`. Pure; knows no model.

A number stands right after the two colons; what has none counts 1. Each weight belongs to all text since the colons
before. Emphasis is a bracket that ends in a colon and a number; every other bracket is just a bracket.
"""

import re
from dataclasses import dataclass

from core.spelling import quoted

_PART = re.compile(r"::(?:(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))(?!\w))?")
_EMPHASIS = re.compile(r"\((?P<words>[^()]*[^()\s:][^()]*):\s*(?P<weight>\d+\.?\d*|\.\d+)\s*\)")
# As typed after one spelling for look-alikes: the colons and numbers of weights, and brackets of any sort.
_SIGNS = re.compile(r"::(?:[-+.\d]+(?!\w))?|:[\s.\d]*(?=[)\]}])|[()\[\]{}]")
#: More emphasis than this breaks any picture.
MOST_EMPHASIS = 4.0
MOST_WEIGHT = 100.0


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
    weighted = _parts(text)
    whole = sum(weight for _, weight in weighted)
    if whole <= 0:
        raise ValueError("The weights after `::` add up to 0 or less; their sum must be above 0.")
    return tuple(Part(_spans(words), weight / whole) for words, weight in weighted)


def is_weighted(text: str) -> bool:
    """True when the text asks for anything that only a model with weights understands. Raises ValueError as `parse`."""
    parts = parse(text)
    return len(parts) > 1 or any(span.emphasis != 1 for span in parts[0].spans)


def without_signs(text: str, instead: str) -> str:
    """The words without the signs of weights and without brackets, each of which becomes `instead`."""
    return _SIGNS.sub(instead, text)


def _parts(text: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    start = 0
    for match in _PART.finditer(text):
        weight = float(match["weight"] or 1)
        if abs(weight) > MOST_WEIGHT:
            raise ValueError(f"The weight {quoted(match[0])} is too large; the most is {MOST_WEIGHT:g}.")
        found.append((text[start : match.start()].strip(), weight))
        start = match.end()
    if not start:
        return [(text, 1.0)]
    found.append((text[start:].strip(), 1.0))
    return [(words, weight) for words, weight in found if words] or [("", 1.0)]


def _spans(words: str) -> tuple[Span, ...]:
    spans: list[Span] = []
    start = 0
    for match in _EMPHASIS.finditer(words):
        emphasis = float(match["weight"])
        if emphasis > MOST_EMPHASIS:
            raise ValueError(f"The emphasis {quoted(match[0])} is too strong; the most is {MOST_EMPHASIS:g}.")
        if before := words[start : match.start()]:
            spans.append(Span(before))
        spans.append(Span(match["words"], emphasis))
        start = match.end()
    if start < len(words) or not spans:
        spans.append(Span(words[start:]))
    return tuple(spans)
