"""How the value behind a parameter is parsed, and how what is allowed is said. Pure; knows no parameter by name.

Numbers are read with a plain keyboard's signs, whatever keyboard they were typed on; words and names stay as typed.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Protocol

from core.catalogue import name_of
from core.job import Lora
from core.spelling import nearest, plain_signs


class ValueParser(Protocol):
    """Parses one value, and says what is allowed."""

    def parse(self, text: str) -> Any:
        """The value. Raises ValueError when it is none of the allowed ones."""

    def shown(self) -> str:
        """What is allowed, as words in a sentence: "a whole number from 1 to 4"."""

    def mended(self, text: str) -> str | None:
        """Of a value that is refused, the allowed one that was meant; None where that is not sure."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number."""

    low: int
    high: int

    def parse(self, text: str) -> int:
        """Digits only, so that `1e3`, `٣` and `1_000` are refused."""
        text = plain_signs(text)
        if not re.fullmatch(r"[0-9]{1,12}", text) or not self.low <= int(text) <= self.high:
            raise ValueError(text)
        return int(text)

    def shown(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def mended(self, text: str) -> str | None:
        """The nearest one; `7.5` is rounded."""
        value = _number(text)
        return None if value is None else str(round(min(max(value, self.low), self.high)))


@dataclass(frozen=True, slots=True)
class Number:
    """A number; the decimal sign is a point or a comma."""

    low: float
    high: float

    def parse(self, text: str) -> float:
        """Plain decimals only."""
        text = plain_signs(text)
        if not re.fullmatch(r"[0-9]{0,6}(?:[.,][0-9]{1,6})?", text) or not text:
            raise ValueError(text)
        value = float(text.replace(",", "."))
        if not self.low <= value <= self.high:
            raise ValueError(text)
        return value

    def shown(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def mended(self, text: str) -> str | None:
        """The nearest one."""
        value = _number(text)
        return None if value is None else f"{min(max(value, self.low), self.high):g}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Width to height, no longer than `longest` to one."""

    longest: float

    def parse(self, text: str) -> tuple[float, float]:
        """`16:9`, `16x9` and `16/9` are the same."""
        plain = plain_signs(text).lower()
        match = _RATIO.fullmatch(plain)
        if match is None:
            raise ValueError(text)
        across, down = float(match[1]), float(match[2])
        if across <= 0 or down <= 0 or abs(math.log(across / down)) > math.log(self.longest) + 1e-9:
            raise ValueError(text)
        return across, down

    def shown(self) -> str:
        return f"a ratio from 1:{self.longest:g} to {self.longest:g}:1, like 16:9"

    def mended(self, text: str) -> str | None:
        """The longest one of a longer one; `1920×1080`'s own is allowed already."""
        match = _RATIO.fullmatch(plain_signs(text).lower())
        if match is None or min(float(match[1]), float(match[2])) <= 0:
            return None
        return f"{self.longest:g}:1" if float(match[1]) > float(match[2]) else f"1:{self.longest:g}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    def parse(self, text: str) -> str:
        """Spellings that mean the same are taken: `Euler-A`, `DPM++_2M`."""
        plain = plain_signs(text).lower().replace("-", "_").replace("+", "p")
        if plain not in self.words:
            raise ValueError(text)
        return plain

    def shown(self) -> str:
        return "one of " + ", ".join(self.words)

    def mended(self, text: str) -> str | None:
        """The one that is spelled nearly like it."""
        return nearest(text, self.words)


#: Not the decimal sign of an emphasis, `(fog:1,3)`.
_COMMA = re.compile("[,，、](?![0-9０-９]{1,6}+[)）])")


@dataclass(frozen=True, slots=True)
class Words:
    """Free words up to the next parameter, separated by commas."""

    longest: int

    def parse(self, text: str) -> str:
        """The words with single spaces."""
        plain = ", ".join(part for raw in _COMMA.split(text) if (part := " ".join(raw.split())))
        if not plain or len(plain) > self.longest:
            raise ValueError(text)
        return plain

    def shown(self) -> str:
        return f"words separated by commas, up to {self.longest} characters"

    def mended(self, text: str) -> str | None:
        """Nobody knows which words."""
        return None


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the parser looks up among those that are there: `sdxl`."""

    of: str  # what is named: "a model"

    def parse(self, text: str) -> str:
        """As names are written here. Whether there is one is not known here."""
        if not text:
            raise ValueError(text)
        return name_of(text)

    def shown(self) -> str:
        return f"the name of {self.of}"

    def mended(self, text: str) -> str | None:
        """Only the parser knows the names that are there."""
        return None


@dataclass(frozen=True, slots=True)
class NameAndWeight:
    """A LoRA's name, then how strong it is: `ink:0.8`; 1 when that is left out."""

    most: float

    def parse(self, text: str) -> Lora:
        """The decimal sign is a point or a comma."""
        plain = plain_signs(text)
        match = re.fullmatch(r"(?P<name>[^:]+)(?::(?P<weight>[+-]?[0-9]{0,3}(?:[.,][0-9]{1,6})?))?", plain)
        if match is None or match["weight"] in ("", "-", "+"):
            raise ValueError(text)
        weight = float((match["weight"] or "1").replace(",", "."))
        if abs(weight) > self.most:
            raise ValueError(text)
        return Lora(name=name_of(text[: match.end("name")]), weight=weight)

    def shown(self) -> str:
        return f"the name of a LoRA and its weight from -{self.most:g} to {self.most:g}, like ink:0.8"

    def mended(self, text: str) -> str | None:
        """The strongest weight of a stronger one."""
        name, colon, weight = text.rpartition(":")
        value = _number(weight.removeprefix("-").removeprefix("+"))
        if not (name and colon) or value is None or abs(value) <= self.most:
            return None
        return f"{name}:{'-' if weight.startswith('-') else ''}{self.most:g}"


_RATIO = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)[:x/]([0-9]{1,5}(?:\.[0-9]{1,3})?)")
_NUMBER = re.compile(r"-?[0-9]{1,12}(?:[.,][0-9]{1,6})?")


def _number(text: str) -> float | None:
    plain = plain_signs(text)
    return float(plain.replace(",", ".")) if _NUMBER.fullmatch(plain) else None
