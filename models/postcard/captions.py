"""Says in varied words what a scene shows. Parts may be left out: what is not named may be anything.

Knows no pictures and no tokens. In pairs the first named stands on the left, unless the words say otherwise.
"""

import random
from collections.abc import Iterator

from models.postcard.world import COLOURS, GROUNDS, SKIES, THINGS, Scene, Thing

NAMES = {
    "moon": ("moon", "moon", "crescent moon"),
    "cat": ("cat", "cat", "cat face", "cat head"),
    "tree": ("tree", "tree", "fir tree"),
    "boat": ("boat", "boat", "boat", "sailing boat", "ship"),
    "cup": ("cup", "cup", "mug"),
    "car": ("car", "car", "little car"),
    "house": ("house", "house", "little house"),
    "star": ("star",),
}
ON = {
    "sea": ("on the sea", "on the sea", "at sea", "on the ocean", "on the water"),
    "desert": ("in the desert", "in the desert", "in a desert", "in the dunes"),
    "meadow": ("in a meadow", "in the meadow", "on a meadow", "on the grass", "in a field"),
    "snow": ("in the snow", "on the snow", "in snow", "on snowy ground"),
    "city": ("in the city", "in a city", "in town", "in the street"),
    "forest": ("in the forest", "in a forest", "in the woods"),
    "beach": ("on the beach", "at the beach", "on a beach", "on a sandy beach"),
}
UNDER = {
    "day": ("by day", "in daylight", "on a sunny day", "under a clear sky", "at noon", "during the day"),
    "night": ("at night", "at night", "by night", "under the stars", "under a night sky", "at midnight"),
    "sunset": ("at sunset", "at sunset", "under a sunset sky", "in the evening", "during sunset"),
    "storm": ("in a storm", "under a stormy sky", "in the rain", "in a thunderstorm", "during a storm"),
    "dawn": ("at dawn", "at dawn", "under a dawn sky", "in the morning", "at sunrise"),
    "fog": ("in the fog", "in fog", "in the mist", "on a foggy day", "under a foggy sky"),
}
PLAIN_GROUND = {"sea": ("sea", "ocean"), "meadow": ("meadow", "field"), "city": ("city", "town")}
PLAIN_SKY = {"storm": ("storm", "stormy sky"), "night": ("night", "night sky"), "fog": ("fog", "mist")}
OPENINGS = ("postcard of", "a postcard of", "a picture of", "a drawing of", "picture of")
FILLERS = ("beautiful", "cute", "detailed", "simple", "flat", "lovely", "bright", "nice", "pretty", "art", "style")
JUNK = ("✨", "🚤", "4k", "zzyzx", "qwertz", "hdr", "éclair", "gorgeous", "masterpiece", "❤️", "trending", "v2")


def article(words: str) -> str:
    """The words with `a` or `an` before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _noun(thing: Thing, rng: random.Random) -> str:
    return rng.choice(NAMES.get(thing.kind, (thing.kind,)))


def _bare(thing: Thing, rng: random.Random, drop: float) -> str:
    noun = _noun(thing, rng)
    return noun if rng.random() < drop else f"{thing.colour} {noun}"


def _phrase(thing: Thing, rng: random.Random, drop: float) -> str:
    if rng.random() < 0.08:
        return f"{article(_noun(thing, rng))} that is {thing.colour}"
    bare = _bare(thing, rng, drop)
    return f"the {bare}" if rng.random() < 0.1 else article(bare)


def _pair(scene: Scene, rng: random.Random, drop: float) -> str:
    left, right = (_phrase(t, rng, drop) for t in scene.things)
    form = rng.choice(
        ("{0} beside {1}", "{0} beside {1}", "{0} next to {1}", "{0} and {1}", "{0} and {1} side by side",
         "{0} to the left of {1}", "{1} to the right of {0}", "{0} with {1}", "two things: {0} and {1}")
    )  # fmt: skip
    return form.format(left, right)


def caption(scene: Scene, rng: random.Random, *, drop: float = 0.1, noise: float = 0.06) -> str:
    """One wording of the scene; each part but the things is left out with probability `drop`."""
    ground = rng.random() >= drop
    sky = rng.random() >= drop
    words = _listed(scene, rng, drop, ground, sky) if rng.random() < 0.2 else _told(scene, rng, drop, ground, sky)
    if rng.random() < noise:
        words = _noisy(words, rng)
    return words


def _listed(scene: Scene, rng: random.Random, drop: float, ground: bool, sky: bool) -> str:
    parts = [_bare(t, rng, drop) for t in scene.things]
    if ground or not parts:
        parts.append(rng.choice(PLAIN_GROUND.get(scene.ground, (scene.ground,))))
    if sky:
        parts.append(rng.choice(PLAIN_SKY.get(scene.sky, (scene.sky,))))
    return rng.choice((", ", ", ", " ")).join(parts)


def _told(scene: Scene, rng: random.Random, drop: float, ground: bool, sky: bool) -> str:
    on, under = rng.choice(ON[scene.ground]), rng.choice(UNDER[scene.sky])
    if not scene.things:
        place = rng.choice((f"an empty {scene.ground}", f"the {scene.ground}", f"nothing {on}"))
        return f"{place} {under}" if sky else place
    words = _phrase(scene.things[0], rng, drop) if len(scene.things) == 1 else _pair(scene, rng, drop)
    if rng.random() < 0.15:
        words = f"{rng.choice(OPENINGS)} {words}"
    if sky and rng.random() < 0.15:
        return f"{under}, {words} {on}" if ground else f"{under}, {words}"
    tail = [p for p, said in ((on, ground), (under, sky)) if said]
    if rng.random() < 0.12:
        tail.reverse()
    return " ".join([words, *tail])


def _noisy(words: str, rng: random.Random) -> str:
    extra = rng.choice(FILLERS + JUNK)
    return rng.choice((f"{words}, {extra}", f"{extra} {words}", f"{words} {extra}", f"{words}."))


def vocabulary() -> list[str]:
    """Every word that a caption of ours may hold, sorted; these become one token each."""
    words = {w for line in _all_lines() for w in line.replace(",", " ").replace(":", " ").split()}
    return sorted(words)


def _all_lines() -> Iterator[str]:
    yield from THINGS
    yield from COLOURS
    yield from GROUNDS
    yield from SKIES
    for table in (NAMES, ON, UNDER, PLAIN_GROUND, PLAIN_SKY):
        for lines in table.values():
            yield from lines
    yield from OPENINGS
    yield from FILLERS
    yield "a an the one two that is beside next to and side by left right of with things nothing empty"
