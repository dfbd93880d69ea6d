"""Reads what was typed: "a cat --ar 16:9 --seed 7" becomes a Request, or a PromptError that says all that is wrong.

Pure. Knows models and LoRAs from what it is given; knows no plan, no person and no rule of a server.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from core import model_selection, parameter_effects, prompt_reading
from core.catalogue import OWN_SAMPLER, Capability, Choices, Model
from core.errors import Edit
from core.foreign_syntax import read_as_words
from core.job import Lane, Lora, Request
from core.model_capabilities import capabilities, missing_capability
from core.parameters import IGNORED, MAX_COUNT, MAX_STEPS
from core.prompt_reading import Reading
from core.scripts import unread_script
from core.spelling import quoted

#: Ratios closer than this (in log) are the same to the eye.
_SAME_SHAPE = 0.005
#: Names of ignored parameters that one line has room for.
_MOST_IGNORED = 8
#: What a word of the prompt asks of the model.
_ASKED_BY = {
    Capability.TILE: "tile",
    Capability.LORA: "lora",
    Capability.NEGATIVE: "no",
    Capability.STOP: "stop",
    Capability.CHAOS: "chaos",
}


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
    ignored: tuple[str, ...]  # names as typed, "--weird"
    unread: tuple[str, ...] = ()  # the words behind them, and addresses, which nothing reads
    notes: tuple[str, ...] = ()  # what was taken otherwise than it was typed, as sentences
    typed: str = ""  # with what was added from saved settings, so that it means the same for everybody


def parse(
    text: str, *, choices: Choices, defaults: Defaults, seed: int, saved: Sequence[prompt_reading.Saved] = ()
) -> Parsed:
    """The request that `text` asks for; `seed` is used when it names none. Raises PromptError, nothing else.

    `saved`: what holds where the text says nothing, the nearer to it first: macros, the suffix, the settings.
    """
    reading = prompt_reading.read(text, saved)
    lane = _lane(reading)
    model = _model(reading, choices)
    if model is None:  # what another one could not do says nothing about the one that was meant
        reading.mistakes.raise_any()
    assert model is not None
    _check_sampler(reading, model)
    values = reading.values() | {"lora": _loras(reading, model, choices)}
    request = _request(reading.words, values, model=model, choices=choices, defaults=defaults, seed=seed)
    _check_capabilities(reading, request, model, choices)
    _check_negative(reading, request, model)
    reading.mistakes.raise_any()
    notes = (*_ignored_notes(reading), *_notes(values, request, model, choices, defaults))
    ignored = tuple(dict.fromkeys(f"--{name}" for name in reading.ignored))
    unread = tuple(filter(None, reading.unread))
    typed = " ".join([text, *reading.added])
    return Parsed(request=request, lane=lane, ignored=ignored, unread=unread, notes=notes, typed=typed)


def _model(reading: Reading, choices: Choices) -> Model | None:
    """The model that is named, or the usual one; None for a name that is none."""
    if "model" not in reading.given:
        return choices.usual()
    name, piece = reading.given["model"]
    try:
        return model_selection.find_model(name, choices)
    except model_selection.UnknownName as error:
        edits = _renamed(piece.value, piece.value_start, piece.value, error.near)
        reading.mistakes.add(str(error), piece.value, piece.value_start, *edits, origin=piece.origin)
        return None


def _check_sampler(reading: Reading, model: Model) -> None:
    """A model may not be able to use the sampler."""
    if "sampler" in reading.given and model.samplers and reading.given["sampler"][0] not in model.samplers:
        name, piece = reading.given["sampler"]
        has = "it uses its own" if model.samplers == (OWN_SAMPLER,) else f"it has {', '.join(model.samplers)}"
        sentence = f"{quoted(model.name)} cannot use the sampler {quoted(name)}; {has}."
        reading.mistakes.add(sentence, piece.value, piece.value_start, origin=piece.origin)


def _loras(reading: Reading, model: Model, choices: Choices) -> tuple[Lora, ...]:
    """The LoRAs that are named, are here and fit."""
    found: dict[str, Lora] = {}
    for lora, piece in reading.given["lora"][0] if "lora" in reading.given else ():
        try:
            model_selection.find_lora(lora.name, model, choices)
        except model_selection.UnknownName as error:
            name = piece.value.partition(":")[0]
            edits = _renamed(piece.value, piece.value_start, name, error.near)
            reading.mistakes.add(str(error), piece.value, piece.value_start, *edits, origin=piece.origin)
            continue
        if lora.name in found:
            sentence = f"The LoRA {quoted(lora.name)} is named twice; once is enough."
            reading.mistakes.add(sentence, piece.value, piece.value_start, origin=piece.origin)
        found[lora.name] = lora
    return tuple(found.values())


def _renamed(value: str, start: int, name: str, near: str | None) -> tuple[Edit, ...]:
    """The right name in a wrong one's place."""
    at = start + value.find(name)
    return (Edit(at, at + len(name), near),) if near else ()


def _check_capabilities(reading: Reading, request: Request, model: Model, choices: Choices) -> None:
    """What the model cannot do is said at the word that asks for it; of several, one after the other."""
    while found := missing_capability(request, model, others=choices.models.values()):
        capability, sentence = found
        name = _ASKED_BY.get(capability, "")
        piece = reading.given[name][1] if name in reading.given else None
        if piece is None:
            reading.mistakes.add(sentence)
        else:
            reading.mistakes.add(sentence, piece.dashed, piece.start, origin=piece.origin)
        less = _without(request, capability)
        if less == request:
            return
        request = less


def _without(request: Request, capability: Capability) -> Request:
    """The same request, not asking for this."""
    changes: dict[Capability, dict[str, Any]] = {
        Capability.TILE: {"tile": False},
        Capability.LORA: {"loras": ()},
        Capability.NEGATIVE: {"negative": ""},
        Capability.STOP: {"stop": 100},
        Capability.CHAOS: {"chaos": 0},
    }
    return replace(request, **changes.get(capability, {}))


def _check_negative(reading: Reading, request: Request, model: Model) -> None:
    """A `--no` may change nothing."""
    sentence = parameter_effects.idle_negative(request, model)
    # More guidance is no cure for what the model cannot do at all.
    if sentence and Capability.NEGATIVE in capabilities(model):
        piece = reading.given["no"][1]
        reading.mistakes.add(sentence, piece.dashed, piece.start, origin=piece.origin)


def _ignored_notes(reading: Reading) -> tuple[str, ...]:
    """Small lines about what nothing reads: names alone, for there may be much behind them."""
    notes = []
    by_nearest: dict[str, list[str]] = {}
    names = list(dict.fromkeys(reading.ignored))
    for name in names[:_MOST_IGNORED]:
        by_nearest.setdefault(IGNORED[name].nearest, []).append(f"`--{name}`")
    if names:
        parts = [f"{', '.join(some)} ({near})" if near else ", ".join(some) for near, some in by_nearest.items()]
        notes.append(f"Ignored: {'; '.join(parts)}{', …' if len(names) > _MOST_IGNORED else ''}.")
    if reading.addresses:
        more = f" and {len(reading.addresses) - 1} more" if len(reading.addresses) > 1 else ""
        notes.append(f"Left out: {quoted(reading.addresses[0])}{more}. Addresses are neither fetched nor drawn.")
    return tuple(notes)


def _notes(
    values: dict[str, Any], request: Request, model: Model, choices: Choices, defaults: Defaults
) -> tuple[str, ...]:
    """What was taken otherwise than it was typed, and which model draws when it is not the usual one."""
    notes = [f"Drawn by {quoted(model.name)}."] if model.name != choices.default else []
    asked = _steps(values, model, defaults)
    if asked > MAX_STEPS:
        notes.append(f"{asked} steps were asked for; the limit is {MAX_STEPS}.")
    more = asked - _steps({**values, "quality": 1.0}, model, defaults)
    idle = parameter_effects.idle_parameters(values, request, model, choices, more_steps=more)
    words = (*unread_script(request, model), *read_as_words(request.prompt))
    return (*notes, *idle, *_shape_note(values, request), *words)


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


def _lane(reading: Reading) -> Lane | None:
    said = sorted((reading.given[lane.value][1].start, lane) for lane in Lane if lane.value in reading.given)
    if len(said) > 1:
        (_, first), (start, second) = said[:2]
        sentence = f"{quoted(f'--{first}')} and {quoted(f'--{second}')} cannot be used together."
        reading.mistakes.add(sentence, reading.given[second.value][1].dashed, start)
    return said[0][1] if said else None


def _request(
    words: str, values: dict[str, Any], *, model: Model, choices: Choices, defaults: Defaults, seed: int
) -> Request:
    across, down = values.get("ar", defaults.ratio)
    width, height = model.size_for(across, down)
    stylize = values.get("stylize", 0 if "raw" in values else model_selection.USUAL_STYLE)
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
