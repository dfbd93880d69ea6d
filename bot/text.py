"""Small pieces of text as people see them on Discord: prompts made harmless, times, sizes, links. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from core.job import Job, Request

# What can start or end something in the middle of a line: emphasis, code, spoilers, mentions, links (also bare ones).
_SIGNS = re.compile(r"([\\*_~`|\[\]<>/])")
_CODE = re.compile(r"(?<!`)(`[^`]{1,80}`)(?!`)")
_ORDINALS = ("Next", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth")
#: What the turbo lane costs, in a sentence.
TURBO_PRICE = "each second of GPU time counts double"
_SLUG = re.compile(r"[^a-z0-9]+")
_EMBED_TEXT = 4096  # characters that Discord takes in an embed's description
_BARE = "\u2060"  # a word joiner, which nobody sees


def harmless(text: str, most: int) -> str:
    """`text` as one line that Discord shows as it is: no markdown, mention, link or emoji code in it works.

    Signs are escaped, so nothing inside can end the bold around it; an @ is parted from its word, because Discord looks
    for @everyone in ways that escapes do not stop. At most `most` characters *after* escaping, cut with "…".
    """
    return _cut(_harmless_parts(" ".join(text.split())), most)


def sentence(text: str, most: int) -> str:
    """As `harmless`, but words between two backticks stay the code that they are: a sentence with a command in it."""
    parts: list[str] = []
    for number, part in enumerate(_CODE.split(" ".join(text.split()))):
        inside = "".join(character for character in part if not _is_unseen(character))
        parts += [inside] if number % 2 else _harmless_parts(part)
    return _cut(parts, most)


def _harmless_parts(text: str) -> Iterator[str]:
    for character in text:
        if not _is_unseen(character):
            yield "@\u200b" if character == "@" else _SIGNS.sub(r"\\\1", character)


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs") and character != "\u200d"


def _cut(parts: Iterable[str], most: int) -> str:
    """As many of them as there is room for."""
    found: list[str] = []
    left = most - 1
    for part in parts:
        if len(part) > left:
            found.append("…")
            break
        left -= len(part)
        found.append(part)
    return "".join(found)


def shortened(text: str, most: int) -> str:
    """`text`, cut with "…" where it is longer than `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def code_block(text: str) -> str:
    """`text` in a block of code that it cannot leave; `from_code_block` gives it back.

    A text of thousands of backticks would outgrow an embed when they are kept apart: it stands there bare, marked.
    """
    block = "```\n" + text.replace("``", "`\u200b`").replace("``", "`\u200b`") + "\n```"
    return block if len(block) <= _EMBED_TEXT else _BARE + text


def from_code_block(block: str) -> str:
    """What `code_block` was given."""
    if block.startswith(_BARE):
        return block.removeprefix(_BARE)
    return block.removeprefix("```").removesuffix("```").strip("\n").replace("\u200b", "")


def place_in_line(place: int) -> str:
    """1 is the next one: "Next in line", "Third in line", "14th in line"."""
    if place <= len(_ORDINALS):
        return f"{_ORDINALS[max(1, place) - 1]} in line"
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending} in line"


def counted(number: int, thing: str) -> str:
    """A number with its noun: "1 grid", "2,813 grids"."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def first_of(names: Sequence[str], most: int) -> str:
    """The first so many of them, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def when(at: float) -> str:
    """A moment that Discord keeps counting by itself: "in 40 seconds"."""
    return f"<t:{round(at)}:R>"


def day(at: float) -> str:
    """A moment as a date in the reader's own language."""
    return f"<t:{round(at)}:D>"


def gpu_time(ms: int) -> str:
    """GPU time in the unit that fits it: "0.8 s", "12 s", "3.5 min", "1 h 40 min"."""
    seconds = ms / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min".replace(".0 ", " ")
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def minutes(ms: int) -> str:
    """Minutes without their unit: "0.4", "7.5", "199"."""
    return f"{ms / 60_000:.1f}".removesuffix(".0") if ms < 600_000 else f"{ms // 60_000}"


def settings(request: Request) -> str:
    """The settings on one line: "256×256 · 20 steps · seed 7"; of what is only made larger, the size."""
    if request.upscale is not None and not request.upscale.creative:
        return f"{request.width}×{request.height}"
    parts = [
        f"{request.width}×{request.height}",
        counted(request.steps, "step"),
        f"seed {request.seed}",
    ]
    if request.chaos:
        parts.append(f"chaos {request.chaos}")
    if request.tile:
        parts.append("tile")
    parts += [f"{harmless(lora.name, 60)} {lora.weight:g}" for lora in request.loras]
    if request.stop < 100:
        parts.append(f"stopped at {request.stop} %")
    if request.negative:
        parts.append(f"without {harmless(request.negative, 200)}")
    return " · ".join(parts)


def link(job: Job) -> str | None:
    """Where the job's message stands, as an address that Discord opens; None when it has none."""
    if job.where.message is None:
        return None
    return f"https://discord.com/channels/{job.where.guild or '@me'}/{job.where.channel}/{job.where.message}"


def file_name(job: Job, ending: str) -> str:
    """A name for the job's picture that says what it shows: `a-red-boat-k3j2….png`."""
    words = _SLUG.sub("-", job.request.prompt.lower()).strip("-")[:40].strip("-") or "picture"
    return f"{words}-{job.id}{ending}"
