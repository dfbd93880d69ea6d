"""The arrows and Square behind More: more picture on one side, or on two until it is as high as wide."""

from bot.interactions import DarkroomBot, PanelButton, picture_actions
from bot.services import Services
from core import canvas
from core.canvas import Direction, Size
from core.catalogue import Model
from core.job import Canvas
from core.prompt import Parsed

_EMOJI = {Direction.LEFT: "⬅️", Direction.RIGHT: "➡️", Direction.UP: "⬆️", Direction.DOWN: "⬇️"}
ARROWS = {
    direction: PanelButton(verb=f"pan-{direction}", row=2, order=order, emoji=emoji, name=f"Pan {direction}")
    for order, (direction, emoji) in enumerate(_EMOJI.items())
}
SQUARE = PanelButton(verb="square", row=2, order=9, label="Square", name="Square", fits=lambda size: size[0] != size[1])


def _pan(direction: Direction) -> picture_actions.Action:
    def wider(size: Size, model: Model) -> tuple[Size, Canvas]:
        return canvas.pan(size, direction, multiple=model.multiple, most=canvas.room(model.native))

    async def pan(services: Services, picture: picture_actions.Picture, read: Parsed | None) -> picture_actions.Making:
        return picture_actions.on_canvas(services, picture, read, wider)

    return pan


def _squared(size: Size, model: Model) -> tuple[Size, Canvas]:
    return canvas.square(size, multiple=model.multiple, most=canvas.room(model.native))


async def _square(services: Services, picture: picture_actions.Picture, read: Parsed | None) -> picture_actions.Making:
    return picture_actions.on_canvas(services, picture, read, _squared)


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    for direction, arrow in ARROWS.items():
        picture_actions.declare(bot.registry, _pan(direction), panel=arrow)
    picture_actions.declare(bot.registry, _square, panel=SQUARE)
