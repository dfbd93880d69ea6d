"""Prompts of any length and weight become what the UNet reads; plain ones as the pipeline has them."""

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from tests.worker.checkpoint_families import make_sdxl
from tests.worker.compared import distance, ours
from tests.worker.engine_driver import EngineDriver, request
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device
from worker.families.clip import MAX_CHUNKS
from worker.interfaces import Family

CPU = choose_device("cpu", "float32", 0)
LONG = "a red boat on a green sea under a low sky, " * 3  # letters are tokens here: 129 of them and more
TOKENS = 77


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> tuple[Family, Any]:
    """The tiny SDXL, ours and diffusers'."""
    folder = make_sdxl(tmp_path_factory.mktemp("prompts") / "xl")
    return load(str(folder), CPU).family, diffusers.StableDiffusionXLPipeline.from_pretrained(
        folder, add_watermarker=False
    )


def states(family: Family, text: str) -> Tensor:
    return family.encode_prompt(text)["text"]


def near(one: Tensor, other: Tensor) -> bool:
    """The same numbers but for their rounding: one that is wrong differs by a hundredth and more.

    A processor rounds a sum as its length, its batch and the place of its numbers in memory have it.
    """
    return torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("text", ["a red boat", "", "A (red) boat, 12:30!", "é ⛵ ßß"])
def test_a_plain_short_prompt_is_the_pipelines(loaded: LoadedCheckpoint, folder: Path, text: str) -> None:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    theirs, _ = pipeline.encode_prompt(text, "cpu", 1, False)
    assert near(states(loaded.family, text), theirs[0])


@pytest.mark.parametrize("text", ["a red boat", "", "A (red) boat"])
def test_with_two_encoders_too(xl: tuple[Family, Any], text: str) -> None:
    family, pipeline = xl
    theirs, _, pooled, _ = pipeline.encode_prompt(text, device="cpu", do_classifier_free_guidance=False)
    ours = family.encode_prompt(text)
    assert near(ours["text"], theirs[0])
    assert near(ours["pooled"], pooled[0])


def test_an_empty_negative_prompt_is_zeros_where_the_pipeline_says_so(
    xl: tuple[Family, Any], loaded: LoadedCheckpoint
) -> None:
    assert not xl[0].encode_prompt("", negative=True)["text"].any()
    assert not xl[0].encode_prompt("", negative=True)["pooled"].any()
    assert xl[0].encode_prompt("a star", negative=True)["text"].any()
    assert loaded.family.encode_prompt("", negative=True)["text"].any()


def test_a_long_prompt_goes_on_in_a_second_chunk(loaded: LoadedCheckpoint) -> None:
    letters = ("a b c d e f g h i j " * 10).split()
    found = states(loaded.family, " ".join(letters))
    chunks = [states(loaded.family, " ".join(part)) for part in (letters[:75], letters[75:])]
    assert near(found, torch.cat(chunks))


def test_no_prompt_is_longer_than_the_denoiser_can_look_at(loaded: LoadedCheckpoint) -> None:
    assert states(loaded.family, LONG * 20).shape[0] == MAX_CHUNKS * TOKENS


def test_a_rows_texts_are_made_equally_long(loaded: LoadedCheckpoint, xl: tuple[Family, Any]) -> None:
    for family in (loaded.family, xl[0]):
        long, short = family.pad_to_longest([family.encode_prompt(LONG), family.encode_prompt("a star", negative=True)])
        assert long["text"].shape == short["text"].shape
        assert torch.equal(short["text"][-TOKENS:], states(family, ""))
        _, nothing = family.pad_to_longest([family.encode_prompt(LONG), family.encode_prompt("", negative=True)])
        assert nothing["text"].any() == (family is loaded.family)


def test_a_long_prompt_is_drawn_beside_short_ones(loaded: LoadedCheckpoint) -> None:
    driver = EngineDriver(loaded)
    driver.submit("long", request(prompt=LONG))
    driver.submit("short", request())
    driver.finish("long", "short")
    assert len(driver.pictures("long")) == len(driver.pictures("short")) == 2
    assert distance(ours(loaded, request(prompt=LONG)), ours(loaded, request(prompt=LONG[:60]))) > 2


def test_parts_are_added_up_by_their_shares(loaded: LoadedCheckpoint) -> None:
    boat, star = states(loaded.family, "a boat"), states(loaded.family, "a star")
    assert near(states(loaded.family, "a boat::3 a star"), 0.75 * boat + 0.25 * star)
    assert near(states(loaded.family, "a boat::2 a star::-1"), 2 * boat - star)
    assert torch.equal(states(loaded.family, "a boat::5"), boat)


def test_parts_of_unequal_length_are_filled_up(loaded: LoadedCheckpoint) -> None:
    long = states(loaded.family, LONG)
    filled = torch.cat([states(loaded.family, "a star"), *[states(loaded.family, "")] * (len(long) // TOKENS - 1)])
    assert near(states(loaded.family, f"{LONG}:: a star"), (long + filled) / 2)


def test_what_is_summed_up_is_mixed_too(xl: tuple[Family, Any]) -> None:
    family, _ = xl
    boat, star, both = (family.encode_prompt(text)["pooled"] for text in ("a boat", "a star", "a boat:: a star"))
    assert near(both, (boat + star) / 2)


def test_emphasis_moves_the_words_away_from_nothing_and_leaves_the_rest(loaded: LoadedCheckpoint) -> None:
    plain, empty = states(loaded.family, "a red boat"), states(loaded.family, "")
    strong = states(loaded.family, "a (red:1.5) boat")
    moved = slice(2, 5)  # after the start and "a"
    assert near(strong[moved], empty[moved] + 1.5 * (plain - empty)[moved])
    assert torch.equal(torch.cat([strong[:2], strong[5:]]), torch.cat([plain[:2], plain[5:]]))
    assert torch.equal(states(loaded.family, "a (red:1) boat"), plain)


def test_brackets_in_brackets_multiply_and_escaped_ones_are_words(loaded: LoadedCheckpoint) -> None:
    plain, empty = states(loaded.family, "a red boat"), states(loaded.family, "")
    nested = states(loaded.family, "a (red (boat:1.2):1.5)")
    red, boat = slice(2, 5), slice(5, 9)
    assert near(nested[red], empty[red] + 1.5 * (plain - empty)[red])
    assert near(nested[boat], empty[boat] + 1.8 * (plain - empty)[boat])
    named = states(loaded.family, r"(miku \(name\):1.2)")
    assert not torch.equal(named, states(loaded.family, r"miku \(name\)"))
    assert torch.equal(states(loaded.family, r"miku \(name\)"), states(loaded.family, "miku (name)"))


def test_weights_that_cannot_be_are_said(loaded: LoadedCheckpoint) -> None:
    with pytest.raises(ValueError, match="above 0"):
        loaded.family.encode_prompt("a::1 b::-2")
