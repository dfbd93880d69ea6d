"""Edits that need companions mean what they say: the vision network describes pictures, and colours are measured."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from core.edits import STRONG, SUBTLE
from core.job import Input, Kind, Role, Upscale
from models.postcard.render import render
from models.postcard.world import Scene, Thing
from tests.worker.companions import open_all
from tests.worker.edits.drawing import EditDriver, apart, edit_request, red, yellow
from worker.checkpoints import LoadedCheckpoint
from worker.interfaces import Pixels
from worker.vision.describe import best_words


@pytest.fixture(scope="module")
def driver(postcard: LoadedCheckpoint) -> EditDriver:
    """The shipped model with its companions."""
    companions = open_all(postcard)
    assert companions.adapter and companions.upscaler and companions.describer and companions.check
    return EditDriver(postcard)


def scene(kind: str, colour: str, ground: str, sky: str, seed: int = 1, side: int = 256) -> Pixels:
    """A render of one thing."""
    wanted = Scene(things=(Thing(kind, colour),), ground=ground, sky=sky, size=(side, side), seed=seed)
    return np.asarray(render(wanted))


def prompt(role: Role = Role.PROMPT, weight: float = 1.0) -> Input:
    """A picture that comes along."""
    return Input(role=role, of="a/0", weight=weight)


def seen(driver: EditDriver, picture: Pixels) -> dict[str, str]:
    """What the vision network sees in it, by group."""
    assert driver.companions.check is not None
    return best_words(driver.companions.check.scores(picture))


BOAT, STAR = ("boat", "red", "sea", "day"), ("star", "yellow", "desert", "night")


def test_a_description_of_a_render_names_thing_and_colour(driver: EditDriver) -> None:
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
        words = driver.prepare(driver.order(edit_request(), source, kind=Kind.DESCRIBE)).words
        assert len(words) == len(set(words)) == 4
        right += all(f"{colour} {kind}" in line for line in words)
    assert right >= len(things) - 1


def test_the_check_scores_what_is_there(driver: EditDriver) -> None:
    assert driver.companions.check is not None
    scores = driver.companions.check.scores(scene(*BOAT))
    assert scores["thing:boat"] > 0.5 > scores["thing:star"]
    assert scores["colour:red"] > 0.5 > scores["colour:blue"]


def test_variations_of_a_red_boat_are_red_boats(driver: EditDriver) -> None:
    parent = driver.draw(edit_request())[0]
    for strength in (SUBTLE, STRONG):
        for picture in driver.draw(edit_request(strength=strength, seed=50, count=2), parent):
            found = seen(driver, picture)
            assert (found["thing"], found["colour"], found["ground"]) == ("boat", "red", "sea")


def test_a_blend_of_a_red_boat_and_a_yellow_star_shows_red_and_yellow(driver: EditDriver) -> None:
    both = edit_request(prompt="", seed=90, steps=8, count=4, inputs=(prompt(), prompt()))
    blends = driver.draw(both, None, (scene(*BOAT), scene("star", "yellow", "sea", "day")))
    assert max(min(red(picture), yellow(picture)) for picture in blends) > 0.015


def test_an_image_prompt_is_heard_by_its_weight(driver: EditDriver) -> None:
    source = scene(*STAR)
    words = edit_request(prompt="a star", seed=81)
    near = [
        apart(driver.draw(replace(words, inputs=(prompt(weight=weight),)), None, (source,))[0], source)
        for weight in (0.0, 1.0, 2.0)
    ]
    plain = apart(driver.draw(words)[0], source)
    assert near[0] == pytest.approx(plain, abs=0.5), "weight nought says nothing"
    assert near[2] < near[0]


@pytest.mark.parametrize("role", [Role.PROMPT, Role.STYLE, Role.CHARACTER])
def test_a_picture_beside_the_words_is_no_start_whatever_the_strength(driver: EditDriver, role: Role) -> None:
    words = edit_request(prompt="a star", seed=81, steps=4, inputs=(prompt(role),))
    near, whole = (driver.draw(replace(words, strength=share), None, (scene(*STAR),))[0] for share in (SUBTLE, 1.0))
    assert np.array_equal(near, whole), "half of the noise with nothing under it is no picture"


def test_a_style_reference_moves_the_palette(driver: EditDriver) -> None:
    words = edit_request(prompt="a boat", seed=82, count=2)
    reference = scene("heart", "purple", "desert", "sunset")
    moved = np.stack(driver.draw(replace(words, inputs=(prompt(Role.STYLE, 1.5),)), None, (reference,)))
    plain = np.stack(driver.draw(words))
    target = reference.reshape(-1, 3).mean(axis=0)
    away = [float(np.linalg.norm(pictures.reshape(-1, 3).mean(axis=0) - target)) for pictures in (plain, moved)]
    assert away[1] < 0.85 * away[0], away


def test_a_character_appears_elsewhere(driver: EditDriver) -> None:
    words = edit_request(prompt="in the snow at dawn", seed=83, steps=8, count=2, inputs=(prompt(Role.CHARACTER),))
    found = [seen(driver, picture) for picture in driver.draw(words, None, (scene("house", "green", "beach", "day"),))]
    assert any(one["thing"] == "house" for one in found), found
    assert all((one["ground"], one["sky"]) == ("snow", "dawn") for one in found), "and the words are heard"


def test_an_upscale_is_nearer_to_the_large_picture_than_plain_enlarging_and_has_no_seams(driver: EditDriver) -> None:
    large = scene(*BOAT, side=320)
    small = np.asarray(Image.fromarray(large).reduce(2))
    double = edit_request(width=320, height=320, upscale=Upscale(factor=2))
    out = driver.draw(double, small)[0]
    plain = np.asarray(Image.fromarray(small).resize((320, 320), Image.Resampling.BICUBIC))
    assert np.square(out.astype(float) - large).mean() < np.square(plain.astype(float) - large).mean()
    assert driver.companions.upscaler is not None
    work = driver.companions.upscaler.enlarge(small, 2, side=96, overlap=32)
    with pytest.raises(StopIteration) as end:
        while True:
            next(work)
    assert np.abs(end.value.value.astype(int) - out).max() <= 2
