"""Names what a prompt has of other programs' signs that nothing here reads, and that are drawn as words. Pure."""

import re

from core.spelling import quoted

# Words that change during the drawing, `[cat:dog:0.5]` and `[cat|dog]`; one of several, `{red, green}`; the end of a
# chunk; two prompts in one; an embedding by name; emphasis without a number, `((red))`; tags, `<embed:name>` and
# `<random: red, blue>`.
_SQUARE = re.compile(r"\[[^\[\]]*+\]")
_CURLY = re.compile(r"\{[^{}]*+\}")
_DOUBLE = re.compile(r"(?<!\\)\(\([^():]++\)\)")
_WORD = re.compile(r"(?<!\S)(?:BREAK|AND)(?!\S)|(?<![^\s,(])embedding:[^\s,()]++")
_TAG = re.compile(r"<[A-Za-z]++(?:\[[^<>\[\]]*+\])?+:(?!//)[^<>]++>")
_ENDS_IN_NUMBER = re.compile(r":\s*+[0-9.]++\s*+\]")
_MOST_NAMED = 4


def read_as_words(words: str) -> tuple[str, ...]:
    """One sentence where the prompt has any of them.

    >>> read_as_words("a [cat:dog:0.5] on a boat [at sea]")
    ('Not known here and read as words: `[cat:dog:0.5]`.',)
    """
    found = [match[0] for match in _SQUARE.finditer(words) if "|" in match[0] or _ENDS_IN_NUMBER.search(match[0])]
    found += [match[0] for match in _CURLY.finditer(words) if "|" in match[0] or "," in match[0]]
    found += [match[0] for pattern in (_DOUBLE, _TAG) for match in pattern.finditer(words)]
    if words != words.upper():  # in a prompt that shouts, AND is a word
        found += [match[0] for match in _WORD.finditer(words)]
    named = list(dict.fromkeys(found))
    if not named:
        return ()
    more = ", …" if len(named) > _MOST_NAMED else ""
    return (f"Not known here and read as words: {', '.join(map(quoted, named[:_MOST_NAMED]))}{more}.",)
