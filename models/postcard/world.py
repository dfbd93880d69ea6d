"""What a postcard can show: the names of things, colours, grounds and skies, and one scene of them.

Knows no drawing and no wording. A scene is decided by its random generator alone, and some combinations are held out
by a hash of their names, so that the scores are taken on what was never trained.
"""

import hashlib
import random
from dataclasses import dataclass

THINGS = (
    "circle", "square", "triangle", "star", "heart", "house", "tree", "boat", "moon", "mountain", "cat", "fish",
    "flower", "sun", "cloud", "bird", "car", "umbrella", "mushroom", "key", "balloon", "cup", "crown", "rocket",
)  # fmt: skip
COLOURS = {
    "red": (214, 36, 40),
    "orange": (248, 136, 24),
    "yellow": (250, 220, 48),
    "green": (38, 156, 66),
    "blue": (36, 92, 222),
    "purple": (134, 48, 178),
    "pink": (250, 138, 190),
    "brown": (122, 70, 32),
    "black": (28, 28, 32),
    "white": (248, 248, 248),
}
GROUNDS = ("sea", "desert", "meadow", "snow", "city", "forest", "beach")
SKIES = ("day", "night", "sunset", "storm", "dawn", "fog")
SIZES = ((256, 256), (288, 224), (224, 288), (320, 224), (224, 320), (352, 192), (192, 352), (384, 160), (160, 384))
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Thing:
    """One coloured thing of a scene."""

    kind: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that is named about a picture; the rest of it comes from the seed."""

    things: tuple[Thing, ...]
    ground: str
    sky: str
    size: tuple[int, int]
    seed: int


def held_out(kind: str, colour: str, ground: str, sky: str) -> bool:
    """Whether this combination is kept away from training for the scores."""
    digest = hashlib.sha256(f"{kind}/{colour}/{ground}/{sky}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def is_held_out(scene: Scene) -> bool:
    """Whether any thing of the scene makes a combination that is held out."""
    return any(held_out(t.kind, t.colour, scene.ground, scene.sky) for t in scene.things)


def draw_scene(rng: random.Random, size: tuple[int, int], count: int | None = None) -> Scene:
    """Any scene at all, held out or not; `count` fixes how many things it has."""
    if count is None:
        count = rng.choices((0, 1, 2), (4, 66, 30))[0]
    kinds = rng.sample(THINGS, count)
    colours = [rng.choice(tuple(COLOURS)) for _ in kinds]
    things = tuple(Thing(k, c) for k, c in zip(kinds, colours, strict=True))
    return Scene(
        things=things,
        ground=rng.choice(GROUNDS),
        sky=rng.choice(SKIES),
        size=size,
        seed=rng.getrandbits(48),
    )


def training_scene(rng: random.Random, size: tuple[int, int], count: int | None = None) -> Scene:
    """A scene that training may see."""
    while is_held_out(scene := draw_scene(rng, size, count)):
        pass
    return scene


def held_out_scene(rng: random.Random, size: tuple[int, int] = (256, 256)) -> Scene:
    """A scene of one thing whose combination was never trained."""
    while not is_held_out(scene := draw_scene(rng, size, 1)):
        pass
    return scene
