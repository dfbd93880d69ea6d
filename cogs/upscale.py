"""Upscale below a single picture, Upscale Creative and 4× behind More: the picture larger, by itself.

Subtle is the work of a network beside the model; creative lets the model draw on what it enlarges.
"""

from dataclasses import replace

from bot.interactions import DarkroomBot, PanelButton, picture_actions
from bot.messages import JobButton
from bot.services import Services
from core.catalogue import Capability, Model
from core.edits import ANEW, CREATIVE, MOST_PIXELS
from core.errors import Cure, Refused
from core.job import SINGLES, Kind, State, Upscale
from core.model_capabilities import capabilities
from core.prompt import Parsed
from core.spelling import quoted

UPSCALE = JobButton(
    verb="upscale", kinds=SINGLES, states=frozenset({State.DONE}), row=0, label="Upscale", of_source=True
)
CREATIVELY = PanelButton(verb="upscale-creative", row=0, order=0, label="Upscale Creative", name="Upscale Creative")
FOUR_TIMES = PanelButton(verb="upscale-4", row=0, order=1, label="Upscale 4×", name="Upscale 4×")
BUTTONS = (UPSCALE,)
#: Small lines below a picture that was not made larger by its own model's upscaler.
REDRAWN = "{model} has no upscaler, so it draws the details itself."
BY_ANOTHER = "{model} has no upscaler; that of {other} did it."


def _upscale(factor: int, *, creative: bool) -> picture_actions.Action:
    """One picture, `factor` times as large. It takes no words of its own: the picture's count."""

    async def upscale(
        services: Services, picture: picture_actions.Picture, _read: Parsed | None
    ) -> picture_actions.Making:
        width, height = (side * factor for side in picture.size)
        if width * height > MOST_PIXELS:
            most = f"{MOST_PIXELS >> 20} megapixels"
            raise Refused(f"That would be {width}×{height}, more than {most}: it is large enough.", cure=Cure.NONE)
        model, redrawn, note = _who(services, picture, creative=creative)
        request = replace(
            picture.job.request,
            width=width,
            height=height,
            count=1,
            seed=services.new_seed(),
            model=model,
            upscale=Upscale(factor=factor, creative=redrawn),
            strength=CREATIVE if redrawn else ANEW,
            canvas=None,
            inputs=(),
            chaos=0,
            stop=100,
            tile=False,
        )
        if not redrawn:  # a network beside the model: no words and no weights of the picture's count
            request = replace(request, negative="", loras=(), house=None)
        notes = (note,) if note else ()
        return picture_actions.Making(kind=Kind.UPSCALE, request=request, source=picture.source, notes=notes)

    return upscale


def _who(services: Services, picture: picture_actions.Picture, *, creative: bool) -> tuple[str, bool, str]:
    """The model whose upscaler does it, whether it redraws, and what is to be said of that.

    Without an upscaler of its own another model's does the same: it takes only the picture.
    """
    choices = services.model_registry.choices
    own = choices.get(picture.job.request.model)
    if creative:
        return picture_actions.model_of(services, picture).name, True, ""
    able = [model for model in choices.models.values() if Capability.UPSCALE in capabilities(model)]
    if own is not None and own in able:
        return own.name, False, ""
    name = quoted(picture.job.request.model)
    if able:
        return able[0].name, False, BY_ANOTHER.format(model=name, other=quoted(able[0].name))
    return _redrawing(own, name)


def _redrawing(own: Model | None, name: str) -> tuple[str, bool, str]:
    if own is None or Capability.REFINE not in capabilities(own):
        sentence = f"{name} has no upscaler. The bot's owner can set one for it (`upscaler` in models.toml)."
        raise Refused(sentence, cure=Cure.NONE)
    return own.name, True, REDRAWN.format(model=name)


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    picture_actions.declare(bot.registry, _upscale(2, creative=False), UPSCALE, words=False)
    picture_actions.declare(bot.registry, _upscale(2, creative=True), panel=CREATIVELY, words=False)
    picture_actions.declare(bot.registry, _upscale(4, creative=False), panel=FOUR_TIMES, words=False)
