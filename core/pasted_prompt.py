"""A prompt as people paste it: out of a message, behind the command, in a block of code. Pure; knows no parameter.

What stands around the words is taken off only where it cannot be a part of them.
"""

import re
import unicodedata

# A message's line about who asked and how: ` - Variations (Strong) by <@1> (fast)`, ` - @alice (relaxed, stealth)`.
_WHO = r"(?:<@!?[0-9]{5,20}>|@[^\n()@]{1,40})"
_MODES = r"(?:fast|relax|relaxed|turbo|stealth|metered|paused|stopped|waiting to start|[0-9]{1,3}%|[,\s])"
_WHAT = r"(?:variations|remix|upscaled|upscaling|zoom out|pan left|pan right|pan up|pan down|make square)"
_ABOUT = re.compile(
    rf"\s[-–—]\s(?:(?P<what>{_WHAT}\b[^@<\n]{{0,40}}\bby\s|image #[1-4]\s)?)(?P<who>{_WHO})"
    rf"(?P<modes>(?:\s\({_MODES}{{1,40}}\)){{0,3}})\s*\Z",
    re.IGNORECASE,
)
_COMMAND = re.compile(r"\A(?:/imagine\b\s*(?:prompt\s*:)?|(?:imagine\s+)?prompt\s*:)\s*", re.IGNORECASE)
_BLOCK = re.compile(r"\A(?:```(?P<block>[^`]+)```|`(?P<span>[^`]+)`)\Z")
_BOLD = re.compile(r"\A\*\*(?P<inside>[^*]+)\*\*(?P<rest>[^*]*)\Z")
#: How our own cards go on behind the prompt.
_OWN_CARD = re.compile(rf"\A (?:· (?:near )?picture [1-9] )?· {_WHO}")


def clean(typed: str) -> str:
    """The prompt alone, without what no database, font or reader wants: control signs, unseen marks, half characters.

    >>> clean("**a red boat --ar 16:9** - @alice (fast)")
    'a red boat --ar 16:9'
    """
    unwanted = ("Cc", "Cf", "Cs")
    text = "".join(c for c in typed if c in "\n\t\u200d" or unicodedata.category(c) not in unwanted).strip()
    if block := _BLOCK.match(text):
        text = (block["block"] or block["span"]).strip()
    text = _COMMAND.sub("", text, count=1)
    if (bold := _BOLD.match(text)) and _is_about(bold["rest"]):
        return bold["inside"].strip()
    about = _ABOUT.search(text)
    return text[: about.start()].strip() if about and _is_sure(about) else text


def _is_about(rest: str) -> bool:
    """Whether what follows the bold words is a message's own line."""
    return not rest.strip() or _ABOUT.match(rest) is not None or _OWN_CARD.match(rest) is not None


def _is_sure(about: re.Match[str]) -> bool:
    """A name alone may be a part of the words: "a robot - @work"."""
    return bool(about["what"] or about["modes"] or about["who"].startswith("<"))
