"""The one table of what may stand behind `--`: it makes the parser, the help and the documentation.

Pure. Does not know what a request does with a value; how one is parsed stands in parameter_parsers.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from core.catalogue import SAMPLERS
from core.parameter_parsers import Name, NameAndWeight, Number, OneOf, Ratio, ValueParser, Whole, Words

MAX_SEED = 2**32 - 1
MAX_STEPS = 100
MAX_COUNT = 4
MAX_LORAS = 4
#: A LoRA may count negatively: away from what it was trained on.
MAX_LORA_WEIGHT = 2.0


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
    parser: ValueParser | None = None  # None for flags
    most: int = 1  # how often it may be said; of words that add up, any number
    default: str
    example: str
    help: str  # one line, ends with a full stop


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="ar",
        aliases=("aspect", "ratio"),
        parser=Ratio(4),
        default="1:1",
        example="--ar 16:9",
        help="Width to height.",
    ),
    Parameter(
        name="no",
        aliases=("negative",),
        takes=Takes.ALL,
        parser=Words(500),
        default="nothing",
        example="--no people, text",
        help="What should not be in the picture.",
    ),
    Parameter(
        name="seed",
        parser=Whole(0, MAX_SEED),
        default="random",
        example="--seed 7",
        help="The same seed and settings make the same picture.",
    ),
    Parameter(
        name="count",
        aliases=("pictures",),
        parser=Whole(1, MAX_COUNT),
        default="4",
        example="--count 1",
        help="How many pictures.",
    ),
    Parameter(
        name="steps",
        parser=Whole(1, MAX_STEPS),
        default="the model's own",
        example="--steps 30",
        help="More steps take longer and are often finer.",
    ),
    Parameter(
        name="quality",
        aliases=("q",),
        parser=Number(0.25, 4),
        default="1",
        example="--quality 2",
        help="Multiplies the steps: 0.5 is a sketch, 2 takes twice the time.",
    ),
    Parameter(
        name="cfg",
        aliases=("guidance", "scale"),
        parser=Number(1, 30),
        default="the model's own",
        example="--cfg 6.5",
        help="How closely the prompt is followed.",
    ),
    Parameter(
        name="sampler",
        parser=OneOf(tuple(SAMPLERS)),
        default="the model's own",
        example="--sampler dpmpp_2m",
        help="How noise becomes a picture.",
    ),
    Parameter(
        name="stop",
        parser=Whole(10, 100),
        default="100",
        example="--stop 60",
        help="Ends early, at this per cent: softer shapes for less time.",
    ),
    Parameter(
        name="model",
        parser=Name("a model"),
        default="the server's own",
        example="--model postcard",
        help="Which model draws it; `/info` names them.",
    ),
    Parameter(
        name="lora",
        parser=NameAndWeight(MAX_LORA_WEIGHT),
        most=MAX_LORAS,
        default="none",
        example="--lora ink:0.8",
        help=f"A LoRA on top of the model, up to {MAX_LORAS}; `/info` names them.",
    ),
    Parameter(
        name="chaos",
        aliases=("c",),
        parser=Whole(0, 100),
        default="0",
        example="--chaos 30",
        help="How far the pictures of one grid lie apart.",
    ),
    Parameter(
        name="stylize",
        aliases=("s",),
        parser=Whole(0, 1000),
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
        takes = parameter.parser.shown() if parameter.parser else "–"
        rows.append(f"| {names} | {takes} | {parameter.default} | {parameter.help} |")
    return "\n".join(rows) + "\n"
