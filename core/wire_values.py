"""What a number, a text or a list on the worker's wire may be beyond its type. Pure: knows no message.

Whoever reads a value that breaks its rule refuses the frame; whoever writes words makes them fit theirs.
"""

import re
from collections.abc import Sized
from dataclasses import dataclass
from typing import Annotated, Any

#: No time on a GPU is longer than this: a year, in milliseconds.
MAX_GPU_MS = 366 * 86_400_000
#: Sides of a picture, and all its pixels: a native square of 2048 that was made four times as wide and high.
MAX_SIDE, MAX_PIXELS = 1 << 14, 1 << 26
MAX_STEPS = 100_000
#: A preview is a JPEG of this many bytes at most, and neither side has more pixels.
MAX_PREVIEW, MAX_PREVIEW_SIDE = 1 << 22, 1 << 12
#: What a 64-bit number holds, as SQLite keeps it.
_WHOLE = 1 << 63

#: What would end a line of the log, or move a terminal's cursor.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_WORD = re.compile(r"[\w.-]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Range:
    """A number from `low` to `high`; so neither an infinite one nor none at all (NaN)."""

    low: float
    high: float

    def check(self, value: Any) -> None:
        """Raises ValueError."""
        if not self.low <= value <= self.high:
            raise ValueError(f"{shortly(value)} is not between {self.low:g} and {self.high:g}")


@dataclass(frozen=True, slots=True)
class Many:
    """At most so many items, and at least so many."""

    most: int
    least: int = 0

    def check(self, value: Sized) -> None:
        """Raises ValueError."""
        if not self.least <= len(value) <= self.most:
            raise ValueError(f"{len(value)} items are not between {self.least} and {self.most}")


@dataclass(frozen=True, slots=True)
class Line:
    """A text of one line that is kept as it is: a name, a number in hex."""

    most: int
    least: int = 0

    def check(self, value: str) -> None:
        """Raises ValueError."""
        check_text(value)
        if not self.least <= len(value) <= self.most:
            raise ValueError(f"a text of {len(value)} characters is not of {self.least} to {self.most}")
        if _CONTROL.search(value):
            raise ValueError(f"{shortly(value)} has control characters in it")


@dataclass(frozen=True, slots=True)
class Word(Line):
    """As prompts name models and samplers: letters, digits and `_.-`, so that it reads as itself wherever it stands."""

    def check(self, value: str) -> None:
        """Raises ValueError."""
        Line.check(self, value)
        if not _WORD.fullmatch(value):
            raise ValueError(f"{shortly(value)} is not one word")


@dataclass(frozen=True, slots=True)
class Words(Line):
    """A text of one line for people, whoever wrote it first: what does not fit is made to fit before it is sent."""

    def fitted(self, value: str) -> str:
        """As one line of characters that can be sent, cut with "…"."""
        text = _SURROGATE.sub("\ufffd", _CONTROL.sub("", " ".join(value.split())))
        return text if len(text) <= self.most else text[: self.most - 1] + "…"


#: Where a field has no rule of its own.
ANY_NUMBER = Range(-_WHOLE, _WHOLE - 1)
ANY_LINE = Line(300)
ANY_LIST = Many(10_000)


def check_text(value: str) -> None:
    """Raises ValueError for half a character (a lone surrogate), which no file and no database takes."""
    if _SURROGATE.search(value):
        raise ValueError(f"{shortly(value)} is no text that can be written down")


def shortly(value: Any) -> str:
    """As a message for the log shows it."""
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


GpuTime = Annotated[int, Range(0, MAX_GPU_MS)]
Count = Annotated[int, Range(0, _WHOLE - 1)]
AttemptNumber = Annotated[int, Range(0, 1 << 31)]
Step = Annotated[int, Range(0, MAX_STEPS)]
Side = Annotated[int, Range(1, MAX_SIDE)]
Name = Annotated[str, Word(255, least=1)]
JobId = Annotated[str, Line(64, least=1)]
ShortWords = Annotated[str, Words(200)]
Sentence = Annotated[str, Words(2000)]
