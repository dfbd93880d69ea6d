"""Reads the words and the parameters' values out of what was typed, and collects every mistake on the way.

Pure. Knows the table of parameters; knows no model, and not what a value does.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core import prompt_weights
from core.errors import Edit
from core.job import Lane
from core.parameter_parsers import OneOf
from core.parameters import BY_NAME, IGNORED, MEANT, PARAMETERS, Ignored, Parameter, Takes
from core.prompt_addresses import take_addresses
from core.prompt_mistakes import Mistakes
from core.prompt_pieces import SURELY, Piece, Tag, find_hidden, find_pieces, take_tags
from core.spelling import nearest, quoted

#: What a modal holds, so that every refused prompt can be opened for correction.
MAX_TYPED = 4000
#: What stands in bold above a picture.
MAX_TEXT = 1500

#: Letters, numbers and symbols such as emoji; signs and invisible ones alone say nothing.
_SAYING = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "So"})
#: Names that are farther than this mean something else: `no` for `info`.
_PROBABLY = 0.7
_WORD = re.compile(r"\S+")
_COMMAS = " ,，、"


#: A prompt that has one of them takes none of them from a saved setting.
_TOGETHER = (frozenset(Lane), frozenset({"stylize", "raw"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Parameters that somebody has saved, which hold where the prompt says nothing of them.

    `origin`: where they come from, as a sentence about a mistake says it: "your suffix (`/prefer suffix`)".
    """

    text: str
    origin: str


@dataclass(slots=True)
class Reading:
    """What stands in a prompt. `given`: by the parameter's name, its value and where that stands."""

    text: str
    mistakes: Mistakes
    words: str = ""
    words_end: int = 0  # where the words end in the text
    given: dict[str, tuple[Any, Piece]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)  # names of Midjourney's own, without dashes
    unread: list[str] = field(default_factory=list)  # what stands behind them, and addresses
    addresses: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)  # parameters from saved settings, as they may be typed

    def values(self) -> dict[str, Any]:
        """Each parameter's value."""
        return {name: value for name, (value, _piece) in self.given.items()}


def read(text: str, saved: Sequence[Saved] = ()) -> Reading:
    """Everything in `text`, then what is saved, first ones first.

    Raises PromptError only for a text that is too long to be looked at.
    """
    reading = Reading(text, Mistakes(text))
    if len(text) > MAX_TYPED:
        _add_length(reading, "The prompt has", len(text), text, MAX_TYPED)
        reading.mistakes.raise_any()
    bare, tags = take_tags(text)
    pieces = find_pieces(bare)
    _read_words(reading, bare, pieces)
    _add_hidden(reading, bare, pieces)
    for tag in tags:
        _take_tag(reading, tag, pieces)
    for piece in pieces:
        _take_piece(reading, piece)
    _check_words(reading, pieces)
    for one in saved:
        _add_saved(reading, one)
    _check_weights(reading)
    return reading


def read_saved(saved: Saved) -> Reading:
    """Parameters alone. Its `words` are what stands before them, which belongs nowhere."""
    reading = Reading(saved.text, Mistakes(saved.text))
    pieces = [replace(piece, origin=saved.origin) for piece in find_pieces(saved.text)]
    reading.words = " ".join(saved.text[: pieces[0].start if pieces else None].split())
    for piece in pieces:
        _take_piece(reading, piece)
    return reading


def _add_saved(reading: Reading, saved: Saved) -> None:
    """The prompt's own parameters win, and those that were saved more especially."""
    found = read_saved(saved)
    reading.mistakes.add_all(found.mistakes, saved.origin)
    taken = set(reading.given)
    for group in _TOGETHER:
        taken |= group if taken & group else frozenset()
    for name, (value, piece) in found.given.items():
        if name not in taken:
            reading.given[name] = (value, piece)
            pieces = [one for _, one in value] if BY_NAME[name].most > 1 else [piece]
            reading.added += [one.shown() for one in pieces]
    reading.ignored += found.ignored
    reading.unread += found.unread


def _read_words(reading: Reading, bare: str, pieces: list[Piece]) -> None:
    end = pieces[0].start if pieces else len(bare)
    left, addresses = take_addresses(bare[:end])
    reading.addresses = [address.text for address in addresses]
    reading.unread += reading.addresses
    reading.words = " ".join(left.split()).strip(_COMMAS)
    reading.words_end = len(bare[:end].rstrip(_COMMAS + "\n\t"))
    if len(reading.words) > MAX_TEXT:
        _add_length(reading, "The prompt's words have", len(reading.words), bare[:end], MAX_TEXT)


def _take_piece(reading: Reading, piece: Piece) -> None:
    parameter = BY_NAME.get(piece.name)
    if piece.name == "style" and piece.value.lower().split()[:1] == ["raw"]:
        parameter = BY_NAME["raw"]  # the one style that means something here
        piece = replace(piece, name="raw", value=piece.value[3:].lstrip(), value_start=piece.value_start + 3)
    if parameter is not None:
        value = _value_of(reading, piece, parameter.takes)
        _take_value(reading, piece, parameter, value, typed=value)
    elif piece.name in IGNORED:
        reading.ignored.append(piece.name)
        reading.unread.append(_passed_over(reading, piece, IGNORED[piece.name]))
    else:
        _add_unknown(reading, piece)


def _passed_over(reading: Reading, piece: Piece, ignored: Ignored) -> str:
    """What belongs to a parameter that is ignored; a number may stand behind any of them."""
    numbered = piece.value[:1].isdecimal()
    return _value_of(reading, piece, Takes.ONE if ignored.takes is Takes.NOTHING and numbered else ignored.takes)


def _take_tag(reading: Reading, tag: Tag, pieces: list[Piece]) -> None:
    """Reads `<lora:ink:0.8>`, as other programs write it, as `--lora ink:0.8`."""
    before = [piece for piece in pieces if piece.start < tag.start]
    name, *weights = (part.strip() for part in tag.inside.split(":"))
    numbers = {weight.removeprefix("unet=").removeprefix("te=") for weight in weights}
    sentence = ""
    if tag.kind == "hypernet":
        sentence = f"{quoted(tag.whole)}: hypernetworks do not work here. Leave it out."
    elif before and before[-1].name in BY_NAME and BY_NAME[before[-1].name].takes is Takes.ALL:
        sentence = f"{quoted(tag.whole)} comes after {quoted(before[-1].dashed)}. Write it before, among the words."
    elif len(numbers) > 1:
        sentence = f"{quoted(tag.whole)} has several weights; a LoRA has one here, as in {quoted('<lora:ink:0.8>')}."
    if sentence:
        reading.mistakes.add(sentence, tag.whole, tag.start)
        return
    piece = Piece(tag.whole, "lora", tag.start, tag.inside, tag.inside_start)
    _take_value(reading, piece, BY_NAME["lora"], ":".join([name, *numbers]), typed=tag.inside)


def _take_value(reading: Reading, piece: Piece, parameter: Parameter, value: str, *, typed: str) -> None:
    """`typed`: the value as it stands in the text."""
    before = reading.given[parameter.name][0] if parameter.name in reading.given else None
    if before is not None and parameter.takes is not Takes.ALL and _is_too_often(reading, piece, parameter, before):
        return
    try:
        read: Any = True if parameter.parser is None else _parsed(parameter, value, before)
    except ValueError:
        _add_wrong_value(reading, piece, parameter, typed)
        return
    if parameter.most > 1:
        read = (*(before or ()), (read, piece))
    reading.given[parameter.name] = (read, piece)


def _parsed(parameter: Parameter, value: str, before: Any) -> Any:
    """Words add up. Raises ValueError."""
    assert parameter.parser is not None
    adds_up = parameter.takes is Takes.ALL and before
    return parameter.parser.parse(f"{before}, {value}" if adds_up else value)


def _is_too_often(reading: Reading, piece: Piece, parameter: Parameter, before: Any) -> bool:
    """Whether there is a value more than the parameter may have."""
    if parameter.most == 1:
        end = piece.value_start + len(piece.value) if piece.value else piece.start + len(piece.dashed)
        sentence = f"{quoted(piece.dashed)} is given twice; once is enough."
        # Which of two values is meant, only their author knows; a flag has none.
        edits = () if parameter.parser else (Edit(max(0, piece.start - 1), end, ""),)
        reading.mistakes.add(sentence, piece.dashed, piece.start, *edits)
        return True
    if parameter.most == len(before):
        sentence = f"{quoted(piece.dashed)} may be given up to {parameter.most} times; this is one more."
        reading.mistakes.add(sentence, piece.dashed, piece.start)
        return True
    return False


def _value_of(reading: Reading, piece: Piece, takes: Takes) -> str:
    """The value that belongs to a parameter; words left over behind it are a mistake: nobody would look for them."""
    if takes is Takes.ALL:
        return piece.value
    words = list(_WORD.finditer(piece.value))
    if len(words) > takes.value:
        extra = words[takes.value]
        left, start = piece.value[extra.start() :], piece.value_start + extra.start()
        sentence = f"{quoted(left)} comes after {quoted(piece.dashed)}. Words come first, parameters after them."
        moved = Edit(reading.words_end, reading.words_end, f" {left}" if reading.words_end else f"{left} ")
        reading.mistakes.add(sentence, extra[0], start, Edit(start - 1, start + len(left), ""), moved)
    return words[0][0].rstrip(",，、") if words and takes is Takes.ONE else ""


def _add_wrong_value(reading: Reading, piece: Piece, parameter: Parameter, value: str) -> None:
    assert parameter.parser is not None
    takes = f"{quoted('--' + parameter.name)} takes {parameter.parser.shown()}"
    if not value:
        reading.mistakes.add(f"{takes}, but has no value here.", piece.dashed, piece.start)
        return
    meant = parameter.parser.mended(value)
    hint = f" Did you mean {quoted(meant)}?" if meant and isinstance(parameter.parser, OneOf) else ""
    edits = (Edit(piece.value_start, piece.value_start + len(value), meant),) if meant else ()
    reading.mistakes.add(f"{takes}, not {quoted(value)}.{hint}", value, piece.value_start, *edits)


def _add_unknown(reading: Reading, piece: Piece) -> None:
    """With the nearest right name, which is the cure where the value is one of its own."""
    near = MEANT.get(piece.name) or _near_name(piece.name)
    edits: tuple[Edit, ...] = ()
    if near is not None:
        name = BY_NAME[near].name if near in BY_NAME else near
        hint = f"Did you mean {quoted('--' + name)}?"
        if _takes_value(name, piece.value):
            edits = (Edit(piece.start, piece.start + len(piece.dashed), f"--{name}"),)
            _value_of(
                reading, piece, BY_NAME[name].takes
            )  # what stands behind it is too much for the right one as well
    else:
        hint = "`/help` lists them all."
    sentence = f"{quoted(piece.dashed)} is not a parameter here. {hint}"
    reading.mistakes.add(sentence, piece.dashed, piece.start, *edits)


def _takes_value(name: str, value: str) -> bool:
    """Whether the parameter would read this value."""
    parameter = BY_NAME.get(name)
    if parameter is None:
        return False
    if parameter.parser is None:
        return True
    words = value.split()
    try:
        parameter.parser.parse(words[0].rstrip(",，、") if words and parameter.takes is Takes.ONE else value)
    except ValueError:
        return False
    return True


def _near_name(typed: str) -> str | None:
    """A parameter's name or alias that was probably meant. Not the alias inside a word of its own, as in `upscale`."""
    aliases = [name for name, parameter in BY_NAME.items() if name != parameter.name and name[:1] == typed[:1]]
    return (
        nearest(typed, (parameter.name for parameter in PARAMETERS), near=_PROBABLY)
        or nearest(typed, aliases, near=SURELY)
        or nearest(typed, IGNORED, near=SURELY)  # no cure: named only where it was surely meant
    )


def _check_words(reading: Reading, pieces: list[Piece]) -> None:
    """There has to be something to draw."""
    if any(unicodedata.category(character) in _SAYING for character in reading.words):
        return
    word, start = (pieces[0].dashed, pieces[0].start) if pieces else ("", 0)
    said = "an address, but no words" if reading.addresses else "no words yet"
    reading.mistakes.add(f"The prompt has {said}. Say what the picture should show.", word, start)


def _add_hidden(reading: Reading, bare: str, pieces: list[Piece]) -> None:
    """A parameter that would be read as words: `a boat--ar 3:2`, `-- ar 3:2`, `-ar 1:1`."""
    if hidden := find_hidden(take_addresses(bare)[0], pieces):
        typed, name, start = hidden
        sentence = f"{quoted(typed)} is not read as a parameter. Write {quoted(f'--{name}')} as a separate word."
        gap = "" if start == 0 or reading.text[start - 1].isspace() else " "
        behind = reading.text[start + len(typed) : start + len(typed) + 1]
        edit = Edit(start, start + len(typed), f"{gap}--{name}" + ("" if behind.isspace() or not behind else " "))
        reading.mistakes.add(sentence, typed, start, edit)


def _check_weights(reading: Reading) -> None:
    """`::` and brackets whose numbers cannot be."""
    try:
        prompt_weights.parse(reading.words)
    except ValueError as error:
        reading.mistakes.add(str(error))
    negative, piece = reading.given.get("no", ("", None))
    try:
        prompt_weights.parse(negative)
    except ValueError as error:
        assert piece is not None  # nothing has no weights
        reading.mistakes.add(str(error), piece.dashed, piece.start, origin=piece.origin)


def _add_length(reading: Reading, what: str, length: int, text: str, most: int) -> None:
    """Names the first word of `text`, the beginning of what was typed, that is too much."""
    word = _WORD.search(text, most) or _WORD.search(text)
    sentence = f"{what} {length:,} characters; the limit is {most:,}."
    reading.mistakes.add(sentence, word[0][:60] if word else "", word.start() if word else 0)
