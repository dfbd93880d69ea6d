"""Reads what was typed: "a cat --ar 16:9 --seed 7" becomes a Request, or a PromptError that says where and why.

Pure. Knows models and LoRAs from what it is given; knows no plan, no person and no rule of a server.
"""

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from core import model_selection, parameter_effects, prompt_weights
from core.catalogue import OWN_SAMPLER, Capability, Choices, Model
from core.errors import PromptError
from core.foreign_syntax import read_as_words
from core.job import Lane, Lora, Request
from core.model_capabilities import missing_capability
from core.parameter_parsers import OneOf
from core.parameters import BY_NAME, IGNORED, MAX_COUNT, MAX_STEPS, MEANT, PARAMETERS, Parameter, Takes
from core.prompt_pieces import SURELY, Piece, Tag, find_hidden, find_pieces, take_tags
from core.spelling import nearest, quoted

#: What a modal holds, so that every refused prompt can be opened for correction.
MAX_TYPED = 4000
#: What stands in bold above a picture.
MAX_TEXT = 1500

#: Letters, numbers and symbols such as emoji; signs and invisible ones alone say nothing.
_SAYING = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "So"})
#: Ratios closer than this (in log) are the same to the eye.
_SAME_SHAPE = 0.005
#: What a word of the prompt asks of the model.
_ASKED_BY = {
    Capability.TILE: "tile",
    Capability.LORA: "lora",
    Capability.NEGATIVE: "no",
    Capability.STOP: "stop",
    Capability.CHAOS: "chaos",
}
#: Names that are farther than this mean something else: `no` for `info`.
_PROBABLY = 0.7
_WORD = re.compile(r"\S+")


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
    unread: tuple[str, ...] = ()  # the words behind them, which nothing reads
    notes: tuple[str, ...] = ()  # what was taken otherwise than it was typed, as sentences


def clean(typed: str) -> str:
    """`typed` without what no database, font or reader wants: control signs, unseen marks, halves of surrogates."""
    unwanted = ("Cc", "Cf", "Cs")
    return "".join(c for c in typed if c in "\n\t\u200d" or unicodedata.category(c) not in unwanted).strip()


def parse(text: str, *, choices: Choices, defaults: Defaults, seed: int) -> Parsed:
    """The request that `text` asks for; `seed` is used when it names none. Raises PromptError, nothing else."""
    if len(text) > MAX_TYPED:
        _refuse_length("The prompt has", len(text), text, MAX_TYPED)
    bare, tags = take_tags(text)
    pieces = find_pieces(bare)
    _refuse_hidden(text, bare, pieces)
    words = _words_of(text, bare, pieces)
    given: dict[str, tuple[Any, Piece]] = {}
    for tag in tags:
        _take_tag(text, tag, pieces, given)
    ignored: list[str] = []
    unread: list[str] = []
    for piece in pieces:
        parameter = BY_NAME.get(piece.name)
        if parameter is not None:
            _take(text, piece, parameter, given)
        elif piece.name in IGNORED:
            ignored.append(f"--{piece.name}")
            unread.append(_rest(text, piece, IGNORED[piece.name]))
        else:
            _refuse_name(text, piece)
    _refuse_empty(text, words, pieces)
    _refuse_weights(text, words, given)
    lane = _lane(text, given)
    model = _model(text, given, choices)
    _refuse_sampler(text, given, model)
    loras = _loras(text, given, model, choices)
    values = {name: value for name, (value, _piece) in given.items()} | {"lora": loras}
    request = _request(words, values, model=model, choices=choices, defaults=defaults, seed=seed)
    _refuse_lacking(text, request, given, model, choices)
    _refuse_idle_negative(text, request, given, model)
    if "stylize" in given and not parameter_effects.style_counts(values, request, model, choices):
        ignored.append("--stylize")
    notes = _notes(values, request, model, choices, defaults)
    names = tuple(dict.fromkeys(ignored))
    return Parsed(request=request, lane=lane, ignored=names, unread=tuple(filter(None, unread)), notes=notes)


def _words_of(text: str, bare: str, pieces: list[Piece]) -> str:
    end = pieces[0].start if pieces else len(bare)
    words = " ".join(bare[:end].split()).rstrip(" ,，、")
    if len(words) > MAX_TEXT:
        _refuse_length("The prompt's words have", len(words), bare[:end], MAX_TEXT, typed=text)
    return words


def _take_tag(text: str, tag: Tag, pieces: list[Piece], given: dict[str, tuple[Any, Piece]]) -> None:
    """Reads `<lora:ink:0.8>`, as other programs write it, as `--lora ink:0.8`. Raises PromptError."""
    before = [piece for piece in pieces if piece.start < tag.start]
    name, *weights = (part.strip() for part in tag.inside.split(":"))
    numbers = {weight.removeprefix("unet=").removeprefix("te=") for weight in weights}
    if tag.kind == "hypernet":
        raise _error(f"{quoted(tag.whole)}: hypernetworks do not work here. Leave it out.", text, tag.whole, tag.start)
    if before and before[-1].name in BY_NAME and BY_NAME[before[-1].name].takes is Takes.ALL:
        sentence = f"{quoted(tag.whole)} comes after {quoted(before[-1].dashed)}. Write it before, among the words."
        raise _error(sentence, text, tag.whole, tag.start)
    if len(numbers) > 1:
        sentence = f"{quoted(tag.whole)} has several weights; a LoRA has one here, as in {quoted('<lora:ink:0.8>')}."
        raise _error(sentence, text, tag.whole, tag.start)
    piece = Piece(tag.whole, "lora", tag.start, tag.inside, tag.inside_start)
    _take_value(text, piece, BY_NAME["lora"], ":".join([name, *numbers]), given, typed=tag.inside)


def _take(text: str, piece: Piece, parameter: Parameter, given: dict[str, tuple[Any, Piece]]) -> None:
    """Reads one parameter's value into `given`."""
    value = _rest(text, piece, parameter.takes)
    _take_value(text, piece, parameter, value, given, typed=value)


def _take_value(
    text: str, piece: Piece, parameter: Parameter, value: str, given: dict[str, tuple[Any, Piece]], *, typed: str
) -> None:
    """`typed`: the value as it stands in the text."""
    before = given[parameter.name][0] if parameter.name in given else None
    if before is not None and parameter.takes is not Takes.ALL:  # words add up
        _refuse_too_often(text, piece, parameter, before)
    if parameter.parser is None:
        given[parameter.name] = (True, piece)
        return
    try:
        if parameter.most > 1:
            given[parameter.name] = ((*(before or ()), (parameter.parser.parse(value), piece)), piece)
        else:
            given[parameter.name] = (parameter.parser.parse(f"{before}, {value}" if before else value), piece)
    except ValueError:
        raise _wrong_value(text, piece, parameter, typed) from None


def _refuse_too_often(text: str, piece: Piece, parameter: Parameter, before: Any) -> None:
    """Raises PromptError for a value more than the parameter may have."""
    if parameter.most == 1:
        raise _error(f"{quoted(piece.dashed)} is given twice; once is enough.", text, piece.dashed, piece.start)
    if parameter.most == len(before):
        sentence = f"{quoted(piece.dashed)} may be given up to {parameter.most} times; this is one more."
        raise _error(sentence, text, piece.dashed, piece.start)


def _rest(text: str, piece: Piece, takes: Takes) -> str:
    """The value that belongs to a parameter; words left over behind it are refused: nobody would look for them."""
    if takes is Takes.ALL:
        return piece.value
    words = list(_WORD.finditer(piece.value))
    if len(words) > takes.value:
        extra = words[takes.value]
        sentence = f"{quoted(piece.value[extra.start() :])} comes after {quoted(piece.dashed)}."
        word, start = extra[0], piece.value_start + extra.start()
        raise _error(f"{sentence} Words come first, parameters after them.", text, word, start)
    return words[0][0].rstrip(",，、") if words and takes is Takes.ONE else ""


def _wrong_value(text: str, piece: Piece, parameter: Parameter, value: str) -> PromptError:
    assert parameter.parser is not None
    takes = f"{quoted('--' + parameter.name)} takes {parameter.parser.shown()}"
    if not value:
        return _error(f"{takes}, but has no value here.", text, piece.dashed, piece.start)
    near = nearest(value, parameter.parser.words) if isinstance(parameter.parser, OneOf) else None
    hint = f" Did you mean {quoted(near)}?" if near else ""
    return _error(f"{takes}, not {quoted(value)}.{hint}", text, value, piece.value_start)


def _refuse_name(text: str, piece: Piece) -> None:
    """Raises PromptError with the nearest right name."""
    near = MEANT.get(piece.name) or _near_name(piece.name)
    if near is not None:
        hint = f"Did you mean {quoted('--' + (BY_NAME[near].name if near in BY_NAME else near))}?"
    else:
        hint = "`/help` lists them all."
    raise _error(f"{quoted(piece.dashed)} is not a parameter here. {hint}", text, piece.dashed, piece.start)


def _near_name(typed: str) -> str | None:
    """A parameter's name or alias that was probably meant. Not the alias inside a word of its own, as in `upscale`."""
    aliases = [name for name, parameter in BY_NAME.items() if name != parameter.name and name[:1] == typed[:1]]
    return (
        nearest(typed, (parameter.name for parameter in PARAMETERS), near=_PROBABLY)
        or nearest(typed, aliases, near=SURELY)
        or nearest(typed, IGNORED, near=SURELY)  # no cure: named only where it was surely meant
    )


def _refuse_empty(text: str, words: str, pieces: list[Piece]) -> None:
    """Raises PromptError when there is nothing to draw."""
    if any(unicodedata.category(character) in _SAYING for character in words):
        return
    word, start = (pieces[0].dashed, pieces[0].start) if pieces else ("", 0)
    raise _error("The prompt has no words yet. Say what the picture should show.", text, word, start)


def _refuse_hidden(text: str, bare: str, pieces: list[Piece]) -> None:
    """Raises PromptError for a parameter that would be read as words: `a boat--ar 3:2`, `-- ar 3:2`, `-ar 1:1`."""
    if hidden := find_hidden(bare, pieces):
        typed, name, start = hidden
        sentence = f"{quoted(typed)} is not read as a parameter. Write {quoted(f'--{name}')} as a separate word."
        raise _error(sentence, text, typed, start)


def _model(text: str, given: dict[str, tuple[Any, Piece]], choices: Choices) -> Model:
    """The model that is named, or the usual one. Raises PromptError."""
    if "model" not in given:
        return choices.usual()
    name, piece = given["model"]
    try:
        return model_selection.find_model(name, choices)
    except model_selection.UnknownName as error:
        raise _error(str(error), text, piece.value, piece.value_start) from None


def _refuse_sampler(text: str, given: dict[str, tuple[Any, Piece]], model: Model) -> None:
    """Raises PromptError for a sampler that the model cannot use."""
    if "sampler" in given and model.samplers and given["sampler"][0] not in model.samplers:
        name, piece = given["sampler"]
        has = "it uses its own" if model.samplers == (OWN_SAMPLER,) else f"it has {', '.join(model.samplers)}"
        sentence = f"{quoted(model.name)} cannot use the sampler {quoted(name)}; {has}."
        raise _error(sentence, text, piece.value, piece.value_start)


def _refuse_weights(text: str, words: str, given: dict[str, tuple[Any, Piece]]) -> None:
    """Raises PromptError for `::` and brackets whose numbers cannot be."""
    try:
        prompt_weights.parse(words)
    except ValueError as error:
        raise _error(str(error), text, "", 0) from None
    negative, piece = given.get("no", ("", None))
    try:
        prompt_weights.parse(negative)
    except ValueError as error:
        assert piece is not None  # nothing has no weights
        raise _error(str(error), text, piece.dashed, piece.start) from None


def _loras(text: str, given: dict[str, tuple[Any, Piece]], model: Model, choices: Choices) -> tuple[Lora, ...]:
    """The LoRAs that are named, each of which is here and fits. Raises PromptError."""
    found: dict[str, Lora] = {}
    for lora, piece in given["lora"][0] if "lora" in given else ():
        try:
            model_selection.find_lora(lora.name, model, choices)
        except model_selection.UnknownName as error:
            raise _error(str(error), text, piece.value, piece.value_start) from None
        if lora.name in found:
            sentence = f"The LoRA {quoted(lora.name)} is named twice; once is enough."
            raise _error(sentence, text, piece.value, piece.value_start)
        found[lora.name] = lora
    return tuple(found.values())


def _refuse_lacking(
    text: str, request: Request, given: dict[str, tuple[Any, Piece]], model: Model, choices: Choices
) -> None:
    """Raises PromptError for what the model cannot do, at the word that asks for it."""
    found = missing_capability(request, model, others=choices.models.values())
    if found is not None:
        capability, sentence = found
        piece = given[_ASKED_BY[capability]][1] if _ASKED_BY.get(capability) in given else None
        raise _error(sentence, text, piece.dashed if piece else "", piece.start if piece else 0)


def _refuse_idle_negative(text: str, request: Request, given: dict[str, tuple[Any, Piece]], model: Model) -> None:
    """Raises PromptError for a `--no` that would change nothing."""
    if sentence := parameter_effects.idle_negative(request, model):
        piece = given["no"][1]
        raise _error(sentence, text, piece.dashed, piece.start)


def _notes(
    values: dict[str, Any], request: Request, model: Model, choices: Choices, defaults: Defaults
) -> tuple[str, ...]:
    """What was taken otherwise than it was typed, and which model draws when it is not the usual one."""
    notes = [f"Drawn by {quoted(model.name)}."] if model.name != choices.default else []
    asked = _steps(values, model, defaults)
    if asked > MAX_STEPS:
        notes.append(f"{asked} steps were asked for; the limit is {MAX_STEPS}.")
    more = asked - _steps({**values, "quality": 1.0}, model, defaults)
    idle = parameter_effects.idle_parameters(values, request, model, more_steps=more)
    return (*notes, *idle, *_shape_note(values, request), *read_as_words(request.prompt))


def _shape_note(values: dict[str, Any], request: Request) -> tuple[str, ...]:
    """Says which of the model's own sizes a ratio became, where it is not the ratio itself."""
    if "ar" not in values:
        return ()
    across, down = values["ar"]
    width, height = request.width, request.height
    off = (width / height) / (across / down)
    if abs(math.log(off)) < _SAME_SHAPE:
        return ()
    common = math.gcd(width, height)
    shape = f"{width}×{height} ({width // common}:{height // common})"
    return (f"Drawn at {shape}, the nearest to {across:g}:{down:g} that this model has.",)


def _refuse_length(what: str, length: int, text: str, most: int, *, typed: str = "") -> None:
    """Raises PromptError naming the first word of `text`, the beginning of what was `typed`, that is too much."""
    word = _WORD.search(text, most) or _WORD.search(text)
    start = word.start() if word else 0
    sentence = f"{what} {length:,} characters; the limit is {most:,}."
    raise _error(sentence, typed or text, word[0][:60] if word else "", start)


def _lane(text: str, given: dict[str, tuple[Any, Piece]]) -> Lane | None:
    said = sorted((given[lane.value][1].start, lane) for lane in Lane if lane.value in given)
    if len(said) > 1:
        (_, first), (start, second) = said[:2]
        sentence = f"{quoted(f'--{first}')} and {quoted(f'--{second}')} cannot be used together."
        raise _error(sentence, text, given[second.value][1].dashed, start)
    return said[0][1] if said else None


def _request(
    words: str, values: dict[str, Any], *, model: Model, choices: Choices, defaults: Defaults, seed: int
) -> Request:
    across, down = values.get("ar", defaults.ratio)
    width, height = model.size_for(across, down)
    stylize = values.get("stylize", model_selection.USUAL_STYLE)
    return Request(
        prompt=words,
        negative=values.get("no", ""),
        width=width,
        height=height,
        seed=values.get("seed", seed),
        steps=min(MAX_STEPS, _steps(values, model, defaults)),
        guidance=values.get("cfg") or defaults.guidance or model_selection.guidance_of(model, stylize),
        sampler=values.get("sampler") or _usual_sampler(model, defaults),
        count=values.get("count", defaults.count),
        stop=values.get("stop", 100),
        model=model.name,
        loras=model_selection.with_style(values["lora"], model, stylize, choices),
        house=model_selection.house_style_of(model, stylize),
        chaos=values.get("chaos", 0),
        tile=values.get("tile", False),
    )


def _usual_sampler(model: Model, defaults: Defaults) -> str:
    """The person's own where the model can use it."""
    wanted = defaults.sampler
    return wanted if wanted and (not model.samplers or wanted in model.samplers) else model.sampler


def _steps(values: dict[str, Any], model: Model, defaults: Defaults) -> int:
    """As many as were asked for, which may be too many."""
    steps: int = values.get("steps") or defaults.steps or model.steps
    return max(1, round(steps * float(values.get("quality", 1.0))))


def _error(sentence: str, prompt: str, word: str, start: int) -> PromptError:
    return PromptError(sentence, prompt=prompt, word=word, start=start)
