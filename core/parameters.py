"""The one table of what may stand behind `--`: it makes the parser, the help and the documentation.

Pure. Knows how a value reads, not what a request does with it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from core.catalogue import SAMPLERS, name_of
from core.job import Lora

MAX_SEED = 2**32 - 1
MAX_STEPS = 100
MAX_COUNT = 4
MAX_LORAS = 4
#: A LoRA may count negatively: away from what it was trained on.
MAX_LORA_WEIGHT = 2.0


class Reader(Protocol):
    """Reads one value."""

    def read(self, text: str) -> Any:
        """The value. Raises ValueError when it is none of the allowed ones."""

    def shown(self) -> str:
        """What is allowed, as words in a sentence: "a whole number from 1 to 4"."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number."""

    low: int
    high: int

    def read(self, text: str) -> int:
        """Digits only, so that `1e3`, `٣` and `1_000` are refused."""
        if not re.fullmatch(r"[0-9]{1,12}", text) or not self.low <= int(text) <= self.high:
            raise ValueError(text)
        return int(text)

    def shown(self) -> str:
        """In words."""
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number; the decimal sign is a point or a comma."""

    low: float
    high: float

    def read(self, text: str) -> float:
        """Plain decimals only."""
        if not re.fullmatch(r"[0-9]{0,6}(?:[.,][0-9]{1,6})?", text) or not text:
            raise ValueError(text)
        value = float(text.replace(",", "."))
        if not self.low <= value <= self.high:
            raise ValueError(text)
        return value

    def shown(self) -> str:
        """In words."""
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Width to height, no longer than `longest` to one."""

    longest: float

    def read(self, text: str) -> tuple[float, float]:
        """`16:9`, `16x9` and `16/9` are the same."""
        match = re.fullmatch(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)[:x/]([0-9]{1,5}(?:\.[0-9]{1,3})?)", text.lower())
        if match is None:
            raise ValueError(text)
        across, down = float(match[1]), float(match[2])
        if across <= 0 or down <= 0 or abs(math.log(across / down)) > math.log(self.longest) + 1e-9:
            raise ValueError(text)
        return across, down

    def shown(self) -> str:
        """In words."""
        return f"a ratio from 1:{self.longest:g} to {self.longest:g}:1, like 16:9"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, text: str) -> str:
        """Spellings that mean the same are taken: `Euler-A`, `DPM++_2M`."""
        plain = text.lower().replace("-", "_").replace("+", "p")
        if plain not in self.words:
            raise ValueError(text)
        return plain

    def shown(self) -> str:
        """In words."""
        return "one of " + ", ".join(self.words)


@dataclass(frozen=True, slots=True)
class Words:
    """Free words up to the next parameter, separated by commas."""

    longest: int

    def read(self, text: str) -> str:
        """The words with single spaces."""
        plain = ", ".join(part for raw in text.split(",") if (part := " ".join(raw.split())))
        if not plain or len(plain) > self.longest:
            raise ValueError(text)
        return plain

    def shown(self) -> str:
        """In words."""
        return f"words separated by commas, up to {self.longest} characters"


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the parser looks up among those that are there: `sdxl`."""

    of: str  # what is named: "a model"

    def read(self, text: str) -> str:
        """As names are written here. Whether there is one is not known here."""
        if not text:
            raise ValueError(text)
        return name_of(text)

    def shown(self) -> str:
        """In words."""
        return f"the name of {self.of}"


@dataclass(frozen=True, slots=True)
class NameAndWeight:
    """A LoRA's name, then how strong it is: `ink:0.8`; 1 when that is left out."""

    most: float

    def read(self, text: str) -> Lora:
        """The decimal sign is a point or a comma, the sign a plain hyphen."""
        match = re.fullmatch(r"(?P<name>[^:]+)(?::(?P<weight>-?[0-9]{0,3}(?:[.,][0-9]{1,6})?))?", text)
        if match is None or match["weight"] in ("", "-"):
            raise ValueError(text)
        weight = float((match["weight"] or "1").replace(",", "."))
        if abs(weight) > self.most:
            raise ValueError(text)
        return Lora(name=name_of(match["name"]), weight=weight)

    def shown(self) -> str:
        """In words."""
        return f"the name of a LoRA and its weight from -{self.most:g} to {self.most:g}, like ink:0.8"


class Takes(Enum):
    """How many words belong to a parameter."""

    NOTHING = 0
    ONE = 1
    ALL = 2  # up to the next parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One row of the table."""

    name: str
    aliases: tuple[str, ...] = ()
    takes: Takes = Takes.ONE
    reader: Reader | None = None  # None for flags
    most: int = 1  # how often it may be said; of words that add up, any number
    default: str
    example: str
    help: str  # one line, ends with a full stop


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="ar",
        aliases=("aspect", "ratio"),
        reader=Ratio(4),
        default="1:1",
        example="--ar 16:9",
        help="Width to height.",
    ),
    Parameter(
        name="no",
        aliases=("negative",),
        takes=Takes.ALL,
        reader=Words(500),
        default="nothing",
        example="--no people, text",
        help="What should not be in the picture.",
    ),
    Parameter(
        name="seed",
        reader=Whole(0, MAX_SEED),
        default="random",
        example="--seed 7",
        help="The same seed and settings make the same picture.",
    ),
    Parameter(
        name="count",
        aliases=("pictures",),
        reader=Whole(1, MAX_COUNT),
        default="4",
        example="--count 1",
        help="How many pictures.",
    ),
    Parameter(
        name="steps",
        reader=Whole(1, MAX_STEPS),
        default="the model's own",
        example="--steps 30",
        help="More steps take longer and are often finer.",
    ),
    Parameter(
        name="quality",
        aliases=("q",),
        reader=Number(0.25, 4),
        default="1",
        example="--quality 2",
        help="Multiplies the steps: 0.5 is a sketch, 2 takes twice the time.",
    ),
    Parameter(
        name="cfg",
        aliases=("guidance", "scale"),
        reader=Number(1, 30),
        default="the model's own",
        example="--cfg 6.5",
        help="How closely the prompt is followed.",
    ),
    Parameter(
        name="sampler",
        reader=OneOf(tuple(SAMPLERS)),
        default="the model's own",
        example="--sampler dpmpp_2m",
        help="How noise becomes a picture.",
    ),
    Parameter(
        name="stop",
        reader=Whole(10, 100),
        default="100",
        example="--stop 60",
        help="Ends early, at this per cent: softer shapes for less time.",
    ),
    Parameter(
        name="model",
        reader=Name("a model"),
        default="the server's own",
        example="--model postcard",
        help="Which model draws it; `/info` names them.",
    ),
    Parameter(
        name="lora",
        reader=NameAndWeight(MAX_LORA_WEIGHT),
        most=MAX_LORAS,
        default="none",
        example="--lora ink:0.8",
        help=f"A LoRA on top of the model, up to {MAX_LORAS}; `/info` names them.",
    ),
    Parameter(
        name="chaos",
        aliases=("c",),
        reader=Whole(0, 100),
        default="0",
        example="--chaos 30",
        help="How far the pictures of one grid lie apart.",
    ),
    Parameter(
        name="stylize",
        aliases=("s",),
        reader=Whole(0, 1000),
        default="100",
        example="--stylize 250",
        help="How much of the model's house style comes in, where it has one.",
    ),
    Parameter(
        name="tile",
        takes=Takes.NOTHING,
        default="off",
        example="--tile",
        help="Opposite edges meet, so that the picture repeats without a seam.",
    ),
    Parameter(
        name="fast",
        takes=Takes.NOTHING,
        default="your setting",
        example="--fast",
        help="This one in the fast lane: uses fast time.",
    ),
    Parameter(
        name="relax",
        takes=Takes.NOTHING,
        default="your setting",
        example="--relax",
        help="This one in the relax lane: free, after the others.",
    ),
    Parameter(
        name="turbo",
        takes=Takes.NOTHING,
        default="your setting",
        example="--turbo",
        help="This one in the turbo lane: before all others, at twice the fast time.",
    ),
)

#: Every name and alias, with its row.
BY_NAME: Mapping[str, Parameter] = {
    name: parameter for parameter in PARAMETERS for name in (parameter.name, *parameter.aliases)
}

#: What people know from Midjourney and what means nothing here yet: passed over with one small line.
IGNORED: Mapping[str, Takes] = {
    **dict.fromkeys(("weird", "w", "exp", "v", "version"), Takes.ONE),
    **dict.fromkeys(("iw", "sw", "sv", "cw", "ow", "repeat", "r", "motion", "bs", "end", "h", "zoom"), Takes.ONE),
    **dict.fromkeys(("niji", "style", "p", "profile"), Takes.ONE),
    **dict.fromkeys(("sref", "cref", "oref", "edit"), Takes.ALL),
    **dict.fromkeys(("raw", "hd", "draft", "preview", "stealth", "public"), Takes.NOTHING),
    **dict.fromkeys(("video", "loop", "creative", "test", "testp", "beta", "hq", "vibe"), Takes.NOTHING),
    **dict.fromkeys(("uplight", "upbeta", "upanime", "sameseed", "newclip", "nostretch", "old"), Takes.NOTHING),
}


#: What people write who know other programs, and the row that they mean.
MEANT: Mapping[str, str] = {
    **dict.fromkeys(("size", "width", "height", "resolution", "format"), "ar"),
    **dict.fromkeys(("neg", "not", "without"), "no"),
    **dict.fromkeys(("n", "num", "number", "images", "batch"), "count"),
    "scheduler": "sampler",
    "checkpoint": "model",
}


def table() -> str:
    """The parameters as a Markdown table, for the documentation."""
    rows = ["| parameter | takes | default | |", "|---|---|---|---|"]
    for parameter in PARAMETERS:
        names = ", ".join(f"`--{name}`" for name in (parameter.name, *parameter.aliases))
        takes = parameter.reader.shown() if parameter.reader else "–"
        rows.append(f"| {names} | {takes} | {parameter.default} | {parameter.help} |")
    return "\n".join(rows) + "\n"
