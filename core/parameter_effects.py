"""What of a prompt would change nothing with the model that draws it, so that nobody waits for an effect in vain.

Pure: knows the request and what is said of the model; what a model cannot do at all stands in model_capabilities.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core import model_selection
from core.catalogue import OWN_SAMPLER, Choices, Model
from core.job import Request
from core.spelling import quoted


def idle_negative(request: Request, model: Model) -> str:
    """Why `--no` would change nothing, with its cure; empty where it counts or is not there."""
    if request.negative and "no" in model.ignores:
        return f"{quoted(model.name)} cannot be told what to leave out. Leave out `--no`."
    if not request.negative or request.guidance > model.negative_above:
        return ""
    enough = f"{max(2, model.negative_above + 1):g}"
    return (
        f"`--no` counts only with guidance, and {quoted(model.name)} would draw this with {request.guidance:g}. "
        f"Add {quoted(f'--cfg {enough}')} or more, or leave out `--no`."
    )


def idle_parameters(
    values: Mapping[str, Any], request: Request, model: Model, choices: Choices, *, more_steps: int
) -> tuple[str, ...]:
    """A sentence for each parameter of `values` that changes nothing. `more_steps`: by `--quality`."""
    found = [*_idle_style(values, request, model, choices)]
    if "cfg" in values and "cfg" in model.ignores:
        found.append(f"`--cfg` changes nothing: {quoted(model.name)} takes no guidance.")
    if values.get("quality", 1) != 1 and more_steps == 0:
        found.append(f"`--quality {values['quality']:g}` changes nothing: it would still be {_steps(request.steps)}.")
    if request.stop < 100 and request.steps_to_run() == replace(request, stop=100).steps_to_run():
        found.append(f"`--stop {request.stop}` changes nothing: it leaves out none of {_steps(request.steps)}.")
    if stylize := _same_style(values, model):
        usual = model_selection.USUAL_STYLE
        style = f"{quoted(model.name)}'s style"
        found.append(f"`--stylize {stylize}` changes nothing: it says as much of {style} as {usual}.")
    return tuple(found)


def _idle_style(values: Mapping[str, Any], request: Request, model: Model, choices: Choices) -> tuple[str, ...]:
    """Why `--stylize` or `--raw` changes nothing."""
    named = [f"`--{name}`" for name in ("stylize", "raw") if name in values]
    if named and not style_counts(values, request, model, choices):
        verb = "changes" if len(named) == 1 else "change"
        return (f"{' and '.join(named)} {verb} nothing: {_why_no_style(values, model)}.",)
    if "raw" in values and values.get("stylize", 0) > 0:
        return (f"`--raw` changes nothing: `--stylize {values['stylize']}` asks for the house style.",)
    return ()


def _why_no_style(values: Mapping[str, Any], model: Model) -> str:
    if model.style is None:
        return f"{quoted(model.name)} has no house style"
    if model.style.guidance is not None and "cfg" in values:
        return f"what {quoted(model.name)}'s house style sets is the guidance, and `--cfg` sets it already"
    return f"{quoted(model.name)} can use nothing of its house style"


def _same_style(values: Mapping[str, Any], model: Model) -> int:
    """A `--stylize` that is no other than the usual one, where the style is said in phrases; else 0."""
    stylize: int = values.get("stylize", model_selection.USUAL_STYLE)
    if stylize == model_selection.USUAL_STYLE or model.samplers != (OWN_SAMPLER,):
        return 0
    one, usual = (model_selection.house_style_of(model, much) for much in (stylize, model_selection.USUAL_STYLE))
    return stylize if one is not None and usual is not None and one.spoken() == usual.spoken() else 0


def style_counts(values: Mapping[str, Any], request: Request, model: Model, choices: Choices) -> bool:
    """Whether `--stylize` has anything to turn up."""
    full = model_selection.FULL_STYLE
    house = model_selection.house_style_of(model, full)
    negated = house is not None and house.negative and request.guidance > model.negative_above
    guided = model_selection.guidance_of(model, 0) != model_selection.guidance_of(model, full)
    named = values.get("lora", ())
    return bool(
        (house is not None and (house.positive or negated))
        or (guided and "cfg" not in values and "cfg" not in model.ignores)
        or model_selection.with_style(named, model, full, choices) != tuple(named)
    )


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
