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
        help="Stops early, at this percentage: softer shapes in less time.",
    ),
    Parameter(
        name="model",
        parser=Name("a model"),
        default="the server's own",
        example="--model postcard",
        help="Which model draws it; `/info` lists them.",
    ),
    Parameter(
        name="lora",
        parser=NameAndWeight(MAX_LORA_WEIGHT),
        most=MAX_LORAS,
        default="none",
        example="--lora ink:0.8",
        help=f"Adds a LoRA to the model, up to {MAX_LORAS} of them; `/info` lists them.",
    ),
    Parameter(
        name="chaos",
        aliases=("c",),
        parser=Whole(0, 100),
        default="0",
        example="--chaos 30",
        help="How much the pictures of one grid differ.",
    ),
    Parameter(
        name="stylize",
        aliases=("s",),
        parser=Whole(0, 1000),
        default="100",
        example="--stylize 250",
        help="How much of the model's house style is applied, if it has one.",
    ),
    Parameter(
        name="raw",
        takes=Takes.NOTHING,
        default="off",
        example="--raw",
        help="Leaves the model's house style out, like `--style raw`.",
    ),
    Parameter(
        name="tile",
        takes=Takes.NOTHING,
        default="off",
        example="--tile",
        help="Makes pictures tile: they repeat without a seam.",
    ),
    Parameter(
        name="fast",
        takes=Takes.NOTHING,
        default="your setting",
        example="--fast",
        help="Runs this job in the fast lane: uses fast time.",
    ),
    Parameter(
        name="relax",
        takes=Takes.NOTHING,
        default="your setting",
        example="--relax",
        help="Runs this job in the relax lane: free, after the others.",
    ),
    Parameter(
        name="turbo",
        takes=Takes.NOTHING,
        default="your setting",
        example="--turbo",
        help="Runs this job in the turbo lane: before all others, for twice the fast time.",
    ),
)

#: Every name and alias, with its row.
BY_NAME: Mapping[str, Parameter] = {
    name: parameter for parameter in PARAMETERS for name in (parameter.name, *parameter.aliases)
}


@dataclass(frozen=True, slots=True)
class Ignored:
    """A parameter of Midjourney's that means nothing here: it stops no job, and one small line names it.

    `nearest`: what comes nearest here, as words behind its name; empty when nothing does.
    """

    takes: Takes
    nearest: str = ""


_MODEL = "`--model` chooses what draws"
_WORDS = "describe it in words"
_STYLE = "describe the look in words"
_STILL = "here are still pictures only"

IGNORED: Mapping[str, Ignored] = {
    **dict.fromkeys(("v", "version", "niji", "style"), Ignored(Takes.ONE, _MODEL)),
    **dict.fromkeys(("test", "testp", "beta", "old"), Ignored(Takes.NOTHING, _MODEL)),
    **dict.fromkeys(("p", "profile", "personalize"), Ignored(Takes.ALL, "`--lora` adds a look")),
    **dict.fromkeys(("weird", "w", "exp"), Ignored(Takes.ONE, "`--chaos` comes nearest")),
    "sref": Ignored(Takes.ALL, _STYLE),
    **dict.fromkeys(("sw", "sv"), Ignored(Takes.ONE, _STYLE)),
    **dict.fromkeys(("cref", "oref", "edit"), Ignored(Takes.ALL, _WORDS)),
    **dict.fromkeys(("iw", "cw", "ow"), Ignored(Takes.ONE, _WORDS)),
    **dict.fromkeys(("repeat", "r"), Ignored(Takes.ONE, "🔄 makes more of the same")),
    **dict.fromkeys(("motion", "bs", "end"), Ignored(Takes.ONE, _STILL)),
    **dict.fromkeys(("video", "loop"), Ignored(Takes.NOTHING, _STILL)),
    "draft": Ignored(Takes.NOTHING, "`--quality 0.5` is a sketch"),
    **dict.fromkeys(("hd", "hq"), Ignored(Takes.NOTHING, "`--quality 2` draws more finely")),
    "sameseed": Ignored(Takes.ONE, "`--seed` keeps the seed"),
    "h": Ignored(Takes.ONE, "`--ar` sets the shape"),
    "zoom": Ignored(Takes.ONE),
    **dict.fromkeys(("preview", "stealth", "public", "creative", "vibe"), Ignored(Takes.NOTHING)),
    **dict.fromkeys(("uplight", "upbeta", "upanime", "newclip", "nostretch"), Ignored(Takes.NOTHING)),
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
