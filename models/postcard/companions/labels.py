"""The words in which the vision network answers: six groups of labels, `group:word`, and the sentence they make.

Knows no pictures and no weights. Things are counted from the left: `thing` is the left one or the only one, `second`
the right one. What is not there is `none`.
"""

from collections.abc import Mapping, Sequence

from models.postcard.captions import ON, UNDER, article
from models.postcard.world import COLOURS, GROUNDS, SKIES, THINGS, Scene

NONE = "none"
GROUPS: dict[str, tuple[str, ...]] = {
    "thing": (*THINGS, NONE),
    "colour": (*COLOURS, NONE),
    "second": (*THINGS, NONE),
    "second_colour": (*COLOURS, NONE),
    "ground": GROUNDS,
    "sky": SKIES,
}
LABELS: tuple[str, ...] = tuple(f"{group}:{word}" for group, words in GROUPS.items() for word in words)


def spans() -> dict[str, slice]:
    """Where each group's labels lie among all."""
    found, start = {}, 0
    for group, words in GROUPS.items():
        found[group] = slice(start, start + len(words))
        start += len(words)
    return found


def truth(scene: Scene) -> dict[str, str]:
    """The right word of each group for a scene."""
    parts = [(t.kind, t.colour) for t in scene.things] + [(NONE, NONE)] * 2
    (thing, colour), (second, second_colour) = parts[:2]
    words = (thing, colour, second, second_colour, scene.ground, scene.sky)
    return dict(zip(GROUPS, words, strict=True))


def indices(scene: Scene) -> list[int]:
    """The right word of each group as its place in the group."""
    return [GROUPS[group].index(word) for group, word in truth(scene).items()]


def best(scores: Sequence[float], names: Mapping[int, str]) -> dict[str, str]:
    """The word of each group with the highest score; `names` is the checkpoint's `id2label`."""
    found: dict[str, tuple[float, str]] = {}
    for i, score in enumerate(scores):
        group, _, word = names[i].partition(":")
        if group not in found or score > found[group][0]:
            found[group] = (score, word)
    return {group: word for group, (_, word) in found.items()}


def count(words: Mapping[str, str]) -> int:
    """How many things the words name."""
    return sum(words[group] != NONE for group in ("thing", "second"))


def sentence(words: Mapping[str, str]) -> str:
    """The words as a caption: `a red boat beside a yellow star on the sea at sunset`."""
    pairs = (("colour", "thing"), ("second_colour", "second"))
    things = [
        article(" ".join(w for w in (words[colour], words[thing]) if w != NONE))
        for colour, thing in pairs
        if words[thing] != NONE
    ]
    place, light = ON[words["ground"]][0], UNDER[words["sky"]][0]
    return f"{' beside '.join(things) or 'nothing'} {place} {light}"
