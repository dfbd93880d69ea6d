"""Looks up the model, LoRAs and house style that a prompt names or its model brings. Pure; knows no prompt's text."""

from collections.abc import Iterable, Sequence

from core.catalogue import Capability, Choices, LoraFile, Model, Style, fits
from core.job import HouseStyle, Lora
from core.model_capabilities import capabilities
from core.spelling import nearest, quoted

#: `--stylize` where nothing is said, and where all of the style counts.
USUAL_STYLE, FULL_STYLE = 100, 1000
_MOST_NAMES = 6
#: A style's LoRA that counts less than this is left out: it would cost a batch of its own and change nothing.
_LEAST_WEIGHT = 0.02


class UnknownName(Exception):
    """There is no such name here, or it does not fit; the text is the sentence that says so.

    `near`: the right name that was probably meant.
    """

    def __init__(self, sentence: str, near: str | None = None) -> None:
        super().__init__(sentence)
        self.near = near


def find_model(name: str, choices: Choices) -> Model:
    """The model of that name. Raises Unknown with the nearest right one."""
    if (model := choices.get(name)) is not None:
        return model
    if name in choices.absent:
        raise UnknownName(
            f"The files of the model {quoted(name)} are not here yet; the owner can fetch them with "
            f"{quoted(f'python bot.py models add {name}')}. {_names(choices.models)}"
        )
    raise _unknown("model", name, choices.models)


def find_lora(name: str, model: Model, choices: Choices) -> LoraFile:
    """The LoRA of that name. Raises Unknown when there is none, or when it is for another kind of model."""
    lora = choices.loras.get(name)
    if lora is None:
        raise _unknown("LoRA", name, choices.loras)
    if not fits(lora, model):
        able = [other.name for other in choices.models.values() if other.shape and fits(lora, other)]
        use = f" Use it with {quoted(f'--model {able[0]}')}." if able else " It fits no model here."
        kind = f"was made for a different kind of model than {quoted(model.name)}."
        raise UnknownName(f"The LoRA {quoted(name)} {lora.misfits.get(model.name, kind)}{use}")
    return lora


def house_style_of(model: Model, stylize: int) -> HouseStyle | None:
    """The words of the model's style at that strength; None where it has none."""
    style = model.style or Style()
    negative = style.negative if Capability.NEGATIVE in capabilities(model) else ""
    if stylize == 0 or not (style.positive or negative):
        return None
    return HouseStyle(positive=style.positive, negative=negative, weight=stylize / FULL_STYLE)


def guidance_of(model: Model, stylize: int) -> float:
    """The model's guidance, moved towards its style's by as much as the style counts."""
    style = model.style
    if style is None or style.guidance is None:
        return model.guidance
    return round(model.guidance + (style.guidance - model.guidance) * stylize / FULL_STYLE, 2)


def with_style(loras: Sequence[Lora], model: Model, stylize: int, choices: Choices) -> tuple[Lora, ...]:
    """The named LoRAs and the style's own, where it is here, fits, and is not named already."""
    style = model.style or Style()
    own = choices.loras.get(style.lora)
    weight = round(style.weight * stylize / FULL_STYLE, 2)
    if (
        own is None
        or not fits(own, model)
        or abs(weight) < _LEAST_WEIGHT
        or any(lora.name == own.name for lora in loras)
    ):
        return tuple(loras)
    return (*loras, Lora(name=own.name, weight=weight))


def _unknown(what: str, name: str, right: Iterable[str]) -> UnknownName:
    words = sorted(right)
    near = nearest(name, words)
    hint = f"Did you mean {quoted(near)}?" if near else _names(words)
    return UnknownName(f"There is no {what} {quoted(name)} here. {hint}", near)


def _names(names: Iterable[str]) -> str:
    words = sorted(names)
    more = ", …" if len(words) > _MOST_NAMES else ""
    shown = ", ".join(quoted(word) for word in words[:_MOST_NAMES])
    return f"Available: {shown}{more}." if words else "None are available."
