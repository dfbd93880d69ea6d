"""Edits that need companions mean what they say: the vision network describes pictures, and colours are measured."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from core.edits import STRONG, SUBTLE
from core.job import Input, Kind, Role, Upscale
from models.postcard.render import render
from models.postcard.world import Scene, Thing
from tests.worker.edits.drawing import Easel
from tests.worker.edits.test_postcard import apart, red, wish, yellow
from worker.checkpoints.loader import Loaded
from worker.interfaces import Pixels
from worker.vision.describe import best_words


@pytest.fixture(scope="module")
def easel(postcard: Loaded) -> Easel:
    """The shipped model with its companions."""
    tools = postcard.tools
    assert tools.adapter and tools.upscaler and tools.describer and tools.check
    return Easel(postcard)


def scene(kind: str, colour: str, ground: str, sky: str, seed: int = 1, side: int = 256) -> Pixels:
    """A render of one thing."""
    wanted = Scene(things=(Thing(kind, colour),), ground=ground, sky=sky, size=(side, side), seed=seed)
    return np.asarray(render(wanted))


def prompt(role: Role = Role.PROMPT, weight: float = 1.0) -> Input:
    """A picture that comes along."""
    return Input(role=role, of="a/0", weight=weight)


def seen(easel: Easel, picture: Pixels) -> dict[str, str]:
    """What the vision network sees in it, by group."""
    assert easel.tools.check is not None
    return best_words(easel.tools.check.scores(picture))


BOAT, STAR = ("boat", "red", "sea", "day"), ("star", "yellow", "desert", "night")


def test_a_description_of_a_render_names_thing_and_colour(easel: Easel) -> None:
    things = [
        ("boat", "red"),
        ("star", "yellow"),
        ("house", "green"),
        ("heart", "purple"),
        ("tree", "orange"),
        ("sun", "blue"),
    ]
    grounds = ("sea", "desert", "snow", "meadow", "beach", "forest")
    right = 0
    for place, (kind, colour) in enumerate(things):
        source = scene(kind, colour, grounds[place], ("day", "sunset")[place % 2], seed=place)
        words = easel.prepare(easel.order(wish(), source, kind=Kind.DESCRIBE)).words
        assert len(words) == len(set(words)) == 4
        right += all(f"{colour} {kind}" in line for line in words)
    assert right >= len(things) - 1


def test_the_check_scores_what_is_there(easel: Easel) -> None:
    assert easel.tools.check is not None
    scores = easel.tools.check.scores(scene(*BOAT))
    assert scores["thing:boat"] > 0.5 > scores["thing:star"]
    assert scores["colour:red"] > 0.5 > scores["colour:blue"]


def test_variations_of_a_red_boat_are_red_boats(easel: Easel) -> None:
    parent = easel.draw(wish())[0]
    for strength in (SUBTLE, STRONG):
        for picture in easel.draw(wish(strength=strength, seed=50, count=2), parent):
            found = seen(easel, picture)
            assert (found["thing"], found["colour"], found["ground"]) == ("boat", "red", "sea")


def test_a_blend_of_a_red_boat_and_a_yellow_star_shows_red_and_yellow(easel: Easel) -> None:
    both = wish(prompt="", seed=90, steps=8, count=4, inputs=(prompt(), prompt()))
    blends = easel.draw(both, None, (scene(*BOAT), scene("star", "yellow", "sea", "day")))
    assert max(min(red(picture), yellow(picture)) for picture in blends) > 0.015


def test_an_image_prompt_is_heard_by_its_weight(easel: Easel) -> None:
    source = scene(*STAR)
    words = wish(prompt="a star", seed=81)
    near = [
        apart(easel.draw(replace(words, inputs=(prompt(weight=weight),)), None, (source,))[0], source)
        for weight in (0.0, 1.0, 2.0)
    ]
    plain = apart(easel.draw(words)[0], source)
    assert near[0] == pytest.approx(plain, abs=0.5), "weight nought says nothing"
    assert near[2] < near[0]


@pytest.mark.parametrize("role", [Role.PROMPT, Role.STYLE, Role.CHARACTER])
def test_a_picture_beside_the_words_is_no_start_whatever_the_strength(easel: Easel, role: Role) -> None:
    words = wish(prompt="a star", seed=81, steps=4, inputs=(prompt(role),))
    near, whole = (easel.draw(replace(words, strength=share), None, (scene(*STAR),))[0] for share in (SUBTLE, 1.0))
    assert np.array_equal(near, whole), "half of the noise with nothing under it is no picture"


def test_a_style_reference_moves_the_palette(easel: Easel) -> None:
    words = wish(prompt="a boat", seed=82, count=2)
    reference = scene("heart", "purple", "desert", "sunset")
    moved = np.stack(easel.draw(replace(words, inputs=(prompt(Role.STYLE, 1.5),)), None, (reference,)))
    plain = np.stack(easel.draw(words))
    target = reference.reshape(-1, 3).mean(axis=0)
    away = [float(np.linalg.norm(pictures.reshape(-1, 3).mean(axis=0) - target)) for pictures in (plain, moved)]
    assert away[1] < 0.85 * away[0], away


def test_a_character_appears_elsewhere(easel: Easel) -> None:
    words = wish(prompt="in the snow at dawn", seed=83, steps=8, count=2, inputs=(prompt(Role.CHARACTER),))
    found = [seen(easel, picture) for picture in easel.draw(words, None, (scene("house", "green", "beach", "day"),))]
    assert any(one["thing"] == "house" for one in found), found
    assert all((one["ground"], one["sky"]) == ("snow", "dawn") for one in found), "and the words are heard"


def test_an_upscale_is_nearer_to_the_large_picture_than_plain_enlarging_and_has_no_seams(easel: Easel) -> None:
    large = scene(*BOAT, side=320)
    small = np.asarray(Image.fromarray(large).reduce(2))
    double = wish(width=320, height=320, upscale=Upscale(factor=2))
    out = easel.draw(double, small)[0]
    plain = np.asarray(Image.fromarray(small).resize((320, 320), Image.Resampling.BICUBIC))
    assert np.square(out.astype(float) - large).mean() < np.square(plain.astype(float) - large).mean()
    assert easel.tools.upscaler is not None
    work = easel.tools.upscaler.enlarge(small, 2, side=96, overlap=32)
    with pytest.raises(StopIteration) as end:
        while True:
            next(work)
    assert np.abs(end.value.value.astype(int) - out).max() <= 2
