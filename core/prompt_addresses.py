"""Finds addresses among a prompt's words: their letters would be drawn as words, which nobody means.

Pure; fetches nothing.
"""

import re
from dataclasses import dataclass

# One that a chat shows without its preview stands in pointed brackets.
_ADDRESS = re.compile(r"(?<!\S)<?(?:blob:)?(?:https?://|www\.)\S++", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """As it stands in the text, and where."""

    text: str
    start: int


def take_addresses(text: str) -> tuple[str, list[Address]]:
    """The text with blanks in their place, as long as before, and the addresses.

    >>> take_addresses("https://a.example/1.png a boat")
    ('                        a boat', [Address(text='https://a.example/1.png', start=0)])
    """
    found = [Address(match[0], match.start()) for match in _ADDRESS.finditer(text)]
    return _ADDRESS.sub(lambda match: " " * len(match[0]), text), found
