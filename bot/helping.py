"""The pages of /help, made from the parser's own table. Pure."""

from dataclasses import dataclass

from core.parameters import IGNORED, PARAMETERS


@dataclass(frozen=True, slots=True)
class Page:
    """One page: `name` is what the command sends, `title` what people choose."""

    name: str
    title: str
    text: str


_START = """\
**Pictures from words**
`/imagine` with a few words makes four pictures: `a red boat on the sea at sunset`.
Parameters come behind the words: `a red boat --ar 3:2 --seed 7` (`/help` → Parameters).

**Below the pictures**
**U1**–**U4** posts one of them on its own · **V1**–**V4** makes four more near it
🔄 tries the same words again · ⓘ shows every setting, and deletes
Anybody may press them; the new job is theirs.

**Lanes**
`/fast` uses your fast time · `/turbo` uses it twice as fast and comes first · `/relax` is free and comes last
`/info` shows what you have left"""

_MANAGE = """\
**Stopping**
**Cancel** below a job that waits or runs; or right-click its message → Apps → Cancel Job.
A job that fails costs nothing. A cancelled one costs what was computed.
Moderators (Manage Messages) may cancel and delete any job of their server.

**Deleting**
ⓘ below the pictures → Delete removes the message and the pictures.

**Owners**
`/worker pause` keeps the GPU for you, `/worker resume` gives it back. Jobs wait meanwhile."""


def _parameters() -> str:
    lines = ["**Parameters**"]
    for parameter in PARAMETERS:
        takes = f" · {parameter.reader.shown()}" if parameter.reader else ""
        lines.append(f"`{parameter.example}` {parameter.help}\n-# default {parameter.default}{takes}")
    known = ", ".join(f"`--{name}`" for name in ("chaos", "stylize", "weird", "v", "style") if name in IGNORED)
    lines.append(f"Known from Midjourney and passed over here: {known} and a few more.")
    return "\n".join(lines)


PAGES: tuple[Page, ...] = (
    Page("start", "Start here", _START),
    Page("parameters", "Parameters", _parameters()),
    Page("manage", "Cancel and delete", _MANAGE),
)


def shown(name: str) -> str:
    """The text of a page; an unknown one is the first."""
    return next((page.text for page in PAGES if page.name == name), PAGES[0].text)
