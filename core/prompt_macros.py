"""Macros: a name of somebody's own, `--film`, stands for words and parameters. Pure; knows not where they are kept."""

import re
from collections.abc import Mapping

from core.parameters import BY_NAME, IGNORED, MEANT
from core.prompt_pieces import find_pieces
from core.prompt_reading import Saved

MOST_MACROS = 20
_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")


def expand(text: str, macros: Mapping[str, str]) -> tuple[str, list[Saved]]:
    """The text with each macro's words among its words, and the parameters of the macros.

    >>> expand("a boat --film at sea --ar 3:2", {"film": "35 mm photograph --cfg 6"})[0]
    'a boat 35 mm photograph at sea --ar 3:2'
    """
    pieces = find_pieces(text)
    if not any(piece.name in macros for piece in pieces):
        return text, []
    words, parameters, saved = [text[: pieces[0].start].rstrip()], list[str](), list[Saved]()
    ends = [*(piece.start for piece in pieces[1:]), len(text)]
    for piece, end in zip(pieces, ends, strict=True):
        if piece.name not in macros:
            parameters.append(text[piece.start : end].strip())
            continue
        meant, behind = split(macros[piece.name])
        words += [meant, piece.value]
        if behind:
            saved.append(Saved(text=behind, origin=f"your option `--{piece.name}` (`/prefer option set`)"))
    return " ".join(filter(None, [*words, *parameters])), saved


def split(value: str) -> tuple[str, str]:
    """The words of a macro, and its parameters."""
    pieces = find_pieces(value)
    start = pieces[0].start if pieces else len(value)
    return " ".join(value[:start].split()), value[start:].strip()


def why_not(name: str) -> str:
    """Why a macro cannot have this name; empty where it can."""
    if not _NAME.fullmatch(name):
        return "A name has lower-case letters, digits and hyphens, begins with a letter, and has at most 30 of them."
    if name in BY_NAME or name in IGNORED or name in MEANT:
        return f"`--{name}` is a parameter already. Choose another name."
    return ""
