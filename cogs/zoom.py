"""Zoom 1.5×, 2× and Custom zoom behind More: the picture smaller in the middle, its surroundings drawn anew.

The custom one opens the prompt, in which `--zoom` says how far and `--ar` another shape.
"""

import re

from bot.interactions import DarkroomBot, PanelButton, Press, picture_actions, submission
from bot.messages import Field, Form, job_component
from bot.services import Services
from core import canvas
from core.canvas import FURTHEST_ZOOM, ZOOMS, Size
from core.catalogue import Model
from core.errors import PromptError, Refused
from core.job import Canvas
from core.pasted_prompt import clean
from core.prompt import Parsed
from core.prompt_reading import MAX_TYPED
from core.spelling import plain_signs, quoted

_CUSTOM = "zoom-custom"
STEPS = {
    factor: PanelButton(
        verb=f"zoom-{factor * 10:.0f}", row=1, order=order, label=f"Zoom {factor:g}×", name=f"Zoom {factor:g}×"
    )
    for order, factor in enumerate(ZOOMS)
}
CUSTOM = PanelButton(verb=_CUSTOM, row=1, order=9, label="Custom zoom", name="Custom zoom")
_FIELD = "prompt"
_USUAL = 2.0
#: Of a copy with a plain keyboard's signs: phones make a long dash of two short ones.
_ZOOM = re.compile(r"(?<![^\s,])--?zoom(?![a-z])[\s=:]*+(?P<value>[0-9.][^\s,]*+)?", re.IGNORECASE)


def _zoom(factor: float) -> picture_actions.Action:
    def smaller(size: Size, _model: Model) -> tuple[Size, Canvas]:
        return canvas.zoom_out(size, factor)

    async def zoom(services: Services, picture: picture_actions.Picture, read: Parsed | None) -> picture_actions.Making:
        return picture_actions.on_canvas(services, picture, read, smaller)

    return zoom


async def _open(press: Press) -> None:
    job = await press.job()
    words = Field(
        name=_FIELD,
        label="Prompt",
        description=f"--zoom 1 to {FURTHEST_ZOOM:g}; --ar 16:9 for another shape. New words fill what is new.",
        value=f"{picture_actions.words_under(press, job)[: MAX_TYPED - 10]} --zoom {_USUAL:g}",
        long=True,
        max_length=MAX_TYPED,
    )
    form = Form(id=job_component(job.id, _CUSTOM, press.id.index), title="Custom zoom", fields=(words,))
    await press.open(form)


async def _sent(press: Press) -> None:
    await _run(press, press.fields.get(_FIELD, ""))


async def _run(press: Press, words: str) -> None:
    """Corrected words come this way, too: whatever refuses them keeps the zoom among them."""
    whole = clean(words)
    with submission.carrying(whole):
        factor, typed = _factor_in(whole)
    try:
        await _run_parts(press, typed, factor)
    except PromptError as error:
        error.typed = error.prompt = f"{error.typed} --zoom {factor:g}"
        raise
    except Refused as error:
        error.prompt = f"{typed} --zoom {factor:g}"
        raise


async def _run_parts(press: Press, typed: str, factor: float) -> None:
    services = press.services
    read = submission.read(services, typed)
    picture = await picture_actions.picture_of(press)
    shape = picture_actions.other_shape(services, picture.job, read)
    if factor == 1 and shape is None:
        raise Refused("`--zoom 1` changes nothing by itself: name another shape, as in `--ar 16:9`, or zoom further.")

    def placed(size: Size, _model: Model) -> tuple[Size, Canvas]:
        return canvas.fit(size, shape, factor) if shape else canvas.zoom_out(size, factor)

    making = picture_actions.on_canvas(services, picture, read, placed)
    await picture_actions.run_with_words(press, typed, read, making)


def _factor_in(typed: str) -> tuple[float, str]:
    """How far, and the prompt without it. Raises Refused."""
    found = list(_ZOOM.finditer(plain_signs(typed)))
    if len(found) > 1:
        raise Refused("`--zoom` is given twice; once is enough.")
    if not found:
        return _USUAL, typed
    said = (found[0]["value"] or "").rstrip("x×")
    rest = f"{typed[: found[0].start()]} {typed[found[0].end() :]}"
    try:
        return float(said), " ".join(rest.split())
    except ValueError:
        instead = f", not {quoted(said)}" if said else ", but has no value here"
        raise Refused(f"`--zoom` takes a number from 1 to {FURTHEST_ZOOM:g}{instead}.") from None


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    for factor, button in STEPS.items():
        picture_actions.declare(bot.registry, _zoom(factor), panel=button)
    bot.registry.add_panel_button(_open, CUSTOM, picture_actions.quote_of(_zoom(_USUAL)))
    bot.registry.add_job_form(_sent, _CUSTOM)
    bot.registry.add_job_mender(_run, _CUSTOM)
