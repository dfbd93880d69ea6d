"""Says where a prompt is written in letters that its model's text encoder was hardly taught. Pure."""

import unicodedata

from core.catalogue import Model
from core.job import Request
from core.spelling import quoted

#: What reads prompts there is CLIP, or T5 with a vocabulary of European languages.
_READS_LATIN = frozenset({"sd", "sd1", "sd2", "sdxl", "flux"})


def unread_script(request: Request, model: Model) -> tuple[str, ...]:
    """One sentence where most letters of the prompt are of another script than Latin; else none."""
    letters = [character for character in request.prompt if unicodedata.category(character).startswith("L")]
    foreign = sum(not _is_latin(letter) for letter in letters)
    if model.family not in _READS_LATIN or 2 * foreign <= len(letters):
        return ()
    return (f"{quoted(model.name)} hardly reads this script. The same in English comes out better.",)


def _is_latin(letter: str) -> bool:
    """Modifiers that are written in every script count as Latin."""
    return letter.isascii() or "LATIN" in unicodedata.name(letter, "LATIN")
