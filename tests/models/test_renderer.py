"""The renderer draws the same picture for the same scene, and the captions say what it drew."""

import random

import pytest

from models.postcard.captions import ON, UNDER, caption
from models.postcard.judge import colour_of_thing
from models.postcard.render import places, render
from models.postcard.world import (
    COLOURS,
    GROUNDS,
    SIZES,
    SKIES,
    THINGS,
    Scene,
    Thing,
    draw_scene,
    held_out,
    held_out_scene,
    is_held_out,
    training_scene,
)


def test_there_are_enough_things_colours_grounds_and_skies() -> None:
    assert len(THINGS) >= 20
    assert len(COLOURS) >= 10
    assert len(GROUNDS) >= 5
    assert len(SKIES) >= 4


@pytest.mark.parametrize("size", SIZES)
def test_same_scene_gives_the_same_bytes(size: tuple[int, int]) -> None:
    scene = draw_scene(random.Random(4), size, 2)
    assert render(scene).size == size
    assert render(scene).tobytes() == render(scene).tobytes()


def test_another_seed_gives_another_picture_of_the_same_scene() -> None:
    one, two = (
        Scene(things=(Thing("boat", "red"),), ground="sea", sky="day", size=(256, 256), seed=seed) for seed in (1, 2)
    )
    assert render(one).tobytes() != render(two).tobytes()


@pytest.mark.parametrize("size", SIZES)
def test_things_stand_inside_the_picture_and_apart(size: tuple[int, int]) -> None:
    rng = random.Random(5)
    for _ in range(200):
        found = places(draw_scene(rng, size, 2))
        assert all(p.radius * 0.9 <= p.x <= size[0] - p.radius * 0.9 for p in found)
        assert found[1].x - found[0].x > 0.9 * (found[0].radius + found[1].radius)


def test_a_thing_is_painted_in_its_colour() -> None:
    rng = random.Random(6)
    scenes = [draw_scene(rng, (256, 256), 1) for _ in range(60)]
    right = [colour_of_thing(render(s)) == s.things[0].colour for s in scenes]
    assert sum(right) >= 51  # the measure looks at the middle only, and some things are hollow there


def test_caption_that_leaves_nothing_out_names_all_parts() -> None:
    rng = random.Random(7)
    for _ in range(500):
        scene = draw_scene(rng, (256, 256), rng.choice((1, 2)))
        words = caption(scene, rng, drop=0.0, noise=0.0)
        assert all(t.colour in words for t in scene.things), words
        assert _names(words, ON[scene.ground], scene.ground), words
        assert _names(words, UNDER[scene.sky], scene.sky), words


def _names(words: str, phrases: tuple[str, ...], plain: str) -> bool:
    other = {"sea": "ocean", "meadow": "field", "city": "town", "fog": "mist"}.get(plain, plain)
    return any(p in words for p in (*phrases, plain, other))


def test_the_readme_sentence_is_among_the_wordings() -> None:
    scene = Scene(things=(Thing("boat", "red"),), ground="sea", sky="sunset", size=(256, 256), seed=1)
    rng = random.Random(8)
    said = {caption(scene, rng) for _ in range(3000)}
    assert {"a red boat on the sea at sunset", "red boat, sea, sunset"} <= said


def test_in_pairs_the_first_named_stands_left_unless_words_say_right() -> None:
    rng = random.Random(9)
    scene = Scene(
        things=(Thing("fish", "red"), Thing("star", "blue")), ground="sea", sky="day", size=(256, 256), seed=3
    )
    for _ in range(200):
        words = caption(scene, rng, drop=0.0)
        first = words.index("fish") < words.index("star")
        assert first != ("right of" in words), words


def test_training_never_sees_a_combination_that_is_held_out() -> None:
    rng = random.Random(10)
    for _ in range(3000):
        scene = training_scene(rng, (256, 256))
        assert not any(held_out(t.kind, t.colour, scene.ground, scene.sky) for t in scene.things)
    assert all(is_held_out(held_out_scene(rng)) for _ in range(50))


def test_about_a_tenth_of_all_combinations_is_held_out() -> None:
    every = [held_out(k, c, g, s) for k in THINGS for c in COLOURS for g in GROUNDS for s in SKIES]
    assert 0.08 < sum(every) / len(every) < 0.12
