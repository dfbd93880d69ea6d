"""The shipped model through the loop: it draws what it is asked for, and its previews tell what will come."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline

from core.catalogue import POSTCARD
from tests.worker.compared import NOISE_SAMPLERS, furthest, plain_grid
from tests.worker.engine_driver import EngineDriver, pixels, postcard_request
from worker.checkpoints import LoadedCheckpoint
from worker.paths import ROOT

#: Mean absolute difference of 255 that a preview may have to the picture: late ones, and the first one.
LATE, FIRST = 20.0, 30.0


def test_the_loader_says_what_the_catalogue_says(postcard: LoadedCheckpoint) -> None:
    info = postcard.info
    assert (info.name, info.native, info.steps, info.sampler) == ("postcard", 256, POSTCARD.steps, POSTCARD.sampler)


def test_a_red_boat_is_red(postcard: LoadedCheckpoint) -> None:
    driver = EngineDriver(postcard)
    red = {}
    for colour in ("red", "blue", "green"):
        wanted = postcard_request(prompt=f"a {colour} boat on the sea on a sunny day", steps=12)
        red[colour] = share_of(np.stack([pixels(picture) for picture in driver.render(wanted, colour)]), 0)
    assert red["red"] > 0.02, red
    assert red["red"] > 3 * max(red["blue"], red["green"]), red


def share_of(pictures: np.ndarray, channel: int) -> float:
    """The share of pixels where this channel stands well above both others."""
    others = np.delete(pictures, channel, axis=3).max(axis=3)
    return float((pictures[..., channel] > others + 50).mean())


def test_company_changes_a_picture_by_one_of_255_at_most(postcard: LoadedCheckpoint) -> None:
    alone = EngineDriver(postcard).render(postcard_request())
    driver = EngineDriver(postcard)
    driver.submit("other", postcard_request(sampler="euler_a", seed=9, guidance=1.0, steps=6))
    driver.ticks(2)
    driver.submit("it", postcard_request())
    driver.finish("other", "it")
    assert furthest(driver.pictures("it"), alone) <= 1


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_the_shipped_model_draws_what_plain_diffusers_draws(postcard: LoadedCheckpoint, sampler: str) -> None:
    wanted = postcard_request(sampler=sampler, steps=5, count=1)
    expected = plain_grid(Path(ROOT / POSTCARD.path), StableDiffusionPipeline, wanted, width=256, height=256)
    assert furthest(EngineDriver(postcard).render(wanted), expected) <= 2


def test_previews_tell_what_will_come(postcard: LoadedCheckpoint) -> None:
    driver = EngineDriver(postcard)
    driver.watch_closely()
    wanted = postcard_request(prompt="a red boat on the sea at sunset", steps=16, count=1)
    final = pixels(driver.render(wanted)[0])
    other = pixels(driver.render(replace(wanted, prompt="a yellow star in the desert at night"), "b")[0])
    shown = [pixels(event.preview) for event in driver.previews("a")]
    apart = [float(np.abs(preview - final).mean()) for preview in shown]
    assert apart[0] < FIRST and apart[-1] < LATE
    assert apart[-1] < apart[0]
    assert apart[0] < np.abs(shown[0] - other).mean() / 2, "and nothing else"


def test_every_size_of_its_catalogue_works(postcard: LoadedCheckpoint) -> None:
    driver = EngineDriver(postcard)
    for width, height in POSTCARD.sizes:
        picture = driver.render(postcard_request(width=width, height=height, steps=1, count=1), f"{width}x{height}")[0]
        assert pixels(picture).shape == (height, width, 3)


def test_words_that_it_never_saw_and_emoji_do_not_break_it(postcard: LoadedCheckpoint) -> None:
    wanted = postcard_request(prompt="🦄 zyxwv \u0000 ß " + "long " * 200, steps=1, count=1)
    assert pixels(EngineDriver(postcard).render(wanted)[0]).std() > 1
