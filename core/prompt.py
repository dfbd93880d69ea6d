"""Reads what was typed: "a cat --ar 16:9 --seed 7" becomes a Request, or a PromptError that says where and why.

Pure. Knows the model's sizes and defaults from what it is given; knows no plan, no person and no rule of a server.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.catalogue import Model
from core.errors import PromptError
from core.job import Lane, Request
from core.parameters import BY_NAME, IGNORED, MAX_COUNT, MAX_STEPS, OneOf, Parameter, Takes
from core.spelling import nearest, quoted

#: What a modal holds, so that every refused prompt can be opened for correction.
MAX_TYPED = 4000
#: What stands in bold above a picture.
MAX_TEXT = 1500

# Two hyphens start a parameter; so does the dash that phones and editors make of them, when a letter follows at once.
_DASHED = re.compile(r"(?<![^\s,])(?:--(?![\s-])|[—–](?=[A-Za-z]))(?P<name>[^\s=,]*)(?P<glue>=)?")
# The same signs where they do not count: inside a word, or with a blank before the name.
_HIDDEN = re.compile(r"--\s*(?P<name>[A-Za-z]+)(?![\w-])")
#: Letters, numbers and symbols such as emoji; signs and invisible ones alone say nothing.
_SAYING = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "So"})
#: A shape this far from the one that was asked for is said.
_SHAPE_OFF = 1.2
_WORD = re.compile(r"\S+")
_GLUED = re.compile(r"(?P<name>[a-z]+)(?P<value>[0-9].*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What holds where the prompt says nothing; None = the model's own."""

    ratio: tuple[float, float] = (1, 1)
    count: int = MAX_COUNT
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A prompt that was understood."""

    request: Request
    lane: Lane | None  # None = not said
    ignored: tuple[str, ...]  # names as typed, "--chaos"
    notes: tuple[str, ...] = ()  # what was taken otherwise than it was typed, as sentences


@dataclass(frozen=True, slots=True)
class _Piece:
    """One `--name` with the text that follows it, each with its place in the prompt."""

    dashed: str
    name: str
    start: int
    value: str
    value_start: int


def clean(typed: str) -> str:
    """`typed` without what no database, font or reader wants: control signs, unseen marks, halves of surrogates."""
    unwanted = ("Cc", "Cf", "Cs")
    return "".join(c for c in typed if c in "\n\t\u200d" or unicodedata.category(c) not in unwanted).strip()


def parse(text: str, *, model: Model, defaults: Defaults, seed: int) -> Parsed:
    """The request that `text` asks for; `seed` is used when it names none. Raises PromptError, nothing else."""
    if len(text) > MAX_TYPED:
        _refuse_length(text, MAX_TYPED)
    pieces = list(_pieces(text))
    _refuse_hidden(text, pieces)
    words = _words_of(text, pieces)
    given: dict[str, tuple[Any, _Piece]] = {}
    ignored: list[str] = []
    for piece in pieces:
        parameter = BY_NAME.get(piece.name)
        if parameter is not None:
            _take(text, piece, parameter, given)
        elif piece.name in IGNORED:
            _rest(text, piece, IGNORED[piece.name])
            ignored.append(f"--{piece.name}")
        else:
            _refuse_name(text, piece)
    _refuse_empty(text, words, pieces)
    values = {name: value for name, (value, _piece) in given.items()}
    request = _request(words, values, model=model, defaults=defaults, seed=seed)
    asked = _steps(values, model, defaults)
    too_many = (f"{asked} steps were asked for; {MAX_STEPS} are the most.",) if asked > MAX_STEPS else ()
    notes = too_many + _shape_note(values, request)
    return Parsed(request=request, lane=_lane(text, given), ignored=tuple(dict.fromkeys(ignored)), notes=notes)


def _pieces(text: str) -> Iterator[_Piece]:
    found = list(_DASHED.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    for match, following in zip(found, ends, strict=False):
        start, end = _trimmed(text, match.end(), following)
        yield _Piece(match[0].rstrip("="), match["name"].lower(), match.start(), text[start:end], start)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blanks and commas around it."""
    while start < end and (text[start].isspace() or text[start] == ","):
        start += 1
    while start < end and (text[end - 1].isspace() or text[end - 1] == ","):
        end -= 1
    return start, end


def _words_of(text: str, pieces: list[_Piece]) -> str:
    end = pieces[0].start if pieces else len(text)
    words = " ".join(text[:end].split()).rstrip(" ,")
    if len(words) > MAX_TEXT:
        _refuse_length(text, MAX_TEXT)
    return words


def _take(text: str, piece: _Piece, parameter: Parameter, given: dict[str, tuple[Any, _Piece]]) -> None:
    """Reads one parameter's value into `given`."""
    if parameter.name in given and parameter.takes is not Takes.ALL:
        raise _error(f"{quoted(piece.dashed)} is said twice; once is enough.", text, piece.dashed, piece.start)
    value = _rest(text, piece, parameter.takes)
    if parameter.reader is None:
        given[parameter.name] = (True, piece)
        return
    before = f"{given[parameter.name][0]}, " if parameter.name in given else ""
    try:
        given[parameter.name] = (parameter.reader.read(before + value), piece)
    except ValueError:
        raise _wrong_value(text, piece, parameter, value) from None


def _rest(text: str, piece: _Piece, takes: Takes) -> str:
    """The value that belongs to a parameter; words left over behind it are refused: nobody would look for them."""
    if takes is Takes.ALL:
        return piece.value
    words = list(_WORD.finditer(piece.value))
    if len(words) > takes.value:
        extra = words[takes.value]
        sentence = f"{quoted(piece.value[extra.start() :])} stands behind {quoted(piece.dashed)}."
        word, start = extra[0], piece.value_start + extra.start()
        raise _error(f"{sentence} Words come first, parameters after them.", text, word, start)
    return words[0][0].rstrip(",") if words and takes is Takes.ONE else ""


def _wrong_value(text: str, piece: _Piece, parameter: Parameter, value: str) -> PromptError:
    assert parameter.reader is not None
    takes = f"{quoted('--' + parameter.name)} takes {parameter.reader.shown()}"
    if not value:
        return _error(f"{takes}; here it has no value.", text, piece.dashed, piece.start)
    near = nearest(value, parameter.reader.words) if isinstance(parameter.reader, OneOf) else None
    hint = f" Did you mean {quoted(near)}?" if near else ""
    return _error(f"{takes}, not {quoted(value)}.{hint}", text, value, piece.value_start)


def _refuse_name(text: str, piece: _Piece) -> None:
    """Raises PromptError with the nearest right name."""
    glued = _GLUED.fullmatch(piece.name)
    near = nearest(piece.name, BY_NAME) or nearest(piece.name, IGNORED)
    if glued is not None and glued["name"] in BY_NAME:
        hint = f"Did you mean {quoted('--' + glued['name'] + ' ' + glued['value'])}?"
    elif near is not None:
        hint = f"Did you mean {quoted('--' + (BY_NAME[near].name if near in BY_NAME else near))}?"
    else:
        hint = "`/help` lists them all."
    raise _error(f"{quoted(piece.dashed)} is not a parameter here. {hint}", text, piece.dashed, piece.start)


def _refuse_empty(text: str, words: str, pieces: list[_Piece]) -> None:
    """Raises PromptError when there is nothing to draw."""
    if any(unicodedata.category(character) in _SAYING for character in words):
        return
    word, start = (pieces[0].dashed, pieces[0].start) if pieces else ("", 0)
    raise _error("The prompt has no words yet. Say what the picture should show.", text, word, start)


def _refuse_hidden(text: str, pieces: list[_Piece]) -> None:
    """Raises PromptError for a known parameter that would be read as words: `a boat--ar 3:2`, `a boat -- ar 3:2`."""
    starts = {piece.start for piece in pieces}
    for match in _HIDDEN.finditer(text):
        name = match["name"].lower()
        if match.start() not in starts and (name in BY_NAME or name in IGNORED):
            sentence = (
                f"{quoted(match[0])} is not read as a parameter. Write {quoted(f'--{name}')} as a word of its own."
            )
            raise _error(sentence, text, match[0], match.start())


def _shape_note(values: dict[str, Any], request: Request) -> tuple[str, ...]:
    """Says when the model has no size near the ratio that was asked for."""
    if "ar" not in values:
        return ()
    across, down = values["ar"]
    off = (request.width / request.height) / (across / down)
    if 1 / _SHAPE_OFF <= off <= _SHAPE_OFF:
        return ()
    return (f"{across:g}:{down:g} is {request.width}×{request.height} here, the nearest that the model draws.",)


def _refuse_length(text: str, most: int) -> None:
    """Raises PromptError naming the first word that is too much."""
    word = _WORD.search(text, most) or _WORD.search(text)
    start = word.start() if word else 0
    sentence = f"The prompt has {len(text):,} characters; {most:,} are the most."
    raise _error(sentence, text, word[0][:60] if word else "", start)


def _lane(text: str, given: dict[str, tuple[Any, _Piece]]) -> Lane | None:
    if "fast" in given and "relax" in given:
        piece = given["relax"][1]
        raise _error("`--fast` and `--relax` exclude each other.", text, piece.dashed, piece.start)
    return Lane.FAST if "fast" in given else Lane.RELAX if "relax" in given else None


def _request(words: str, values: dict[str, Any], *, model: Model, defaults: Defaults, seed: int) -> Request:
    across, down = values.get("ar", defaults.ratio)
    width, height = model.size_for(across, down)
    return Request(
        prompt=words,
        negative=values.get("no", ""),
        width=width,
        height=height,
        seed=values.get("seed", seed),
        steps=min(MAX_STEPS, _steps(values, model, defaults)),
        guidance=values.get("cfg") or defaults.guidance or model.guidance,
        sampler=values.get("sampler") or defaults.sampler or model.sampler,
        count=values.get("count", defaults.count),
        stop=values.get("stop", 100),
        model=model.name,
    )


def _steps(values: dict[str, Any], model: Model, defaults: Defaults) -> int:
    """As many as were asked for, which may be too many."""
    steps: int = values.get("steps") or defaults.steps or model.steps
    return max(1, round(steps * float(values.get("quality", 1.0))))


def _error(sentence: str, prompt: str, word: str, start: int) -> PromptError:
    return PromptError(sentence, prompt=prompt, word=word, start=start)
