"""Draws a scene: background first, then its things, large and outlined. The same scene gives the same bytes.

Everything is drawn at twice the size and shrunk, which smooths the edges. Knows no captions.
"""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from models.postcard.scenes import Colour, mix, paint_ground, paint_sky
from models.postcard.things import SHAPES, Point
from models.postcard.world import COLOURS, Scene, Thing

SUPER = 2
CREAM, NAVY = (252, 246, 230), (26, 28, 52)
DARK_OUTLINE = {"white", "yellow", "orange", "pink"}
MIRRORED = {"boat", "fish", "bird", "key", "cup", "moon", "mountain", "car"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing stands, in pixels of the finished picture."""

    x: float
    y: float
    radius: float
    tilt: float
    flip: bool

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the square that the thing fills."""
        r = self.radius * 1.1
        return self.x - r, self.y - r, self.x + r, self.y + r


def places(scene: Scene) -> list[Place]:
    """Where the things of a scene stand; from left to right in the scene's order."""
    rng = random.Random(f"place {scene.seed}")
    width, height = scene.size
    unit = min(width, height)
    found = []
    for i, thing in enumerate(scene.things):
        if len(scene.things) == 1:
            radius = unit * rng.uniform(0.21, 0.28)
            centre, slack = width / 2, max(0.0, width / 2 - radius * 1.2)
            x = centre + rng.uniform(-0.5, 0.5) * slack
        else:
            radius = min(unit * 0.25, width * 0.215) * rng.uniform(0.84, 1.0)
            x = width / 2 + (i - 0.5) * max(width * 0.47, radius * 2.2) * rng.uniform(0.96, 1.02)
        y = height * rng.uniform(0.46, 0.6)
        found.append(Place(x, y, radius, rng.uniform(-0.05, 0.05), thing.kind in MIRRORED and rng.random() < 0.5))
    return found


def render(scene: Scene) -> Image.Image:
    """The picture of a scene."""
    rng = random.Random(scene.seed)
    width, height = (side * SUPER for side in scene.size)
    unit = float(min(width, height))
    image = Image.new("RGB", (width, height))
    horizon = round(height * rng.uniform(0.5, 0.62))
    paint_sky(image, scene.sky, horizon, rng, unit)
    paint_ground(image, scene.ground, scene.sky, horizon, rng, unit)
    for thing, place in zip(scene.things, places(scene), strict=True):
        _paint_thing(image, thing, place)
    return image.reduce(SUPER)


def _paint_thing(image: Image.Image, thing: Thing, place: Place) -> None:
    colour = COLOURS[thing.colour]
    ink = NAVY if thing.colour in DARK_OUTLINE else CREAM
    paints = _paints(thing.colour, colour, ink)
    draw = ImageDraw.Draw(image)
    parts = [(role, _placed(points, place)) for role, points in SHAPES[thing.kind]()]
    width = max(2, round(place.radius * SUPER * 0.11))
    for _, points in parts:
        draw.line([*points, points[0], points[1]], fill=ink, width=width, joint="curve")
    for role, points in parts:
        draw.polygon(points, fill=paints[role])


def _paints(name: str, colour: Colour, ink: Colour) -> dict[str, Colour]:
    black, white = (0, 0, 0), (255, 255, 255)
    dark = mix(colour, black, 0.26)
    light = mix(colour, white, 0.42)
    if name == "black":
        dark, light = mix(colour, white, 0.14), mix(colour, white, 0.3)
    elif name == "white":
        dark, light = mix(colour, black, 0.13), mix(colour, black, 0.07)
    elif name == "brown":
        light = mix(colour, white, 0.25)
    return {"main": colour, "dark": dark, "light": light, "ink": ink, "hole": ink}


def _placed(points: list[Point], place: Place) -> list[Point]:
    flip, t = (-1 if place.flip else 1), place.tilt
    out = []
    for px, py in points:
        x, y = px * flip, py
        x, y = x - y * t, y + x * t
        out.append(((place.x + x * place.radius) * SUPER, (place.y + y * place.radius) * SUPER))
    return out
